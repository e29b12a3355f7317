"""A CloudWatch Logs that does on demand what AWS documents, and a bench whose clock is a test's.

GetLogEvents: at most 1 MB or 10,000 events, or less as it likes; empty answers whose token goes on, where the
log has a pause; the same token at the end; tokens that are not taken any more. No sockets, no sleep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
from launch_aws.session import Account
from launch_aws.settings import AccountSettings

from launch_sagemaker.logs import Logs
from launch_sagemaker.names import LOG_GROUP
from launch_sagemaker.places import Job
from launch_sagemaker.settings import Settings
from launchcore.plugin import LaunchError, LogBatch, Phase, RunStatus

EPOCH: Final = 1_700_000_000.0
"""UNIX seconds at which a bench begins."""
REGION: Final = "us-east-1"


@attrs.frozen
class Seen:
    """What is known of a job."""

    status: RunStatus
    instances: int = 1
    ended_at: float | None = None


def seen(phase: Phase, *, instances: int = 1, ended_at: float | None = None, progress: str = "") -> Seen:
    return Seen(RunStatus(phase=phase, progress=progress), instances, ended_at)


@attrs.define
class Written:
    at: int
    """UNIX milliseconds."""
    number: int
    text: str
    shows: float
    """When CloudWatch shows it, UNIX seconds."""


class ScriptedLogs:
    """Speaks as botocore's client of CloudWatch Logs does."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self.streams: dict[str, list[Written]] = {}
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self.times: list[float] = []
        self.page_events = 10_000
        self.page_bytes = 1 << 20
        self.chunk: float | None = None
        """Seconds of the log that one answer covers, at most."""
        self.drifts = False
        """At the end, the token goes on with the time."""
        self.odd_tokens = False
        """Tokens have another form than those that CloudWatch is known to give."""
        self.errors: list[str] = []
        """Codes with which the next calls are refused."""
        self._issued: dict[str, float] = {}
        self._number = 0

    def write(self, stream: str, *texts: str, at: float | None = None, after: float = 0.0) -> None:
        """:param after: seconds until it is shown."""
        now = self._wall() if at is None else at
        events = self.streams.setdefault(stream, [])
        for text in texts:
            self._number += 1
            events.append(Written(int(now * 1000), self._number, text, self._wall() + after))

    def expire(self) -> None:
        """Forget all tokens of now."""
        self._issued.clear()

    # -- as the client ---------------------------------------------------------------------------

    def describe_log_streams(self, **params: Any) -> dict[str, Any]:
        self._called("DescribeLogStreams", params)
        if not self.streams:
            raise refusal("ResourceNotFoundException")
        assert params["logGroupName"] == LOG_GROUP
        assert params["orderBy"] == "LogStreamName"
        names = sorted(name for name in self.streams if name.startswith(params["logStreamNamePrefix"]))
        begin = int(params.get("nextToken", "0"))
        end = begin + min(params["limit"], 50)
        more = {"nextToken": str(end)} if end < len(names) else {}
        return {"logStreams": [{"logStreamName": name} for name in names[begin:end]], **more}

    def get_log_events(self, **params: Any) -> dict[str, Any]:
        self._called("GetLogEvents", params)
        assert params["logGroupName"] == LOG_GROUP
        assert params["startFromHead"] is True
        assert 1 <= params["limit"] <= 10_000
        if params["logStreamName"] not in self.streams:
            raise refusal("ResourceNotFoundException")
        asked = params.get("nextToken")
        if asked is not None and asked not in self._issued:
            raise refusal("InvalidParameterException")
        wall = self._wall()
        first = params.get("startTime", 0) << 144
        begin = max(first - 1, int(asked.lstrip("f/od")) if asked else -1)
        rest = sorted(
            (_key(each), each)
            for each in self.streams[params["logStreamName"]]
            if each.shows <= wall and _key(each) > begin
        )
        page, last = self._page(rest, begin, params["limit"])
        if asked is None and not page and last < 0:
            last = 0
        token = f"odd{max(last, 0)}" if self.odd_tokens else f"f/{max(last, 0):056d}"
        self._issued[token] = wall
        events = [{"timestamp": each.at, "message": each.text, "ingestionTime": each.at} for each in page]
        return {"events": events, "nextForwardToken": token, "nextBackwardToken": token}

    def _page(self, rest: list[tuple[int, Written]], begin: int, limit: int) -> tuple[list[Written], int]:
        """Events of an answer, and the number that its token has."""
        end: int | None = None
        if self.chunk is not None and begin > 0:
            end = (begin >> 144) + int(self.chunk * 1000) << 144
        page: list[Written] = []
        size, last = 0, begin
        for key, each in rest:
            size += len(each.text.encode("utf-8", "replace")) + 26
            if len(page) >= min(limit, self.page_events) or (page and size > self.page_bytes):
                return page, last
            if end is not None and key > end:
                return page, end
            page.append(each)
            last = key
        if not page and self.drifts:
            last = max(last, int(self._wall() * 1000) << 144)
        return page, last

    def _called(self, what: str, params: Mapping[str, Any]) -> None:
        self.calls.append((what, params))
        self.times.append(self._wall())
        if self.errors:
            raise refusal(self.errors.pop(0))


def refusal(code: str) -> Exception:
    from botocore.exceptions import ClientError

    status = 500 if code == "ServiceUnavailableException" else 400
    answer = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    made: Exception = ClientError(answer, "GetLogEvents")
    return made


def _key(written: Written) -> int:
    """The number of an event: its time, and which of this time it is."""
    return (written.at << 144) + written.number


class ScriptedAccount(Account):
    """An account whose CloudWatch is a scripted one."""

    def __init__(self, logs: Any) -> None:
        super().__init__(AccountSettings(region=REGION))
        self.logs = logs

    def client(self, service: str, region: str | None = None, *, attempts: int | None = None) -> Any:
        assert (service, attempts) == ("logs", 1)
        return self.logs


class LogBench:
    """Reads logs of a scripted CloudWatch on a clock that moves when nothing is left to do."""

    def __init__(self, **settings: Any) -> None:
        self.now = 1000.0
        self.skew = 0.0
        """Seconds by which the reader's own clock is ahead of CloudWatch's."""
        self.cloud = ScriptedLogs(self.wall)
        self.settings = Settings(**settings)
        self.account = ScriptedAccount(self.cloud)
        self.sights: dict[str, Seen] = {}
        self.logs = self.reader()

    def wall(self) -> float:
        return EPOCH + self.now

    def reader(self) -> Logs:
        """As another process would have it."""
        return Logs(
            self.account,
            self.settings,
            self.sights.get,
            clock=lambda: self.now,
            wall=lambda: self.wall() + self.skew,
            start=lambda _: None,
        )

    def job(self, name: str = "job", sight: Seen | None = None) -> Job:
        if sight is not None:
            self.sights[name] = sight
        return Job(attempt_id=name, name=name, region=REGION)

    def end(self, name: str = "job", *, ago: float = 0.0, phase: Phase = Phase.SUCCEEDED) -> None:
        known = self.sights[name]
        self.sights[name] = seen(phase, instances=known.instances, ended_at=self.wall() - ago)

    def step(self, logs: Logs | None = None) -> float:
        """One step of each of its threads; how long they would sleep then."""
        pauses = [worker.step() for worker in [*(logs or self.logs)._workers.values()]]  # noqa: SLF001
        return min((pause for pause in pauses if pause is not None), default=1.0)

    def run(self, seconds: float, logs: Logs | None = None) -> None:
        """Let the time pass."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + self.step(logs), until)

    def look(
        self, job: Job, cursor: str | None = None, *, limit: int = 1 << 18, seconds: float = 600.0
    ) -> LogBatch:
        """Read until something comes, or the end."""
        until = self.now + seconds
        while True:
            batch = self.logs.read(job, cursor, limit)
            if batch.data or batch.end or batch.gap:
                return batch
            if self.now >= until:
                return batch
            cursor = batch.cursor
            self.now += min(self.step(), 0.5)

    def rest(
        self, job: Job, cursor: str | None = None, *, limit: int = 1 << 18
    ) -> tuple[bytes, list[str], str]:
        """Everything from a cursor to the end: data, gaps, and the last cursor."""
        found, gaps = b"", []
        while True:
            try:
                batch = self.look(job, cursor, limit=limit)
            except LaunchError:
                self.run(5.0)
                continue
            found += batch.data
            gaps += [batch.gap] if batch.gap else []
            cursor = batch.cursor
            if batch.end:
                return found, gaps, cursor
            assert batch.data or batch.gap, "the log does not end"

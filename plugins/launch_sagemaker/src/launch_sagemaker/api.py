"""Every question to SageMaker, of all regions. Each is asked once: our own pace says when to ask again."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from launch_aws.diagnosis import BAD_SIGNATURE, BUSY, EXPIRED, SKEWED, UNKNOWN_KEY, code_of
from launch_aws.session import Account

from launch_sagemaker.diagnosis import refusal
from launch_sagemaker.names import ATTEMPT, CHANNEL, OWNER, job_name
from launch_sagemaker.pace import Pace
from launch_sagemaker.places import Job
from launch_sagemaker.settings import Settings
from launchcore.plugin import LaunchError, Reason

CONTROL_PER_SECOND: Final = 2.0
CONTROL_BURST: Final = 4
"""Of what starts, stops, finds: SageMaker counts each kind of question by itself, and few are asked."""
PATIENCE: Final = 6
"""How often a question that is not a look is asked while SageMaker throttles."""
PAGES: Final = 100
"""More than that is no answer of SageMaker's."""

_CREDENTIALS: Final = EXPIRED | UNKNOWN_KEY | BAD_SIGNATURE | SKEWED
_MISSING: Final = frozenset({"ResourceNotFound", "ResourceNotFoundException"})
_NOT_FOUND: Final = re.compile(r"not found|could not find|does not exist|cannot find", re.IGNORECASE)
_OVER: Final = re.compile(r"\b(?:status|is) (?:Completed|Failed|Stopped|Stopping)\b", re.IGNORECASE)


class Exists(Exception):
    """SageMaker has a training job of this name: an earlier start has made it."""


class Throttled(Exception):
    """SageMaker says that we ask too often; the pace has been told."""


class Api:
    """Of one agent. Thread-safe; imports the SDK with the first question."""

    def __init__(self, account: Account, settings: Settings) -> None:
        self._account = account
        self._settings = settings
        self._lock = threading.Lock()
        self._looks: dict[str, Pace] = {}
        self._control: dict[str, Pace] = {}

    def looks(self, region: str) -> Pace:
        """The pace of all :meth:`describe` in a region; whoever asks takes a place first."""
        with self._lock:
            if region not in self._looks:
                self._looks[region] = Pace(self._settings.requests_per_second)
            return self._looks[region]

    def control(self, region: str) -> Pace:
        """The pace of everything else; take a place before :meth:`create` and :meth:`stop`."""
        with self._lock:
            if region not in self._control:
                self._control[region] = Pace(CONTROL_PER_SECOND, burst=CONTROL_BURST)
            return self._control[region]

    def describe(self, job: Job) -> Mapping[str, Any] | None:
        """What SageMaker says of it; ``None``: it knows none of this name.

        :raises Throttled: ask later. :raises LaunchError: it could not be asked.
        """
        pace = self.looks(job.region)
        with self._asking(f"look at training jobs in {job.region}", job.region, pace) as client:
            try:
                found: Mapping[str, Any] = client.describe_training_job(TrainingJobName=job.name)
            except Exception as error:
                if not _is_missing(error):
                    raise
                return None
            return found

    def create(self, region: str, body: Mapping[str, Any]) -> None:
        """Make a training job. Where the answer is lost, it may have been made: :meth:`describe` tells.

        :raises Exists: there is one of this name. :raises Throttled: nothing was made, try later.
        :raises LaunchError: nothing was made, or nobody answered (``infrastructure``).
        """
        with self._asking("start a training job", region, self.control(region)) as client:
            try:
                client.create_training_job(**body)
            except Exception as error:
                code = code_of(error)
                if code == "ResourceInUse":
                    raise Exists(message_of(error)) from None
                if not code or code in _CREDENTIALS or _is_throttle(error):
                    raise
                raise refusal(code, message_of(error), region=region, status=_status(error)) from None

    def stop(self, job: Job) -> bool:
        """Ask for its end; that it came, or is about to, is no error. False: SageMaker knows no such job.

        :raises Throttled: ask later. :raises LaunchError: it could not be asked.
        """
        with self._asking(
            f"stop the training job {job.name}", job.region, self.control(job.region)
        ) as client:
            try:
                client.stop_training_job(TrainingJobName=job.name)
            except Exception as error:
                if _is_missing(error):
                    return False
                if code_of(error) != "ValidationException" or not _OVER.search(message_of(error)):
                    raise
            return True

    def tags(self, region: str, arn: str) -> Mapping[str, str]:
        """The tags of a training job. Waits for its turn.

        :raises LaunchError: it could not be asked.
        """
        found: dict[str, str] = {}
        for page in self._pages(region, "read a training job's tags", "list_tags", {"ResourceArn": arn}):
            found.update(_tags(page.get("Tags")))
        return found

    def search(self, region: str, owner: str) -> Sequence[Job]:
        """Our training jobs that have not ended, by their tags: for what nobody remembers. Waits for turns.

        It may be a while behind what was started just now (Search is eventually consistent). Whoever may tag
        training jobs may claim to be us: what is returned has the name that goes with its attempt, no more.

        :param owner: as the tag has it.
        :raises LaunchError: it could not be asked.
        """
        question = {
            "Resource": "TrainingJob",
            "MaxResults": 100,
            "SearchExpression": {
                "Operator": "And",
                "Filters": [{"Name": f"Tags.{OWNER}", "Operator": "Equals", "Value": owner}],
                "SubExpressions": [
                    {
                        "Operator": "Or",
                        "Filters": [
                            {"Name": "TrainingJobStatus", "Operator": "Equals", "Value": status}
                            for status in ("InProgress", "Stopping")
                        ],
                    }
                ],
            },
        }
        found = []
        for page in self._pages(region, "search for training jobs of ours", "search", question):
            for record in page.get("Results") or ():
                described = record.get("TrainingJob") or {}
                tags = _tags(described.get("Tags"))
                attempt = tags.get(ATTEMPT)
                ours = tags.get(OWNER) == owner and attempt is not None
                if ours and attempt and described.get("TrainingJobName") == job_name(attempt):
                    found.append(job_from(described, attempt, region))
        return found

    def _pages(
        self, region: str, what: str, method: str, question: Mapping[str, Any]
    ) -> Iterator[Mapping[str, Any]]:
        asked = dict(question)
        for _ in range(PAGES):
            page = self._patiently(region, what, method, asked)
            yield page
            if not page.get("NextToken"):
                return
            asked["NextToken"] = page["NextToken"]

    def _patiently(self, region: str, what: str, method: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        pace = self.control(region)
        for _ in range(PATIENCE):
            pace.wait()
            try:
                with self._asking(what, region, pace) as client:
                    found: Mapping[str, Any] = getattr(client, method)(**asked)
                    return found
            except Throttled:
                continue
        raise LaunchError(
            f"cannot {what}: AWS throttles us in {region}",
            reason=Reason.INFRASTRUCTURE,
            hint="look at what else asks SageMaker in this account",
            retryable=True,
        )

    @contextmanager
    def _asking(self, what: str, region: str, pace: Pace) -> Iterator[Any]:
        """A client. The pace is told how it went, and errors come out as ours."""
        with self._account.asking(what, region=region):
            client = self._account.client("sagemaker", region, attempts=1)
            try:
                yield client
            except Exception as error:
                if _is_throttle(error):
                    pace.throttled()
                    raise Throttled(f"cannot {what}: AWS throttles us in {region}") from None
                raise
            pace.fine()


def job_from(described: Mapping[str, Any], attempt_id: str, region: str) -> Job:
    """The job of an answer of :meth:`Api.describe`, or of a search: the very one that its start returned."""
    return Job(
        attempt_id=attempt_id,
        name=str(described.get("TrainingJobName") or job_name(attempt_id)),
        region=region,
        bundle=bundle_of(described),
    )


def bundle_of(described: Mapping[str, Any]) -> str | None:
    """The URL of what waits for it in S3, which is its input channel of our name."""
    for channel in described.get("InputDataConfig") or ():
        if isinstance(channel, Mapping) and channel.get("ChannelName") == CHANNEL:
            source = (channel.get("DataSource") or {}).get("S3DataSource") or {}
            url = source.get("S3Uri")
            return url if isinstance(url, str) else None
    return None


def message_of(error: Exception) -> str:
    """What a service's error says."""
    return str(_response(error).get("Error", {}).get("Message", ""))


def _response(error: Exception) -> Mapping[str, Any]:
    found: Mapping[str, Any] = getattr(error, "response", None) or {}
    return found


def _status(error: Exception) -> int:
    found = _response(error).get("ResponseMetadata", {}).get("HTTPStatusCode")
    return found if isinstance(found, int) else 0


def _is_throttle(error: Exception) -> bool:
    return code_of(error) in BUSY or _status(error) == 429


def _is_missing(error: Exception) -> bool:
    code = code_of(error)
    return code in _MISSING or (code == "ValidationException" and bool(_NOT_FOUND.search(message_of(error))))


def _tags(found: object) -> dict[str, str]:
    tags = found if isinstance(found, list | tuple) else ()
    return {str(each.get("Key")): str(each.get("Value")) for each in tags if isinstance(each, Mapping)}

"""The log of one attempt: which streams it needs now, and when each is complete."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import attrs

from launch_k8s.errors import ApiAway, ApiError, one_line
from launch_k8s.logs import Cursor, Position
from launch_k8s.sight import LogSource, Sight
from launch_k8s.streams import Stream
from launchcore.plugin import LaunchError, Reason

TOGETHER: Final = 4.0
"""Seconds within which a stream's end and the container's end are one event. A stream's end alone says
nothing: it comes with rotation, after hours, and when the API server or the kubelet restarts."""
ROTATED: Final = 1 << 20
"""Bytes from which on a node may have rotated a log, which can end a stream: then it is asked once more."""
AGAIN: Final = 0.5
"""Seconds before a stream that broke off is opened again; twice as many each time, up to MOST_AGAIN."""
MOST_AGAIN: Final = 10.0
TRIES: Final = 6
"""Failures in a row after which a log is given up, of a container that has ended."""


Open = Callable[[LogSource, Position, bool, bool], Stream | None]


@attrs.define
class Reader:
    """How one pod's log is read now."""

    stream: Stream | None = None
    due: float = 0.0
    failures: int = 0
    lively: bool = True
    """It is new, or there was something when it was last looked at."""
    finished: int = -1
    """The latest start whose log was read to its end."""


class Feed:
    """Not thread-safe: one reader at a time."""

    def __init__(self, cursor: Cursor, text: str | None) -> None:
        self._asked = text
        self._text = text
        """The cursor of what was given out."""
        self._given = False
        self.used = time.monotonic()
        self._cursor = cursor
        self._readers: dict[str, Reader] = {}
        self._gaps: list[str] = []
        self._turn = 0

    def goes_on(self, cursor: str | None) -> bool:
        """Whether this cursor is where it stands: asked for in vain, the same one may be asked for again."""
        return cursor == self._text or (cursor == self._asked and not self._given)

    def streams(self) -> list[Stream]:
        """All that are open."""
        return [each.stream for each in self._readers.values() if each.stream is not None]

    def step(self, sight: Sight, open_: Open) -> None:
        """Open what is needed, and take note of what has ended.

        :param open_: opens a stream for a source from a position on, if it may now; the flags: its previous
            start's; there was something lately.
        :raises LaunchError: logs may not be read here.
        """
        now = time.monotonic()
        for source in sight.sources:
            if source.pod in self._cursor.done:
                continue
            reader = self._readers.setdefault(source.pod, Reader())
            if reader.stream is not None and reader.stream.over:
                self._ended(source, reader, now)
            if reader.stream is None and source.pod not in self._cursor.done and now >= reader.due:
                self._open(source, reader, open_)
        if sight.over:
            for pod in set(self._cursor.positions) - {each.pod for each in sight.sources}:
                if pod not in self._cursor.done:
                    self._give_up(pod, "it is not there any more")

    def take(self, limit: int, taken: Callable[[Stream], None]) -> bytes:
        """What has come, from each in turn.

        :param taken: told of each stream that has room again.
        """
        found: list[bytes] = []
        readers = list(self._readers.items())
        self._turn += 1
        for number in range(len(readers)):
            pod, reader = readers[(number + self._turn) % len(readers)]
            stream = reader.stream
            if stream is None or limit <= 0:
                continue
            data = stream.take(limit)
            limit -= len(data)
            found.append(data)
            self._cursor.positions[pod] = stream.position
            if data:
                reader.failures = 0
            if stream.gap:
                self._gaps.append(f"{pod}: {stream.gap}")
                stream.gap = None
            if stream.resumed():
                taken(stream)
        self._given = self._given or any(found)
        return b"".join(found)

    def ended(self, sight: Sight) -> bool:
        """Nothing will ever follow."""
        return sight.over and all(source.pod in self._cursor.done for source in sight.sources)

    def mark(self) -> tuple[str, str | None]:
        """The cursor of what was given out by now, and what is missing before it."""
        self._text = self._cursor.text()
        gaps, self._gaps = self._gaps, []
        return self._text, "; ".join(gaps) or None

    # -- one pod ---------------------------------------------------------------------------------

    def _open(self, source: LogSource, reader: Reader, open_: Open) -> None:
        position = self._cursor.positions.get(source.pod)
        if not source.started or reader.finished >= source.starts:
            if source.over:
                self._cursor.done.add(source.pod)
            return
        if position is None:
            position = self._cursor.positions[source.pod] = Position()
        if reader.finished >= position.restart or position.restart < source.starts - 1:
            following = max(reader.finished + 1, source.starts - 1)
            if following > position.restart + 1 or reader.finished < position.restart:
                self._gaps.append(f"{source.pod}: the logs of earlier starts are gone")
            position = self._cursor.positions[source.pod] = Position(restart=following)
        reader.stream = open_(source, position, position.restart < source.starts, reader.lively)

    def _ended(self, source: LogSource, reader: Reader, now: float) -> None:
        stream = reader.stream
        assert stream is not None
        assert stream.ended_at is not None
        reader.lively = stream.lively
        if stream.error is not None:
            self._failed(source, reader, stream.error, now)
            return
        restart = stream.position.restart
        over = source.ended or source.starts > restart
        sure = stream.received < ROTATED and not stream.ragged
        together = stream.follow and sure and now - stream.ended_at < TOGETHER
        if stream.clean and over and (stream.whole or together or source.removed):
            reader.stream, reader.finished = None, restart
            if source.over and restart >= source.starts:
                self._cursor.done.add(source.pod)
        elif source.removed:
            reader.stream = None
            self._give_up(source.pod, "the pod was removed before its log was read to the end")
        elif over or not (stream.clean and together):
            reader.stream = None
            reader.due = now if stream.clean else now + AGAIN

    def _failed(self, source: LogSource, reader: Reader, error: ApiError | ApiAway, now: float) -> None:
        stream, reader.stream = reader.stream, None
        assert stream is not None
        reader.failures += 1
        reader.due = now + min(AGAIN * 2**reader.failures, MOST_AGAIN)
        if isinstance(error, ApiError):
            if error.code in (401, 403):
                raise LaunchError(
                    f"the agent may not read logs: {error.message}",
                    reason=Reason.CONFIG_ERROR,
                    hint="give its Role the verb get for pods/log; `launch doctor` shows the line to add",
                )
            earlier = stream.position.restart < source.starts
            if earlier and error.code in (400, 404):
                self._gaps.append(f"{source.pod}: the log of an earlier start is gone")
                reader.finished, reader.due = stream.position.restart, now
                return
            if source.removed and error.missing:
                reader.failures = TRIES
        if source.over and reader.failures >= TRIES:
            self._give_up(source.pod, one_line(str(error), 120))

    def _give_up(self, pod: str, why: str) -> None:
        self._gaps.append(f"{pod}: {why}")
        self._cursor.done.add(pod)

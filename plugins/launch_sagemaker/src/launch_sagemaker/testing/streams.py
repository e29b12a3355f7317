"""The logs of training jobs in CloudWatch: a stream for each instance and start, written while it runs."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from launch_sagemaker.names import LOG_GROUP

MOST_BYTES: Final = 262_144 - 26
"""Of an event's message; CloudWatch counts 26 bytes more. What is longer is several events."""
_MOST_EVENTS: Final = 1000
_MOST_BATCH: Final = 900_000


class Streams:
    """Writes into CloudWatch Logs from one thread.

    :param delay: the seconds until something that is written can be read.
    """

    def __init__(
        self, client: Callable[[str], Any], delay: Callable[[], float], fault: Callable[[str], None]
    ) -> None:
        self._client = client
        self._delay = delay
        self._fault = fault
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Stream, list[dict[str, Any]]]] = []
        self._order = itertools.count()
        self._writing = False
        self._closed = False
        self._names: set[tuple[str, str]] = set()
        self._thread: threading.Thread | None = None

    def open(self, region: str, job: str, host: str) -> Stream:
        """The stream of an instance's start. Its name has the time of the start, in seconds as in AWS."""
        now = int(time.time())
        with self._changed:
            while (region, name := f"{job}/{host}-{now}") in self._names:
                now += 1  # a second start within a second
            self._names.add((region, name))
        return Stream(self, region, name)

    def put(self, stream: Stream, events: list[dict[str, Any]]) -> None:
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log-streams", daemon=True)
                self._thread.start()
            due = max(time.monotonic() + self._delay(), stream.due)
            stream.due = due
            heapq.heappush(self._waiting, (due, next(self._order), stream, events))
            self._changed.notify_all()

    def flush(self, seconds: float = 30.0) -> None:
        """Until everything that is not delayed is written."""

        def done() -> bool:
            now = time.monotonic()
            return self._closed or not (self._writing or (self._waiting and self._waiting[0][0] <= now))

        with self._changed:
            self._changed.wait_for(done, seconds)

    def close(self) -> None:
        """Forget what is not written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(10)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                while not self._closed and not self._is_due():
                    after = self._waiting[0][0] - time.monotonic() if self._waiting else None
                    self._changed.wait(after)
                if self._closed:
                    return
                batches: dict[Stream, list[dict[str, Any]]] = {}
                while self._is_due():
                    _, _, stream, events = heapq.heappop(self._waiting)
                    batches.setdefault(stream, []).extend(events)
                self._writing = True
            for stream, events in batches.items():
                try:
                    self._write(stream, events)
                except Exception as error:
                    self._fault(f"log stream {stream.name}: {error}")

    def _is_due(self) -> bool:
        return bool(self._waiting) and self._waiting[0][0] <= time.monotonic()

    def _write(self, stream: Stream, events: list[dict[str, Any]]) -> None:
        logs = self._client(stream.region)
        if not stream.made:
            _tolerate(logs, logs.create_log_group, logGroupName=LOG_GROUP)
            _tolerate(logs, logs.create_log_stream, logGroupName=LOG_GROUP, logStreamName=stream.name)
            stream.made = True
        batch: list[dict[str, Any]] = []
        size = 0
        for event in events:
            more = len(event["message"].encode()) + 26
            if len(batch) >= _MOST_EVENTS or size + more > _MOST_BATCH:
                self._send(logs, stream, batch)
                batch, size = [], 0
            batch.append(event)
            size += more
        if batch:
            self._send(logs, stream, batch)

    @staticmethod
    def _send(logs: Any, stream: Stream, batch: list[dict[str, Any]]) -> None:
        logs.put_log_events(logGroupName=LOG_GROUP, logStreamName=stream.name, logEvents=batch)


class Stream:
    """One container's output: an event for each line. Empty lines are none, as with Docker's `awslogs`."""

    def __init__(self, streams: Streams, region: str, name: str) -> None:
        self._streams = streams
        self.region = region
        self.name = name
        self.due = 0.0
        self.made = False
        self._rest = b""
        self._last = 0

    def write(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._put(lines)

    def close(self) -> None:
        """Write the rest, which has no line end."""
        rest, self._rest = self._rest, b""
        self._put([rest])

    def _put(self, lines: list[bytes]) -> None:
        # CloudWatch takes a batch in the order of time only.
        self._last = max(self._last, int(time.time() * 1000))
        events = [
            {"timestamp": self._last, "message": piece}
            for line in lines
            for piece in pieces(line.removesuffix(b"\r").decode("utf-8", "replace"))
        ]
        if events:
            self._streams.put(self, events)


def pieces(text: str) -> list[str]:
    """A line as messages of at most :data:`MOST_BYTES`, cut between characters."""
    if len(text) * 4 <= MOST_BYTES or len(text.encode()) <= MOST_BYTES:
        return [text] if text else []
    made: list[str] = []
    rest = text.encode()
    while rest:
        end = min(len(rest), MOST_BYTES)
        while end < len(rest) and rest[end] & 0xC0 == 0x80:
            end -= 1
        made.append(rest[:end].decode())
        rest = rest[end:]
    return made


def _tolerate(client: Any, ask: Callable[..., Any], **arguments: str) -> None:
    with contextlib.suppress(client.exceptions.ResourceAlreadyExistsException):
        ask(**arguments)

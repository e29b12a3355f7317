"""Logs of containers: those of all that run are followed; those of ended ones are read by whoever asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from launch_docker.engine import Engine
from launch_docker.errors import EngineAway, EngineError
from launch_docker.follower import GATHER, LITTLE, Follower, Tail
from launch_docker.frames import Frames, since_parameter
from launch_docker.logs import Pending, position
from launch_docker.wire import Wire
from launchcore.plugin import LaunchError, LogBatch

AGAIN = 0.5
"""Seconds before a stream that broke off is opened again."""
REST = 3.0
"""Podman loses lines when it follows a log, so that it is asked again and again, each time for all since the
last settled time; it then rests for so many times what its answer took."""


class Tails:
    """All logs that are being read. Thread-safe; one reader for each log at a time."""

    def __init__(self, engine: Engine, ended: Callable[[str, bool], bool]) -> None:
        """:param ended: has this container ended? If the flag is not set, only as far as is known."""
        self._engine = engine
        self._ended = ended
        self._open: dict[str, Tail] = {}
        self._again: dict[str, float] = {}
        self._lock = threading.Lock()
        self._follower = Follower()
        engine.at_close(self.close)

    def close(self) -> None:
        """Close all streams, and wait for the thread that follows them."""
        with self._lock:
            tails = list(self._open.values())
            self._open.clear()
        for tail in tails:
            self._close(tail)
        self._follower.join()

    def read(self, container: str, *, tty: bool, cursor: str | None, limit: int) -> LogBatch:
        """At most ``limit`` bytes after ``cursor``.

        :raises LaunchError: it cannot be read now, or never.
        """
        try:
            at = position(cursor)
        except ValueError:
            raise LaunchError("the position in the log is not one of this runner's") from None
        try:
            return self._read(container, tty, at.cursor(), limit)
        except EngineAway as error:
            self.forget(container)
            raise LaunchError(f"the log cannot be read now: {error}", retryable=True) from None
        except EngineError as error:
            self.forget(container)
            what = "the log is gone with its container" if error.missing else f"no log: {error}"
            raise LaunchError(what) from None

    def forget(self, container: str) -> None:
        """Close the stream of a log, if one is open."""
        with self._lock:
            tail = self._open.pop(container, None)
            self._again.pop(container, None)
        if tail is not None:
            self._close(tail)

    def _read(self, container: str, tty: bool, cursor: str, limit: int) -> LogBatch:
        tail = self._tail(container, tty, cursor)
        if tail is None:  # it broke off a moment ago
            return LogBatch(data=b"", cursor=cursor)
        ended = self._ended(container, False)
        batch = self._take(tail, limit, gather=not tail.follow or ended)
        if batch.data or batch.gap:
            return batch
        if tail.follow and (tail.wire.over or (ended and tail.silent)):
            # A stream's end says nothing by itself. What is there now, of one that has ended, is all.
            self.forget(container)
            if not self._ended(container, True):
                took = tail.heard - tail.began if self._engine.is_podman() else 0.0
                with self._lock:
                    self._again[container] = time.monotonic() + max(AGAIN, REST * took)
                return batch
            if tail.wire.ended and self._is_last(container, tty, tail.last):
                return LogBatch(data=b"", cursor=batch.cursor, end=True)
            tail = self._start(container, tty, batch.cursor, follow=False)
            batch = self._take(tail, limit, gather=True)
        if tail.follow or batch.data or not tail.wire.over:
            return batch
        self.forget(container)
        if tail.wire.broken:
            raise EngineAway("the log's stream broke off")
        return LogBatch(data=b"", cursor=batch.cursor, end=True)

    def _is_last(self, container: str, tty: bool, last: str) -> bool:
        """Is this the time of the log's last message? The engine reads it from the end, and not all again."""
        if self._engine.is_podman():
            return False  # its times are whole seconds, and say nothing
        params = {"stdout": True, "stderr": True, "timestamps": True, "tail": "1"}
        frames = Frames(tty=tty)
        try:
            answer = self._engine.request("GET", f"/containers/{container}/logs", params=params)
            found = frames.feed(answer.content)
        except (EngineError, ValueError):
            return False
        found += frames.rest()
        return found.times[-1:] == ([last] if last else [])

    def _take(self, tail: Tail, limit: int, *, gather: bool) -> LogBatch:
        """What there is. ``gather``: the log is complete, and what is not here yet is on its way."""
        tail.used = time.monotonic()
        while gather and tail.pending.size < limit and not tail.wire.over and not tail.silent:
            if tail.follow or tail.receive(wait=True) < LITTLE:
                time.sleep(GATHER)
        with tail.lock:
            was_full = tail.full
            data = tail.pending.take(limit)
            gap, tail.pending.gap = tail.pending.gap, None
            freed = was_full and not tail.full
        if freed and tail.follow:
            self._follower.follow(tail)
        return LogBatch(data=data, cursor=tail.cursor, gap=gap)

    def _tail(self, container: str, tty: bool, cursor: str) -> Tail | None:
        with self._lock:
            tail = self._open.get(container)
            wait = self._again.get(container, 0.0)
        if tail is not None and tail.cursor == cursor:
            return tail
        ended = self._ended(container, False)
        if tail is not None:
            self.forget(container)
        elif not ended and time.monotonic() < wait:
            return None
        return self._start(container, tty, cursor, follow=not ended)

    def _start(self, container: str, tty: bool, cursor: str, *, follow: bool) -> Tail:
        at = position(cursor)
        # Podman keeps long lines in pieces of any size; its own way to them frames a terminal's, too.
        podman = self._engine.is_podman()
        response = self._engine.request(
            "GET",
            f"/{'libpod/' if podman else ''}containers/{container}/logs",
            params={
                "stdout": True,
                "stderr": True,
                "timestamps": True,
                "follow": follow and not podman,
                "since": since_parameter(at.since),
            },
            stream=True,
        )
        frames = Frames(tty=tty and not podman, exact=podman)
        tail = Tail(Wire(response), frames, Pending(at), follow=follow)
        tail.receive()
        with self._lock:
            before = self._open.pop(container, None)
            self._open[container] = tail
        if before is not None:
            self._close(before)
        if follow:
            self._follower.follow(tail)
        return tail

    def _close(self, tail: Tail) -> None:
        if tail.follow:
            # Its thread closes it: a descriptor that it waits for must not be another's meanwhile.
            self._follower.drop(tail)
        else:
            tail.wire.close()

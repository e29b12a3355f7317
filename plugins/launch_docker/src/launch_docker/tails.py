"""Logs of containers: one thread follows all that run; those of ended ones are read by whoever asks."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import threading
import time
from collections.abc import Callable

from launch_docker.engine import Engine
from launch_docker.errors import EngineAway, EngineError
from launch_docker.frames import Frames, since_parameter
from launch_docker.logs import Pending, position
from launch_docker.wire import Wire
from launchcore.plugin import LaunchError, LogBatch

log = logging.getLogger("launchcore.docker")

AHEAD = 4 << 20
"""Bytes that are received of a log before somebody takes them; the engine keeps the rest."""
AGAIN = 0.5
"""Seconds before a stream that broke off is opened again."""
GATHER = 0.001
"""Seconds for which what comes is gathered. The engine sends each line by itself, and to take them one by
one costs more than all else; a socket holds some 270 of them."""
IDLE = 60.0
"""Seconds after which a stream that nobody asks for is closed."""


class Tail:
    """One open stream of one log, from one position on."""

    def __init__(self, wire: Wire, frames: Frames, pending: Pending, *, follow: bool) -> None:
        self.wire = wire
        self.pending = pending
        self.follow = follow
        self.lock = threading.Lock()
        self.used = time.monotonic()
        self._frames = frames

    @property
    def cursor(self) -> str:
        return self.pending.position.cursor()

    @property
    def full(self) -> bool:
        return self.pending.size >= AHEAD

    def receive(self, *, wait: bool = False) -> bool:
        """Take in what has come. False: there was nothing, or the stream is over."""
        data = self.wire.read(wait=wait)
        with self.lock:
            try:
                messages = self._frames.feed(data)
            except ValueError:
                self.wire.broken = True
                return False
            if self.wire.ended:
                messages += self._frames.rest()
            self.pending.add(messages)
        return bool(data)


class Follower:
    """The thread that receives what comes on all followed streams. It is there while there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changes: list[tuple[Tail, bool]] = []
        self._bell: int | None = None
        self._thread: threading.Thread | None = None

    def follow(self, tail: Tail) -> None:
        """Receive from it, from now on or again."""
        self._change(tail, True)

    def drop(self, tail: Tail) -> None:
        """Close it."""
        self._change(tail, False)

    def join(self) -> None:
        """Wait until the thread has left, which it does when there is nothing to follow."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5)

    def _change(self, tail: Tail, wanted: bool) -> None:
        with self._lock:
            self._changes.append((tail, wanted))
            if self._bell is not None:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._bell, b".")
                return
            reader, self._bell = os.pipe()
            os.set_blocking(reader, False)
            os.set_blocking(self._bell, False)
            self._thread = threading.Thread(target=self._run, args=(reader,), daemon=True, name="docker-logs")
            self._thread.start()

    def _run(self, bell: int) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(bell, selectors.EVENT_READ)
            following: dict[int, Tail] = {}
            while True:
                self._apply(selector, following)
                if not following and self._leave():
                    break
                for key, _ in selector.select(timeout=5.0):
                    if key.fd in following:
                        self._receive(selector, following, key.fd)
                    else:
                        with contextlib.suppress(BlockingIOError):
                            os.read(bell, 4096)
                self._drop_idle(selector, following)
                time.sleep(GATHER)
        os.close(bell)

    def _apply(self, selector: selectors.BaseSelector, following: dict[int, Tail]) -> None:
        with self._lock:
            changes, self._changes = self._changes, []
        for tail, wanted in changes:
            number = tail.wire.fileno()
            if not wanted:
                if following.get(number) is tail:
                    selector.unregister(number)
                    del following[number]
                tail.wire.broken = not tail.wire.ended
                tail.wire.close()
            elif not tail.wire.over and not tail.full and number >= 0 and number not in following:
                selector.register(number, selectors.EVENT_READ)
                following[number] = tail

    def _receive(self, selector: selectors.BaseSelector, following: dict[int, Tail], number: int) -> None:
        tail = following[number]
        try:
            tail.receive()
        except Exception:
            log.exception("a log could not be followed, starting again")
            tail.wire.broken = True
        if tail.wire.over or tail.full:
            selector.unregister(number)
            del following[number]
            if tail.wire.over:
                tail.wire.close()

    def _drop_idle(self, selector: selectors.BaseSelector, following: dict[int, Tail]) -> None:
        before = time.monotonic() - IDLE
        for number, tail in list(following.items()):
            if tail.used < before:
                selector.unregister(number)
                del following[number]
                tail.wire.broken = True
                tail.wire.close()

    def _leave(self) -> bool:
        """Nothing to follow: the thread ends, unless something has just come."""
        with self._lock:
            if self._changes:
                return False
            assert self._bell is not None
            os.close(self._bell)
            self._bell = None
            return True


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
        batch = self._take(tail, limit)
        if batch.data or batch.gap:
            return batch
        if tail.follow and (tail.wire.over or self._ended(container, False)):
            # A stream's end says nothing by itself. What is there now, of one that has ended, is all.
            self.forget(container)
            if not self._ended(container, True):
                with self._lock:
                    self._again[container] = time.monotonic() + AGAIN
                return batch
            tail = self._start(container, tty, batch.cursor, follow=False)
            batch = self._take(tail, limit)
        if tail.follow or batch.data or not tail.wire.over:
            return batch
        self.forget(container)
        if tail.wire.broken:
            raise EngineAway("the log's stream broke off")
        return LogBatch(data=b"", cursor=batch.cursor, end=True)

    def _take(self, tail: Tail, limit: int) -> LogBatch:
        tail.used = time.monotonic()
        if not tail.follow:
            while tail.pending.size < limit and not tail.wire.over:
                tail.receive(wait=True)
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
        if tail is not None:
            self.forget(container)
        elif time.monotonic() < wait:
            return None
        return self._start(container, tty, cursor, follow=not self._ended(container, False))

    def _start(self, container: str, tty: bool, cursor: str, *, follow: bool) -> Tail:
        at = position(cursor)
        response = self._engine.request(
            "GET",
            f"/containers/{container}/logs",
            params={
                "stdout": True,
                "stderr": True,
                "timestamps": True,
                "follow": follow,
                "since": since_parameter(at.since),
            },
            stream=True,
        )
        tail = Tail(Wire(response), Frames(tty=tty), Pending(at), follow=follow)
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

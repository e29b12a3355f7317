"""Open streams of logs: a few threads open them, one receives from all of them."""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import queue
import selectors
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from launch_k8s.errors import ApiAway, ApiError
from launch_k8s.logs import Lines, Position, Skip
from launch_k8s.wire import Refusal, Wire

log = logging.getLogger("launchcore.kubernetes")

AHEAD: Final = 1 << 20
"""Bytes that are received of a log before somebody takes them; the node keeps the rest."""
LONGEST: Final = 8 << 20
"""Bytes of one line that are waited for; a longer one ends the reading of the log."""
PART: Final = -1
"""Instead of a line's second: it is not the whole line."""
OPENERS: Final = 4
"""Threads that open streams: a node that does not answer must not hold up the logs of others."""
IDLE: Final = 5.0


class Stream:
    """One log of one container, from a position on; opened by somebody else, read here. Thread-safe."""

    def __init__(self, position: Position, *, follow: bool, whole: bool, prefix: bytes) -> None:
        """:param whole: the container had ended before: what comes is all that there will be."""
        self.cluster: str | None = None
        self.position = position.copy()
        self.follow = follow
        self.whole = whole
        self.lock = threading.Lock()
        self.wire: Wire | None = None
        self.error: ApiError | ApiAway | None = None
        self.ended_at: float | None = None
        self.heard_at = time.monotonic()
        self.clean = False
        """It came to its end, as far as the server says."""
        self.closed = False
        self.ragged = False
        """It ended within a line."""
        self.received = 0
        self.lively = False
        """Something came."""
        self.paused = False
        """Nothing is received until somebody has taken of it."""
        self.gap: str | None = None
        self._prefix = prefix
        self._lines = Lines()
        self._skip = Skip(position)
        self._queue: collections.deque[tuple[str, int, bytes]] = collections.deque()
        self.size = 0

    @property
    def full(self) -> bool:
        return self.size >= AHEAD

    @property
    def over(self) -> bool:
        """Nothing will come, and everything was taken."""
        return self.ended_at is not None and not self._queue

    def receive(self) -> None:
        """Take in what has come, without waiting."""
        wire = self.wire
        assert wire is not None
        while not wire.over:
            with self.lock:
                # With the lock: whoever takes meanwhile sees either that it is paused, or that it goes on.
                self.paused = self.full
                if self.paused:
                    break
            data = wire.read()
            with self.lock:
                if data:
                    self.heard_at = time.monotonic()
                    self.lively = True
                    self.received += len(data)
                    self._add(self._lines.feed(data))
                elif not wire.over:
                    return
            if self._lines.held > LONGEST:
                self.gap = "a line is too long"
                wire.broken = True
        if wire.over and self.ended_at is None:
            with self.lock:
                # An answer may end within a line: when it breaks off, and in order, too, when the API server
                # loses the node (it says so to nobody) or the container engine has split a line between two
                # files. What came of it is given out, and the line is asked for again from there.
                self.ragged = self._lines.held > 0 and (self.follow or not wire.ended)
                self._add(self._lines.rest(part=self.ragged), part=self.ragged)
                self.clean = wire.ended
                self.ended_at = time.monotonic()

    def take(self, limit: int) -> bytes:
        """Up to ``limit`` bytes; the position is after them. Of one of several logs whole lines only."""
        found: list[bytes] = []
        position = self.position
        with self.lock:
            while self._queue and limit > 0:
                at, second, data = self._queue[0]
                end = len(data) if self._prefix and not found else position.offset + limit
                if self._prefix and len(data) > end:
                    break
                piece = data[position.offset : end]
                found.append(piece)
                limit -= len(piece)
                if position.offset + len(piece) < len(data):
                    position.offset += len(piece)
                    break
                self._queue.popleft()
                self.size -= len(data)
                if second == PART:
                    position.offset = len(data)
                else:
                    position.advance(at, second)
            if self._skip.gap is not None:
                self.gap, self._skip.gap = self._skip.gap, None
        return b"".join(found)

    def resumed(self) -> bool:
        """Whether it was paused and has room again; once."""
        with self.lock:
            again = self.paused and not self.full
            self.paused = self.paused and not again
        return again

    def stop(self) -> None:
        """Make room for another: it will be read again later."""
        self.lively = False
        if self.wire is not None:
            self.wire.shut()

    def fail(self, error: ApiError | ApiAway) -> None:
        """It could not be opened."""
        self.error = error
        self.ended_at = time.monotonic()

    def _add(self, lines: list[tuple[str, int, bytes]], *, part: bool = False) -> None:
        wanted = self._skip.wanted
        for at, second, data in lines:
            if wanted(at):
                full = self._prefix + data if self._prefix else data
                if self._skip.moved and not self._queue:
                    # The line that was read in part has gone with the file: this one goes on after it.
                    self._skip.moved, self.position.offset = False, 0
                self._queue.append((at, PART if part else second, full))
                self.size += len(full)


class Openers:
    """A few threads that do what takes its time. They are there while there is something to do."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._waiting = 0

    def submit(self, work: Callable[[], None]) -> None:
        with self._lock:
            self._work.put(work)
            self._waiting += 1
            if self._threads >= min(OPENERS, self._waiting):
                return
            self._threads += 1
        threading.Thread(target=self._run, name="kubernetes-logs-open", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                work = self._work.get(timeout=IDLE)
            except queue.Empty:
                with self._lock:
                    if self._waiting:
                        continue
                    self._threads -= 1
                    return
            try:
                work()
            except Exception:
                log.exception("a log could not be opened")
            finally:
                with self._lock:
                    self._waiting -= 1


class Receiver:
    """The thread that receives what comes on all streams. It is there while there are any."""

    def __init__(self, refusal: Callable[[Stream, Refusal], ApiError]) -> None:
        """:param refusal: what an answer means that is no."""
        self._refusal = refusal
        self._lock = threading.Lock()
        self._changes: list[Stream] = []
        self._bell: int | None = None

    def look(self, stream: Stream) -> None:
        """Receive from it, from now on or again; close it, if it is ``closed``."""
        with self._lock:
            self._changes.append(stream)
            if self._bell is not None:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._bell, b".")
                return
            reader, self._bell = os.pipe()
            os.set_blocking(reader, False)
            os.set_blocking(self._bell, False)
        threading.Thread(target=self._run, args=(reader,), daemon=True, name="kubernetes-logs").start()

    def _run(self, bell: int) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(bell, selectors.EVENT_READ)
            following: dict[int, Stream] = {}
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
        os.close(bell)

    def _apply(self, selector: Any, following: dict[int, Stream]) -> None:
        with self._lock:
            changes, self._changes = self._changes, []
        for stream in changes:
            wire = stream.wire
            if wire is None:
                continue
            number = wire.fileno()
            there = following.get(number) is stream
            if stream.closed:
                if there:
                    selector.unregister(number)
                    del following[number]
                wire.close()
            elif not there and number >= 0 and not wire.over and number not in following:
                # What TLS has decoded already wakes no selector: read first.
                selector.register(number, selectors.EVENT_READ)
                following[number] = stream
                self._receive(selector, following, number)

    def _receive(self, selector: Any, following: dict[int, Stream], number: int) -> None:
        stream = following[number]
        assert stream.wire is not None
        try:
            stream.receive()
        except Refusal as refusal:
            stream.wire.broken = True
            stream.fail(self._refusal(stream, refusal))
        except Exception:
            log.exception("a log could not be followed, starting again")
            stream.wire.broken = True
            stream.ended_at = time.monotonic()
        if stream.wire.over or stream.paused or stream.closed:
            selector.unregister(number)
            del following[number]
            if stream.wire.over or stream.closed:
                stream.wire.close()

    def _leave(self) -> bool:
        """Nothing to receive: the thread ends, unless something has just come."""
        with self._lock:
            if self._changes:
                return False
            assert self._bell is not None
            os.close(self._bell)
            self._bell = None
            return True

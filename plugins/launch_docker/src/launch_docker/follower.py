"""Open streams of logs, and the one thread that receives what comes on all of them."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import threading
import time

from launch_docker.frames import Frames
from launch_docker.logs import Pending
from launch_docker.wire import Wire

log = logging.getLogger("launchcore.docker")

AHEAD = 4 << 20
"""Bytes that are received of a log before somebody takes them; the engine keeps the rest."""
GATHER, LITTLE = 0.001, 8192
"""Seconds for which what comes is gathered, after less than so many bytes. The engine sends each line by
itself, and to take them one by one costs more than all else; a socket holds some 270 of them."""
SILENT = 1.0
"""Seconds for which the stream of a container that has ended is waited for, to bring the rest and its end."""
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
        self.began = self.heard = time.monotonic()
        """When something came last."""
        self.last = ""
        """The time of the last message that came."""
        self._frames = frames

    @property
    def cursor(self) -> str:
        return self.pending.position.cursor()

    @property
    def silent(self) -> bool:
        """It is followed, and nothing has come for a while."""
        return self.follow and time.monotonic() - self.heard > SILENT

    @property
    def full(self) -> bool:
        return self.pending.size >= AHEAD

    def receive(self, *, wait: bool = False) -> int:
        """Take in what has come: how many bytes. 0: there was nothing, or the stream is over."""
        data = self.wire.read(wait=wait)
        with self.lock:
            try:
                messages = self._frames.feed(data)
            except ValueError:
                self.wire.broken = True
                return 0
            if self.wire.ended:
                messages += self._frames.rest()
            if messages.times:
                self.heard, self.last = time.monotonic(), messages.times[-1]
            self.pending.add(messages)
        return len(data)


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
                most = 0
                for key, _ in selector.select(timeout=5.0):
                    if key.fd in following:
                        most = max(most, self._receive(selector, following, key.fd))
                    else:
                        with contextlib.suppress(BlockingIOError):
                            os.read(bell, 4096)
                self._drop_idle(selector, following)
                if most < LITTLE:
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
            elif tail.wire.over:  # all of it came at once
                tail.wire.close()
            elif not tail.full and number >= 0 and number not in following:
                selector.register(number, selectors.EVENT_READ)
                following[number] = tail

    def _receive(self, selector: selectors.BaseSelector, following: dict[int, Tail], number: int) -> int:
        tail, got = following[number], 0
        try:
            got = tail.receive()
        except Exception:
            log.exception("a log could not be followed, starting again")
            tail.wire.broken = True
        if tail.wire.over or tail.full:
            selector.unregister(number)
            del following[number]
            if tail.wire.over:
                tail.wire.close()
        return got

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

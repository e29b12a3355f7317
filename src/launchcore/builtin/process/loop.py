"""The keeper's event loop: descriptors, timers and ended children on one thread. Standard library only."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

Call = Callable[[], None]


class Timer:
    """A call at a later time, which can be called off."""

    __slots__ = ("call",)

    def __init__(self, call: Call) -> None:
        self.call: Call | None = call

    def cancel(self) -> None:
        self.call = None


class Loop:
    """Calls back, one at a time. A callback that raises is logged to stderr, and the others go on."""

    def __init__(self, on_child: Call) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = itertools.count()
        self._stopped = False
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        self._on_child = on_child
        self.watch(self._woken, self._drain)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)

    def watch(self, fd: int, call: Call, *, write: bool = False) -> None:
        """Call when ``fd`` can be read (or written too). Again for the same ``fd``: instead."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
        try:
            self._selector.modify(fd, events, call)
        except KeyError:
            self._selector.register(fd, events, call)

    def forget(self, fd: int) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(fd)

    def after(self, seconds: float, call: Call) -> Timer:
        timer = Timer(call)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._count), timer))
        return timer

    def stop(self) -> None:
        self._stopped = True

    def run(self) -> None:
        """Until :meth:`stop`."""
        while not self._stopped:
            for key, _ in self._selector.select(self._until_next()):
                self.guard(key.data)
            while self._timers and self._timers[0][0] <= time.monotonic():
                timer = heapq.heappop(self._timers)[2]
                if timer.call is not None:
                    self.guard(timer.call)

    def guard(self, call: Callable[[], Any]) -> None:
        """One mistake must not end the watch over all the others."""
        try:
            call()
        except Exception:
            traceback.print_exc(file=sys.stderr)
            sys.stderr.flush()

    def _until_next(self) -> float | None:
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)
        self._on_child()

"""A pool of daemon threads: unlike the standard library's, it never holds up the end of the process."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger("launchcore.agent")


class Pool:
    """Runs calls on at most ``size`` threads, which are made when they are first needed.

    A call that a plugin never returns from costs its thread, and nothing else: an agent that is told to
    leave leaves.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._closed = False

    def submit(self, call: Callable[[], None]) -> None:
        """Run ``call`` soon; nothing is run any more once the pool is closed."""
        with self._lock:
            if self._closed:
                return
            self._calls.put(call)
            if self._idle == 0 and self._threads < self._size:
                self._threads += 1
                threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()
            elif self._idle:
                self._idle -= 1

    def close(self) -> None:
        """What has not begun is dropped."""
        with self._lock:
            self._closed = True

    def _work(self) -> None:
        while True:
            call = self._calls.get()
            if self._closed:
                return
            try:
                call()
            except Exception:
                log.exception("the agent failed unexpectedly")
            with self._lock:
                if self._calls.empty():
                    self._idle += 1

"""How fast an API server is asked, and how long to wait before it is asked again."""

from __future__ import annotations

import random
import threading
import time


class Pace:
    """At most ``burst`` requests at once and ``rate`` a second on the long run. Thread-safe.

    Callers are let through in turn, without a thread that hands out turns: each takes the next slot on the
    clock (a "generic cell rate algorithm", ITU-T I.371) and sleeps until then.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._gap = 1.0 / rate
        self._slack = self._gap * (burst - 1)
        self._next = 0.0
        self._lock = threading.Lock()
        self.taken = 0
        """Requests that were let through."""

    def wait(self) -> None:
        """Return when a request may be made."""
        with self._lock:
            now = time.monotonic()
            slot = max(self._next, now)
            self._next = slot + self._gap
            self.taken += 1
        pause = slot - self._slack - now
        if pause > 0:
            time.sleep(pause)


class Pauses:
    """Growing pauses between tries, in seconds: decorrelated jitter (Brooker, "Exponential Backoff and
    Jitter", 2015), so that many agents do not come back at the same moment."""

    def __init__(self, first: float, most: float) -> None:
        self._first = first
        self._most = most
        self._last = first

    def next(self) -> float:
        self._last = min(self._most, random.uniform(self._first, self._last * 3))
        return self._last

    def reset(self) -> None:
        self._last = self._first

"""How fast a service is asked, by all runs together: a token bucket whose rate follows the answers."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Final

SLOWEST: Final = 1 / 20
"""The least part of the set rate that throttling leaves."""
RECOVERY: Final = 1 / 20
"""The part of the set rate that each good answer gives back."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds of silence after a throttle, and after many."""
_EPSILON: Final = 1e-9


class Pace:
    """At most ``burst`` requests at once and ``per_second`` a second on the long run. Thread-safe.

    A throttle halves the rate and starts a pause in which nothing is tried: jittered, and longer with each
    throttle that follows. Good answers raise the rate again, a little each, and never above what was set
    (additive increase, multiplicative decrease: Chiu and Jain, 1989).
    """

    def __init__(
        self,
        per_second: float,
        *,
        burst: int = 1,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] | None = None,
    ) -> None:
        self._set = per_second
        self._rate = per_second
        self._burst = float(burst)
        self._tokens = float(burst)
        self._clock = clock
        self._chance = chance or random.Random().random  # threads of their own leave the shared one alone
        self._at = clock()
        self._pause = FIRST_PAUSE
        self._free_at = self._at
        self._lock = threading.Lock()

    @property
    def per_second(self) -> float:
        """The rate of now."""
        return self._rate

    def take(self) -> float:
        """Take a place: 0.0, it is taken; else the seconds after which to try again."""
        with self._lock:
            now = self._refill()
            if now < self._free_at:
                return self._free_at - now
            if self._tokens >= 1.0 - _EPSILON:
                self._tokens = max(self._tokens - 1.0, 0.0)
                return 0.0
            return (1.0 - self._tokens) / self._rate

    def wait(self, stop: threading.Event | None = None) -> bool:
        """Take a place, however long it takes. False: ``stop`` was set, none is taken."""
        sleeper = stop or threading.Event()
        while not sleeper.is_set():
            pause = self.take()
            if not pause:
                return True
            sleeper.wait(pause)
        return False

    def throttled(self) -> None:
        """The service says that we are too fast. What was asked before the pause, and hears the same, counts
        once."""
        with self._lock:
            now = self._refill()
            if now < self._free_at:
                return
            self._rate = max(self._rate / 2, self._set * SLOWEST)
            self._tokens = 0.0
            self._free_at = now + self._pause * (0.5 + self._chance() / 2)
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def fine(self) -> None:
        """It has answered."""
        with self._lock:
            if self._refill() >= self._free_at:
                self._rate = min(self._rate + self._set * RECOVERY, self._set)
                self._pause = max(self._pause / 2, FIRST_PAUSE)

    def busy_for(self) -> float:
        """Seconds for which nothing should be tried after a throttle; 0.0: free."""
        with self._lock:
            return max(self._free_at - self._clock(), 0.0)

    def _refill(self) -> float:
        """Under the lock: what time has brought, at the rate of now."""
        now = max(self._clock(), self._at)
        # A pause brings nothing: after it we begin slowly.
        since = max(self._at, min(self._free_at, now))
        self._tokens = min(self._burst, self._tokens + (now - since) * self._rate)
        self._at = now
        return now

"""How many requests a caller may send: a bucket for each token, and one for each address that guesses."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST = 10_000
"""So many callers are remembered; the one that was quiet for longest is forgotten."""


class Buckets:
    """One bucket for each caller: ``rate`` requests a second on average, ``burst`` at once.

    Of this process alone: with several servers behind one address each counts for itself.
    """

    def __init__(self, *, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._filled: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> float:
        """Count one request. Returns 0, or the seconds until the next one is let in."""
        left = self._left(caller)
        if left < 1.0:
            return (1.0 - left) / self._rate
        self._filled[caller] = (left - 1.0, self._clock())
        self._filled.move_to_end(caller)
        if len(self._filled) > _MOST:
            self._filled.popitem(last=False)
        return 0.0

    def empty(self, caller: str) -> bool:
        """Whether the next request would be turned away."""
        return self._left(caller) < 1.0

    def _left(self, caller: str) -> float:
        filled, at = self._filled.get(caller, (self._burst, 0.0))
        return min(self._burst, filled + (self._clock() - at) * self._rate)

"""Attempts whose runner takes no more for now: they keep their lease, and no thread waits with them."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable

from launchcore.agent.attempt import Attempt
from launchcore.agent.roster import Roster
from launchcore.plugin import RunHandle
from launchcore.stages.work import Postponed

Again = Callable[[], RunHandle]


class WaitingRoom:
    """Thread-safe. ``go`` is called with what is to be tried again; it has a stage worker's slot then.

    One slot at least stays with those who come for the first time, so that a queue whose runner is busy
    holds up no other.
    """

    def __init__(self, roster: Roster, go: Callable[[Attempt, Again], None]) -> None:
        self._roster = roster
        self._go = go
        self._lock = threading.Lock()
        self._heap: list[tuple[float, int, Attempt, Again]] = []
        self._order = itertools.count()

    def enter(self, attempt: Attempt, wait: Postponed, now: float) -> None:
        """``now``: seconds of the monotonic clock, as in :meth:`tick`."""
        assert wait.again is not None
        self._roster.postpone(attempt)
        with self._lock:
            heapq.heappush(self._heap, (now + wait.after, next(self._order), attempt, wait.again))
        if not attempt.wanted:  # told so on the way here, when there was nobody to hurry
            self.hurry(lambda each: each is attempt)

    def hurry(self, wanted: Callable[[Attempt], bool]) -> None:
        """Let go on at once what ``wanted`` picks: it is to end, and finds out by itself."""
        with self._lock:
            self._heap = [
                (float("-inf") if wanted(attempt) else due, order, attempt, again)
                for due, order, attempt, again in self._heap
            ]
            heapq.heapify(self._heap)

    def tick(self, now: float) -> None:
        """Try again what is due, as far as there are stage workers."""
        while (entry := self._next(now)) is not None:
            _, _, attempt, again = entry
            self._go(attempt, again)

    def _next(self, now: float) -> tuple[float, int, Attempt, Again] | None:
        with self._lock:
            if not self._heap or self._heap[0][0] > now:
                return None
            _, _, attempt, _ = self._heap[0]
            if not self._roster.resume(attempt):
                return None
            return heapq.heappop(self._heap)

"""The training jobs that are followed: when each is looked at, and what was seen. No threads, no sleep.

All jobs of a region share one pace (``settings.requests_per_second``). New jobs, and those in which something
has just changed, are looked at soon and then more and more rarely; the others in turn, as often as the pace
allows with room to spare.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final

from launch_sagemaker.api import Api, Throttled
from launch_sagemaker.followed import AWAY, GROWTH, SOON, Followed, Region, news_of, seen, status_of, unseen
from launch_sagemaker.places import Job, handle_of
from launch_sagemaker.schedule import Turn
from launch_sagemaker.settings import Settings
from launch_sagemaker.status import Sight, sight_of
from launchcore.plugin import OnChange, Phase, RunStatus

log = logging.getLogger("launchcore.sagemaker")

HEADROOM: Final = 1.2
"""How much longer than the pace needs one round of looks takes, so that what is new does not wait."""
BEHIND: Final = 2.0
"""Seconds by which a look is late when there are more to make than the pace allows: none of them is made
soon again then, so that what is new is seen in time."""
JITTER: Final = 0.1
QUIET: Final = 60.0
"""Seconds between two looks at a job in which nothing changes, where events tell of changes at once."""
UNASKED: Final = 600.0
"""Seconds after which a job is left alone when nobody asked for it: its attempt is another agent's now."""
REMEMBERED: Final = 4096
"""Ends that are kept; older ones are asked for again."""


class Following:
    """All jobs of one agent. Thread-safe, as long as each region is stepped by one thread."""

    def __init__(
        self,
        api: Api,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] | None = None,
    ) -> None:
        self._api = api
        self._settings = settings
        self._clock = clock
        self._chance = chance or random.Random().random  # threads of their own leave the shared one alone
        self.lock = threading.Condition()
        """Of everything here; notified when something was seen, or is to be looked at."""
        self.wishes = 0
        """Grows with each wish to look at something: for whoever was about to sleep."""
        self._telling = threading.Lock()
        self.regions: dict[str, Region] = {}
        self.entries: dict[str, Followed] = {}
        self._names: dict[str, str] = {}
        self._ended: dict[str, None] = {}
        self.on_change: OnChange | None = None
        self.told_of_changes: Callable[[], bool] = lambda: False
        """Whether events tell of changes, so that looks may be rare."""

    # -- what is followed ------------------------------------------------------------------------

    def follow(self, job: Job, *, made_now: bool = False, hurried: bool = False) -> bool:
        """Look at it from now on. False: that was so before."""
        with self.lock:
            now, known = self._clock(), self.entries.get(job.attempt_id)
            if known is not None and not (made_now and known.final):
                known.asked_at = now
                return False
            region = self.regions.get(job.region)
            if region is None:
                region = Region(job.region, self._api.looks(job.region), now)
                self.regions[job.region] = region
            if not region.live:
                region.since = now
            self._ended.pop(job.attempt_id, None)
            self.entries[job.attempt_id] = Followed(job, now)
            self._names[job.name] = job.attempt_id
            soon = min(SOON, self._settings.look_seconds) if made_now else 0.0
            region.schedule.put(job.attempt_id, now + soon, hurried=hurried)
            self._wish()
            return True

    def hurry(self, attempt_id: str) -> str | None:
        """Look at it next. The name of its region; ``None``: there is nothing to look at any more."""
        with self.lock:
            entry = self.entries.get(attempt_id)
            if entry is None or entry.final:
                return None
            region = self.regions[entry.job.region]
            entry.pause, entry.asked_at = SOON, self._clock()
            if region.looking == attempt_id:
                entry.again = True
            else:
                region.schedule.put(attempt_id, self._clock(), hurried=True)
            self._wish()
            return region.name

    def forget(self, attempt_id: str) -> None:
        with self.lock:
            entry = self.entries.pop(attempt_id, None)
            if entry is not None:
                self.regions[entry.job.region].schedule.remove(attempt_id)
                self._names.pop(entry.job.name, None)
                self._ended.pop(attempt_id, None)

    def _wish(self) -> None:
        self.wishes += 1
        self.lock.notify_all()

    def named(self, name: str) -> str | None:
        """The attempt whose training job has this name."""
        with self.lock:
            return self._names.get(name)

    # -- what was seen ---------------------------------------------------------------------------

    def status(self, attempt_id: str) -> RunStatus | None:
        """As of the last look; ``None``: it is not followed."""
        with self.lock:
            entry = self.entries.get(attempt_id)
            if entry is None:
                return None
            entry.asked_at = self._clock()
            return self._status(entry)

    def sight(self, attempt_id: str) -> Sight | None:
        """The last look that has seen it."""
        with self.lock:
            entry = self.entries.get(attempt_id)
            if entry is None:
                return None
            entry.asked_at = self._clock()
            return entry.sight

    def looked(self, attempt_id: str) -> bool:
        """Whether it was looked at, whatever was seen."""
        with self.lock:
            entry = self.entries.get(attempt_id)
            return entry is None or entry.looked_at is not None

    def ages(self) -> dict[str, float]:
        """Seconds since each region with something to look at has said something of a job."""
        with self.lock:
            now = self._clock()
            return {each.name: max(now - each.since, 0.0) for each in self.regions.values() if each.live}

    def _status(self, entry: Followed) -> RunStatus:
        return status_of(entry, self.regions[entry.job.region])

    # -- looking ---------------------------------------------------------------------------------

    def step(self, name: str) -> float | None:
        """One look in a region, if one is due and the pace allows it.

        Seconds after which to come again; ``None``: there is nothing to look at any more.
        """
        with self.lock:
            region, now = self.regions[name], self._clock()
            turn = region.schedule.first()
            if turn is None:
                return None
            entry = self.entries[turn.key]
            if now - entry.asked_at > UNASKED:
                self.forget(turn.key)
                return 0.0
            due = now if turn.hurried else turn.due
            pause = max(due, region.not_before) - now
            if pause <= 0.0:
                pause = region.pace.take()
            if pause > 0.0:
                return pause
            region.schedule.remove(turn.key)
            region.looking = turn.key
            late = not turn.hurried and now - turn.due > BEHIND
        answer: Sight | Exception | None = None
        try:
            described = self._api.describe(entry.job)
            answer = None if described is None else sight_of(described)
        except Exception as error:
            answer = error
        with self.lock:
            region.looking = None
            if self.entries.get(turn.key) is entry:
                region.schedule.put(turn.key, self._clock() + AWAY)  # whatever goes wrong now
                self._saw(region, entry, turn, answer, late=late)
            self.lock.notify_all()
        self.tell(turn.key)
        return 0.0

    def _saw(
        self, region: Region, entry: Followed, turn: Turn, answer: Sight | Exception | None, *, late: bool
    ) -> None:
        """Under the lock."""
        now, again = self._clock(), entry.again
        entry.again = False
        if isinstance(answer, Throttled):
            region.schedule.put(turn.key, turn.due, hurried=turn.hurried or again)
            return
        entry.looked_at = now if entry.looked_at is None else entry.looked_at
        if isinstance(answer, Exception):
            changed = False
            unseen(entry, region, answer, now, self._chance())
        else:
            changed = seen(entry, region, answer, now, self._settings.appear_seconds)
        if entry.final:
            region.schedule.remove(turn.key)
            self._ended[turn.key] = None
            while len(self._ended) > REMEMBERED:
                self.forget(next(iter(self._ended)))
            return
        steady = self._steady(region)
        entry.pause = steady if late else min(SOON if changed else entry.pause * GROWTH, steady)
        jitter = 1.0 - JITTER + 2 * JITTER * self._chance()
        region.schedule.put(turn.key, now + entry.pause * jitter, hurried=again)

    def _steady(self, region: Region) -> float:
        """Seconds between two looks at a job in which nothing changes."""
        least = QUIET if self.told_of_changes() else self._settings.look_seconds
        return max(least, HEADROOM * len(region.schedule) / region.pace.per_second)

    # -- telling ---------------------------------------------------------------------------------

    def tell(self, attempt_id: str) -> None:
        """Tell whoever watches, if something is new. That it could not be seen is no news."""
        with self._telling:  # so that the newer comes after the older
            with self.lock:
                entry, tell = self.entries.get(attempt_id), self.on_change
                if entry is None or entry.sight is None or tell is None or entry.problem is not None:
                    return
                status, handle = self._status(entry), handle_of(entry.job)
                news = news_of(status)
                if status.phase is Phase.UNKNOWN or news == entry.told:
                    return
                entry.told = news
            try:
                tell(handle, status)
            except Exception:
                log.exception("telling of a change of %s failed", attempt_id)

"""How runs are: one thread a region looks at all of its training jobs, and pushes what changes.

A thread for each region, and none for a run: a region whose answers take half a minute holds up nobody else's
looks, and there are few regions. A thread begins with the first job and ends with the last.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from launch_sagemaker.api import Api
from launch_sagemaker.following import Following
from launch_sagemaker.places import Job, job_of
from launch_sagemaker.settings import Settings
from launch_sagemaker.status import Sight
from launchcore.plugin import OnChange, Phase, RunHandle, RunStatus

__all__ = ["Observer", "Sight"]

log = logging.getLogger("launchcore.sagemaker")

FEW: Final = 4
GLIMPSE: Final = 2.0
"""Seconds that :meth:`Observer.look` waits for the first sight of a few jobs."""


class Observer:
    """Of one agent; all regions. Thread-safe."""

    def __init__(
        self,
        api: Api,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] | None = None,
    ) -> None:
        self._following = Following(api, settings, clock=clock, chance=chance)
        self._wake = self._following.lock
        self._threads: dict[str, threading.Thread] = {}
        self._closed = False

    def trust(self, told_of_changes: Callable[[], bool]) -> None:
        """While this says True, events tell of changes (:meth:`hurry`), and looks may be rare."""
        self._following.told_of_changes = told_of_changes

    def follow(self, job: Job, *, made_now: bool = False) -> None:
        """Look at it from now on, until it is forgotten, or nobody has asked for it for long. Idempotent.

        :param made_now: it was created a moment ago, and there is nothing to see yet.
        """
        self._following.follow(job, made_now=made_now)
        self._ensure(job.region)

    def look(self, handles: Sequence[RunHandle]) -> Mapping[str, RunStatus]:
        """The status of each handle, by its key, as of the last look. What was not followed is from now on;
        for the first sight of a few, this waits a little."""
        found: dict[str, RunStatus] = {}
        jobs = {handle.key: job_of(handle) for handle in handles}
        fresh = [job for job in jobs.values() if job is not None and self._unknown(job)]
        for job in fresh:
            self._following.follow(job, hurried=len(fresh) <= FEW)
            self._ensure(job.region)
        if 0 < len(fresh) <= FEW:
            with self._wake:
                self._wake.wait_for(
                    lambda: self._closed or all(self._following.looked(each.attempt_id) for each in fresh),
                    GLIMPSE,
                )
        for key, each in jobs.items():
            if each is None:
                found[key] = RunStatus(phase=Phase.GONE, message="nothing was started under this name")
            else:
                found[key] = self._following.status(each.attempt_id) or RunStatus(phase=Phase.UNKNOWN)
        return found

    @contextlib.contextmanager
    def watching(self, on_change: OnChange) -> Iterator[None]:
        """While in the block, tell of each change of phase, progress and warning of what is followed."""
        self._following.on_change = on_change
        try:
            for attempt_id in list(self._following.entries):
                self._following.tell(attempt_id)
            yield
        finally:
            self._following.on_change = None

    def sight(self, attempt_id: str) -> Sight | None:
        """The last look that has seen it; ``None``: none has."""
        return self._following.sight(attempt_id)

    def hurry(self, attempt_id: str) -> None:
        """Look now: an event came, a stop was asked for."""
        region = self._following.hurry(attempt_id)
        if region is not None:
            self._ensure(region)

    def named(self, name: str) -> str | None:
        """The attempt whose training job has this name, if it is followed."""
        return self._following.named(name)

    def forget(self, attempt_id: str) -> None:
        """It is over for us."""
        self._following.forget(attempt_id)

    def ages(self) -> Mapping[str, float]:
        """Seconds since each region with jobs was last heard."""
        return self._following.ages()

    def close(self) -> None:
        """Look at nothing any more. A look that is going on may end later; nobody hears of it."""
        with self._wake:
            self._closed = True
            self._following.on_change = None
            threads = list(self._threads.values())
            self._wake.notify_all()
        for each in threads:
            each.join(timeout=1.0)

    # -- threads ---------------------------------------------------------------------------------

    def _unknown(self, job: Job) -> bool:
        return self._following.status(job.attempt_id) is None

    def _ensure(self, region: str) -> None:
        with self._wake:
            if not self._closed and region not in self._threads:
                made = threading.Thread(
                    target=self._run, args=(region,), name=f"sagemaker-{region}", daemon=True
                )
                self._threads[region] = made
                made.start()

    def _run(self, region: str) -> None:
        following = self._following
        while True:
            with self._wake:
                if self._closed or not following.regions[region].schedule:
                    self._threads.pop(region, None)
                    return
                wishes = following.wishes
            try:
                pause = following.step(region) or 0.0
            except Exception:
                log.exception("looking at the training jobs of %s failed, going on", region)
                pause = 1.0
            with self._wake:
                if pause > 0.0 and wishes == following.wishes and not self._closed:
                    self._wake.wait(pause)

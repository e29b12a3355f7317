"""One job that is followed, and one region: what is kept of them, and what a look changes."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

import attrs
from launch_aws.diagnosis import scrubbed

from launch_sagemaker.pace import Pace
from launch_sagemaker.places import Job
from launch_sagemaker.schedule import Schedule
from launch_sagemaker.status import Sight
from launchcore.plugin import LaunchError, Phase, RunStatus

log = logging.getLogger("launchcore.sagemaker")

SOON: Final = 1.0
"""Seconds from a change to the next look; each further pause is longer by GROWTH."""
GROWTH: Final = 1.5
AWAY: Final = 30.0
"""Seconds between two tries, at most, while a region does not answer."""


@attrs.define(eq=False)
class Followed:
    """One job, and no more of it than has to be kept: there are many."""

    job: Job
    asked_at: float
    pause: float = SOON
    sight: Sight | None = None
    problem: str | None = None
    told: tuple[Any, ...] | None = None
    looked_at: float | None = None
    """When it was looked at for the first time."""
    misses: int = 0
    """How often in a row SageMaker did not know it."""
    again: bool = False
    """It was hurried while it was being looked at."""
    logged: bool = False

    @property
    def final(self) -> bool:
        return self.sight is not None and self.sight.status.phase.final


@attrs.define(eq=False)
class Region:
    """What is the same for all jobs of a region."""

    name: str
    pace: Pace
    since: float
    """When it got something to look at, or was heard since."""
    schedule: Schedule = attrs.field(factory=Schedule)
    looking: str | None = None
    failures: int = 0
    not_before: float = 0.0
    problem: str | None = None

    @property
    def live(self) -> int:
        """Jobs that have not ended."""
        return len(self.schedule) + (self.looking is not None)


def status_of(entry: Followed, region: Region) -> RunStatus:
    """As of the last look. Could not see is unknown, whatever was seen before; an end stays."""
    if entry.sight is not None and entry.final:
        return entry.sight.status
    problem = entry.problem or region.problem
    if problem is not None:
        return RunStatus(phase=Phase.UNKNOWN, message=problem)
    if entry.misses:
        return RunStatus(phase=Phase.UNKNOWN, message="SageMaker does not know its training job yet")
    return entry.sight.status if entry.sight is not None else RunStatus(phase=Phase.UNKNOWN)


def seen(entry: Followed, region: Region, sight: Sight | None, now: float, appear_seconds: float) -> bool:
    """SageMaker has answered; ``None``: that it knows no such job. Whether that changes anything."""
    if region.problem is not None:
        log.info("SageMaker in %s answers again", region.name)
    region.since, region.failures, region.problem = now, 0, None
    entry.problem = None
    if sight is None:
        return _missed(entry, now, appear_seconds)
    before, entry.sight, entry.misses = entry.sight, sight, 0
    return before is None or news_of(before.status) != news_of(sight.status)


def news_of(status: RunStatus) -> tuple[object, ...]:
    """What is worth telling when it changes."""
    return status.phase, status.progress, status.message


def _missed(entry: Followed, now: float, appear_seconds: float) -> bool:
    """It was made just now, or it is no more."""
    entry.misses += 1
    waited = now - (entry.looked_at if entry.looked_at is not None else now)
    if entry.misses >= 2 and (entry.sight is not None or waited >= appear_seconds):
        gone = f"SageMaker knows no training job {entry.job.name} in {entry.job.region}"
        before = entry.sight or Sight(status=RunStatus(phase=Phase.UNKNOWN))
        status = RunStatus(phase=Phase.GONE, message=gone)
        entry.sight = attrs.evolve(before, status=status, ended_at=time.time())
    return entry.misses == 1


def unseen(entry: Followed, region: Region, error: Exception, now: float, chance: float) -> None:
    """It could not be asked, or its answer could not be read.

    :param chance: from 0 to 1.
    """
    if isinstance(error, LaunchError):
        entry.problem = scrubbed(error.detail, 240)
        region.failures += 1
        if region.failures > 1:  # once may be this job's alone
            if region.problem is None:
                log.warning("%s", entry.problem)
            region.problem = entry.problem
        growing = min(SOON * 2.0 ** min(region.failures - 1, 10), AWAY)
        region.not_before = now + growing * (0.5 + chance / 2)
        return
    entry.problem = f"SageMaker's answer cannot be read: {type(error).__name__}"
    if not entry.logged:
        log.error("looking at the training job %s failed", entry.job.name, exc_info=error)
        entry.logged = True

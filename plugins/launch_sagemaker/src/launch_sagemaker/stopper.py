"""Asks SageMaker to end training jobs, at its pace."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from launch_sagemaker.api import Api, Throttled
from launch_sagemaker.places import Job
from launchcore.plugin import LaunchError

AGAIN: Final = 1.0
"""Seconds between two tries to stop what is not known yet."""
TRIES: Final = 3
"""How often it is asked while SageMaker throttles."""


class Stopper:
    """Of one agent."""

    def __init__(
        self,
        api: Api,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api = api
        self._clock = clock
        self._sleep = sleep

    def stop(self, job: Job, *, seconds: float = 0.0) -> bool:
        """Ask for its end. False: SageMaker knows no such job.

        :param seconds: for how long a job that was just made may still be unknown.
        :raises LaunchError: it could not be asked.
        """
        until = self._clock() + seconds
        while not self._asked(job):
            if self._clock() >= until:
                return False
            self._sleep(AGAIN)
        return True

    def _asked(self, job: Job) -> bool:
        control = self._api.control(job.region)
        for _ in range(TRIES):
            control.wait()
            try:
                return self._api.stop(job)
            except Throttled:
                continue
        raise LaunchError(f"cannot stop {job.name} now: SageMaker throttles us", retryable=True)

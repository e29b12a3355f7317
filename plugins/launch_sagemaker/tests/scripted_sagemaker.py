"""What an observer asks, as a script; and a following that is stepped by hand, on a clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import attrs
from launch_sagemaker.api import Api, Throttled
from launch_sagemaker.following import Following
from launch_sagemaker.names import job_name
from launch_sagemaker.pace import Pace
from launch_sagemaker.places import Job
from launch_sagemaker.settings import Settings

from launchcore.plugin import LaunchError, Phase, RunStatus

REGION, OTHER = "us-east-1", "eu-west-1"
Answer = Callable[[], Mapping[str, Any] | None]


def job(attempt: str, region: str = REGION) -> Job:
    return Job(attempt_id=attempt, name=job_name(attempt), region=region)


def doing(secondary: str = "Training", **more: Any) -> dict[str, Any]:
    steps = [{"Status": secondary, "StartTime": 1.0}]
    return {
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": secondary,
        "SecondaryStatusTransitions": steps,
        **more,
    }


DONE = {"TrainingJobStatus": "Completed", "SecondaryStatus": "Completed", "TrainingEndTime": 9.0}
AWAY = LaunchError("cannot look at training jobs in us-east-1: it cannot be reached", retryable=True)


def raises(error: Exception) -> Answer:
    def answer() -> None:
        raise error

    return answer


@attrs.define
class SageMaker:
    """What the observer asks: answers are functions, by attempt; nobody else's clock."""

    clock: Callable[[], float]
    per_second: float = 2.0
    answers: dict[str, Answer] = attrs.field(factory=dict)
    otherwise: Answer = doing
    asked: list[tuple[float, str]] = attrs.field(factory=list)
    paces: dict[str, Pace] = attrs.field(factory=dict)

    def looks(self, region: str) -> Pace:
        if region not in self.paces:
            self.paces[region] = Pace(self.per_second, clock=self.clock, chance=lambda: 1.0)
        return self.paces[region]

    def describe(self, job: Job) -> Mapping[str, Any] | None:
        self.asked.append((self.clock(), job.attempt_id))
        try:
            found = self.answers.get(job.attempt_id, self.otherwise)()
        except Throttled:
            self.looks(job.region).throttled()
            raise
        self.looks(job.region).fine()
        return found

    def times(self, attempt: str) -> list[float]:
        return [at for at, who in self.asked if who == attempt]


@attrs.define
class World:
    """A following that is stepped by hand, and who is told of changes."""

    now: float = 0.0
    luck: float = 0.5
    sagemaker: SageMaker = attrs.field(init=False)
    following: Following = attrs.field(init=False)
    told: list[tuple[str, RunStatus]] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.sagemaker = SageMaker(self.clock)
        self.begin()

    def clock(self) -> float:
        return self.now

    def begin(self, **settings: Any) -> None:
        self.following = Following(
            cast("Api", self.sagemaker), Settings(**settings), clock=self.clock, chance=lambda: self.luck
        )
        self.following.on_change = lambda handle, status: self.told.append((handle.key, status))

    def run(self, seconds: float, region: str = REGION) -> None:
        """What happens in that time."""
        until = self.now + seconds
        while self.now < until:
            pause = self.following.step(region)
            self.now = until if pause is None else min(self.now + pause, until)

    def phase(self, attempt: str) -> Phase:
        status = self.following.status(attempt)
        assert status is not None
        return status.phase

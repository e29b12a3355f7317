"""One attempt, one training job: whatever is answered, lost, throttled or late."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import attrs
import pytest
from launch_aws.session import Account
from launch_sagemaker.api import Api, Exists, Throttled
from launch_sagemaker.bundle import Bundle
from launch_sagemaker.names import ATTEMPT, OWNER
from launch_sagemaker.pace import Pace
from launch_sagemaker.places import Job
from launch_sagemaker.starter import SHORT, Starter
from launch_sagemaker.stopper import Stopper
from launch_sagemaker.store import Store
from launch_sagemaker.testing.samples import OWNER as ME
from launch_sagemaker.testing.samples import REGION, WITH_STORE, plan, secret

from launchcore.plugin import Busy, Given, LaunchError, Reason, RunPlan

LOST = LaunchError("no answer", reason=Reason.INFRASTRUCTURE, retryable=True)
NO = LaunchError("the role cannot be assumed", reason=Reason.CONFIG_ERROR)
OURS = {OWNER: ME, ATTEMPT: plan().attempt_id}
ARN = "arn:aws:sagemaker:us-east-1:123456789012:training-job/x"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class ScriptedApi:
    """``answers``: what each create answers, in turn; the last one again and again."""

    def __init__(self, clock: Clock, per_second: float = 100.0) -> None:
        self.answers: list[Exception | None] = [None]
        self.described: Callable[[], Mapping[str, Any] | None] = lambda: {"TrainingJobArn": ARN}
        self.tagged: Mapping[str, str] = OURS
        self.asked: list[str] = []
        self.stops: list[bool | Exception] = []
        self._paces = {name: Pace(per_second, burst=1, clock=clock) for name in ("looks", "control")}
        for pace in self._paces.values():
            pace.wait = lambda *_: True  # type: ignore[method-assign]

    def looks(self, region: str) -> Pace:
        return self._paces["looks"]

    def control(self, region: str) -> Pace:
        return self._paces["control"]

    def create(self, region: str, body: Mapping[str, Any]) -> None:
        self.asked.append("create")
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if answer is not None:
            raise answer

    def describe(self, job: Job) -> Mapping[str, Any] | None:
        self.asked.append("describe")
        return self.described()

    def tags(self, region: str, arn: str) -> Mapping[str, str]:
        return self.tagged

    def stop(self, job: Job) -> bool:
        self.asked.append("stop")
        answer = self.stops.pop(0) if self.stops else self.described() is not None
        if isinstance(answer, Exception):
            raise answer
        return answer


class ScriptedStore:
    def __init__(self) -> None:
        self.there: set[str] = set()
        self.puts = 0

    def put(self, url: str, bundle: Bundle) -> None:
        self.puts += 1
        self.there.add(url)

    def remove(self, url: str) -> None:
        self.there.discard(url)


@attrs.define
class Place:
    clock: Clock
    api: ScriptedApi
    store: ScriptedStore
    starter: Starter

    def start(self, what: RunPlan | None = None, given: Given | None = None) -> Job:
        made = what or plan(start_before=self.clock.now + 60.0)
        return self.starter.start(made, given or secret("TOKEN"))


@pytest.fixture
def place() -> Place:
    return at(100.0)


def at(per_second: float) -> Place:
    clock, store = Clock(), ScriptedStore()
    api = ScriptedApi(clock, per_second)
    account = cast("Account", type("Here", (), {"region": REGION}))
    stopper = Stopper(cast("Api", api), clock=clock, sleep=clock.sleep)
    starter = Starter(
        account,
        cast("Api", api),
        cast("Store", store),
        stopper,
        WITH_STORE,
        owner=ME,
        clock=clock,
        sleep=clock.sleep,
    )
    return Place(clock, api, store, starter)


def test_what_waits_in_s3_is_there_before_the_job_is(place: Place) -> None:
    job = place.start()

    assert place.api.asked == ["create"]
    assert place.store.there == {job.bundle}


def test_who_does_not_get_a_turn_soon_is_busy_and_has_asked_and_left_nothing() -> None:
    place = at(0.1)
    place.start()
    place.api.asked.clear()
    place.store.there.clear()
    with pytest.raises(Busy) as caught:
        place.start()

    assert caught.value.after >= SHORT
    assert (place.api.asked, place.store.there, place.store.puts) == ([], set(), 1)


def test_a_throttled_start_is_busy_and_leaves_nothing(place: Place) -> None:
    place.api.answers = [Throttled("slow down")]
    with pytest.raises(Busy):
        place.start()

    assert place.store.there == set()


def test_a_refusal_leaves_nothing(place: Place) -> None:
    place.api.answers = [NO]
    with pytest.raises(LaunchError, match="cannot be assumed"):
        place.start()

    assert place.api.asked == ["create"]
    assert place.store.there == set()


@pytest.mark.parametrize("then", [None, Exists("it is there")], ids=["not made", "made"])
def test_a_lost_answer_is_asked_for_again(place: Place, then: Exception | None) -> None:
    place.api.answers = [LOST, LOST, then]
    job = place.start()

    assert place.api.asked.count("create") == 3
    assert place.store.there == {job.bundle}


def test_after_a_lost_answer_nobody_says_that_nothing_was_started(place: Place) -> None:
    """Busy would promise it, and the run might go back to its queue while a job of it trains."""
    place.api.answers = [LOST, Throttled("slow down"), Throttled("slow down"), Exists("it is there")]
    place.start()

    assert place.api.asked.count("create") == 4


ENDED = {"TrainingJobArn": ARN, "TrainingJobStatus": "Stopped", "SecondaryStatus": "Stopped"}
ENDS = {"TrainingJobArn": ARN, "TrainingJobStatus": "Stopping", "SecondaryStatus": "Stopping"}


@pytest.mark.parametrize("last", [LOST, NO], ids=["too late", "refused"])
def test_what_may_have_been_made_is_stopped_when_its_start_is_given_up(place: Place, last: Exception) -> None:
    """The run is tried again, or has failed: nothing of it may train. Its end is waited for."""
    place.api.answers = [LOST, LOST, last]
    answers = iter([ENDS, ENDS, ENDED])
    place.api.stops = [Throttled("slow down"), False, True]
    place.api.described = lambda: next(answers)
    with pytest.raises(LaunchError):
        place.start(plan(start_before=place.clock.now + 5.0))

    assert place.api.asked.count("stop") == 3
    assert place.api.asked.count("describe") == 3
    assert place.store.there == set()


def test_what_was_surely_not_made_is_not_asked_to_stop(place: Place) -> None:
    place.api.answers = [NO]
    with pytest.raises(LaunchError):
        place.start()

    assert place.api.asked == ["create"]


def test_a_stop_that_cannot_be_asked_for_does_not_hide_why_it_was_given_up(place: Place) -> None:
    """The sweep finds it by its tags."""
    place.api.answers = [LOST, NO]
    place.api.stops = [LOST]
    with pytest.raises(LaunchError, match="cannot be assumed"):
        place.start()


def test_what_is_there_is_looked_at_until_it_can_be_seen_whose_it_is(place: Place) -> None:
    """A throttled or unanswered look is no reason to give up what is paid for."""
    seen = iter([Throttled("slow down"), LOST, None, {"TrainingJobArn": ARN}])

    def described() -> Mapping[str, Any] | None:
        answer = next(seen)
        if isinstance(answer, Exception):
            raise answer
        return cast("Mapping[str, Any] | None", answer)

    place.api.answers = [Exists("it is there")]
    place.api.described = described
    place.start()

    assert place.api.asked == ["create", *["describe"] * 4]


def test_a_name_that_is_taken_by_somebody_else(place: Place) -> None:
    place.api.answers = [Exists("it is there")]
    place.api.tagged = {OWNER: "another", ATTEMPT: plan().attempt_id}
    with pytest.raises(LaunchError, match="not this run's"):
        place.start()


def test_nothing_is_started_too_late(place: Place) -> None:
    with pytest.raises(LaunchError, match="too late"):
        place.start(plan(start_before=place.clock.now))

    assert "create" not in place.api.asked


def test_what_was_made_too_late_is_stopped_as_soon_as_it_is_known(place: Place) -> None:
    made = plan(start_before=place.clock.now + 5.0)
    place.api.create = lambda *_: place.clock.sleep(6.0)  # type: ignore[method-assign]
    place.api.stops = [False, False, True]
    place.api.described = lambda: ENDED
    with pytest.raises(LaunchError, match="too late"):
        place.start(made)

    assert place.api.asked == ["stop"] * 3 + ["describe"]


def test_nobody_is_found_only_after_a_while(place: Place) -> None:
    """What was just made may be unknown for seconds."""
    began = place.clock.now
    place.api.described = lambda: None if place.clock.now < began + 10.0 else {"TrainingJobArn": ARN}
    found = place.starter.find(plan().attempt_id)
    assert found is not None
    assert found.name == f"launch-{plan().attempt_id}"

    place.api.described = lambda: None
    began = place.clock.now
    assert place.starter.find(plan().attempt_id) is None
    assert place.clock.now - began >= WITH_STORE.appear_seconds / 3


def test_what_is_somebody_elses_is_not_found(place: Place) -> None:
    place.api.tagged = {}

    assert place.starter.find(plan().attempt_id) is None


def test_what_was_stopped_before_anybody_had_its_handle_is_not_found(place: Place) -> None:
    """Its start was given up, and the run is to be tried again. What is about to end is waited for."""
    answers = iter([ENDS, ENDS, ENDED])
    place.api.described = lambda: next(answers)

    assert place.starter.find(plan().attempt_id) is None


def test_what_its_time_has_ended_is_found(place: Place) -> None:
    place.api.described = lambda: {**ENDED, "SecondaryStatus": "MaxRuntimeExceeded"}

    assert place.starter.find(plan().attempt_id) is not None


def test_throttled_nobody_says_that_there_is_none(place: Place) -> None:
    def throttled() -> Mapping[str, Any]:
        raise Throttled("slow down")

    place.api.described = throttled
    with pytest.raises(LaunchError, match="throttles"):
        place.starter.find(plan().attempt_id)


def test_who_may_not_look_is_told_so(place: Place) -> None:
    def denied() -> Mapping[str, Any]:
        raise LaunchError("sagemaker:DescribeTrainingJob is not allowed", reason=Reason.CONFIG_ERROR)

    place.api.answers = [Exists("it is there")]
    place.api.described = denied
    with pytest.raises(LaunchError, match="not allowed"):
        place.start()

"""Who is looked at when, and what is told: by a clock of the test's own; then with threads."""

from __future__ import annotations

import itertools
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import attrs
import pytest
from launch_sagemaker import following as module
from launch_sagemaker import observer as threads
from launch_sagemaker.api import Api, Throttled
from launch_sagemaker.following import Following
from launch_sagemaker.names import job_name
from launch_sagemaker.observer import Observer
from launch_sagemaker.pace import Pace
from launch_sagemaker.places import Job, handle_of
from launch_sagemaker.schedule import Schedule
from launch_sagemaker.settings import Settings

from launchcore.plugin import LaunchError, Phase, Reason, RunHandle, RunStatus

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


@pytest.fixture
def world() -> World:
    return World()


# -- when -----------------------------------------------------------------------------------------


def test_a_new_job_is_looked_at_often_at_first_and_then_at_the_usual_interval(world: World) -> None:
    world.following.follow(job("a"))
    world.run(60)
    times = world.sagemaker.times("a")
    gaps = [after - before for before, after in itertools.pairwise(times)]

    assert times[0] == 0.0
    assert gaps[:5] == pytest.approx([1.0, 1.5, 2.25, 3.375, 5.0])
    assert gaps[5:] == pytest.approx([5.0] * len(gaps[5:]))


def test_what_was_made_just_now_is_not_looked_at_at_once(world: World) -> None:
    world.following.follow(job("a"), made_now=True)
    world.run(2)

    assert world.sagemaker.times("a")[0] == 1.0


@pytest.mark.parametrize(("luck", "interval"), [(0.0, 4.5), (1.0, 5.5)])
def test_intervals_vary_by_chance(luck: float, interval: float) -> None:
    world = World(luck=luck)
    world.following.follow(job("a"))
    world.run(60)
    times = world.sagemaker.times("a")

    assert times[-1] - times[-2] == pytest.approx(interval)


def test_a_job_that_changes_is_looked_at_soon_again(world: World) -> None:
    world.following.follow(job("a"))
    world.run(60)
    world.sagemaker.answers["a"] = lambda: doing("Uploading")
    world.run(10)
    times = world.sagemaker.times("a")
    gaps = [after - before for before, after in itertools.pairwise(times)]

    assert pytest.approx(1.0) in gaps[5:]


def test_a_thousand_jobs_share_the_budget_and_none_is_left_out(world: World) -> None:
    attempts = [f"r-{n}" for n in range(1000)]
    for each in attempts:
        world.following.follow(job(each))
    for _ in range(12):  # as the agent does, now and then
        world.run(300)
        for each in attempts:
            world.following.status(each)
    asked = world.sagemaker.asked
    latest: dict[str, float] = {}
    longest = 0.0
    for at, who in asked:
        longest = max(longest, at - latest.get(who, 0.0))
        latest[who] = at

    assert len(asked) <= 2 * 3600 + 1
    assert set(latest) == set(attempts)
    assert longest < 1.2 * 1000 / 2 * 1.5
    assert max(Counter(int(at) for at, _ in asked).values()) <= 3


def test_a_stream_of_new_jobs_is_seen_in_time_and_pushes_old_ones_not_aside(world: World) -> None:
    world.sagemaker.per_second = 1.0
    world.following.follow(job("old"))
    world.run(60)
    for n in range(150):  # each wants several looks at once: more than there are
        world.following.follow(job(f"new-{n}"))
        world.run(2)
        world.following.status("old")
    times = world.sagemaker.times("old")

    assert max(after - before for before, after in itertools.pairwise(times)) < 1.2 * 150 * 1.1
    assert {who for _, who in world.sagemaker.asked} > {f"new-{n}" for n in range(130)}


def test_whoever_is_hurried_is_next(world: World) -> None:
    for n in range(100):
        world.following.follow(job(f"r-{n}"))
    world.run(5)
    world.following.hurry("r-99")
    world.run(1)

    assert world.sagemaker.asked[-1][1] == "r-99" or world.sagemaker.asked[-2][1] == "r-99"
    assert len(world.sagemaker.times("r-99")) == 1


def test_being_hurried_while_it_is_looked_at_means_one_more_look(world: World) -> None:
    def answer() -> Mapping[str, Any]:
        if len(world.sagemaker.asked) == 1:
            world.following.hurry("a")
        return doing()

    world.sagemaker.answers["a"] = answer
    world.following.follow(job("a"))
    world.run(0.6)

    assert world.sagemaker.times("a") == [0.0, 0.5]


def test_hurrying_what_is_not_followed_or_has_ended_asks_nobody(world: World) -> None:
    world.sagemaker.answers["a"] = lambda: DONE
    world.following.follow(job("a"))
    world.run(1)

    assert world.following.hurry("a") is None
    assert world.following.hurry("b") is None
    world.run(60)
    assert len(world.sagemaker.asked) == 1


def test_events_that_tell_of_changes_make_looks_rare(world: World) -> None:
    world.following.told_of_changes = lambda: True
    world.following.follow(job("a"))
    world.run(500)
    times = world.sagemaker.times("a")

    assert times[-1] - times[-2] == pytest.approx(60.0)


def test_a_throttled_look_is_made_up_for_as_soon_as_it_may(world: World) -> None:
    world.sagemaker.answers["a"] = raises(Throttled())
    world.following.follow(job("a"))
    assert world.following.step(REGION) == 0.0
    world.now = 0.5
    world.following.follow(job("b"))
    world.sagemaker.answers["a"] = doing
    world.run(5)

    assert [who for _, who in world.sagemaker.asked[:3]] == ["a", "a", "b"]
    assert [at for at, _ in world.sagemaker.asked[:3]] == pytest.approx([0.0, 2.0, 2.0 + 1 / 1.1])
    assert world.phase("a") is Phase.RUNNING


def test_while_sagemaker_throttles_it_is_asked_less_and_less(world: World) -> None:
    world.sagemaker.otherwise = raises(Throttled())
    for n in range(100):
        world.following.follow(job(f"r-{n}"))
    world.run(600)

    assert len(world.sagemaker.asked) < 20
    assert world.phase("r-0") is Phase.UNKNOWN


def test_a_region_that_is_away_is_tried_more_and_more_rarely_and_comes_back(world: World) -> None:
    world.sagemaker.otherwise = raises(AWAY)
    for n in range(100):
        world.following.follow(job(f"r-{n}"))
    world.run(300)
    tries = len(world.sagemaker.asked)
    assert 5 < tries < 25

    status = world.following.status("r-99")
    assert status is not None
    assert (status.phase, status.message) == (Phase.UNKNOWN, AWAY.detail)
    world.sagemaker.otherwise = doing
    world.run(120)
    assert {world.phase(f"r-{n}") for n in range(100)} == {Phase.RUNNING}


def test_a_job_that_nobody_asks_for_is_left_alone(world: World) -> None:
    world.following.follow(job("a"))
    world.following.follow(job("b"))
    for _ in range(10):
        world.run(100)
        world.following.status("a")

    assert world.following.status("b") is None
    assert world.phase("a") is Phase.RUNNING
    assert world.sagemaker.times("b")[-1] <= 600


# -- what -----------------------------------------------------------------------------------------


def test_an_end_is_final_and_never_asked_for_again(world: World) -> None:
    world.sagemaker.answers["a"] = lambda: DONE
    world.following.follow(job("a"))
    world.run(300)
    world.following.follow(job("a"))
    world.run(300)

    assert len(world.sagemaker.asked) == 1
    assert world.phase("a") is Phase.SUCCEEDED
    sight = world.following.sight("a")
    assert sight is not None
    assert sight.ended_at == 9.0


def test_another_observer_sees_the_same_end(world: World) -> None:
    world.sagemaker.answers["a"] = lambda: {
        **DONE,
        "TrainingJobStatus": "Failed",
        "FailureReason": "AlgorithmError: , exit code: 3",
    }
    world.following.follow(job("a"))
    world.run(1)
    first = world.following.status("a")
    world.begin()
    world.following.follow(job("a"))
    world.run(1)

    assert world.following.status("a") == first


def test_what_was_forgotten_is_not_looked_at(world: World) -> None:
    world.following.follow(job("a"))
    world.run(1)
    world.following.forget("a")
    world.following.forget("a")
    world.run(60)

    assert len(world.sagemaker.asked) == 1
    assert world.following.status("a") is None
    assert world.following.named(job_name("a")) is None


def test_what_is_forgotten_while_it_is_looked_at_stays_forgotten(world: World) -> None:
    def answer() -> Mapping[str, Any]:
        world.following.forget("a")
        return doing()

    world.sagemaker.answers["a"] = answer
    world.following.follow(job("a"))
    world.run(60)

    assert len(world.sagemaker.asked) == 1
    assert world.told == []


def test_a_new_job_may_be_unknown_for_a_while(world: World) -> None:
    world.sagemaker.answers["a"] = lambda: None
    world.following.follow(job("a"), made_now=True)
    world.run(60)
    assert world.phase("a") is Phase.UNKNOWN

    world.sagemaker.answers["a"] = doing
    world.run(10)
    assert world.phase("a") is Phase.RUNNING


def test_what_stays_unknown_is_gone(world: World) -> None:
    world.sagemaker.answers["a"] = lambda: None
    world.following.follow(job("a"))
    world.run(70)
    asked = len(world.sagemaker.asked)
    world.run(70)

    assert world.phase("a") is Phase.GONE
    assert len(world.sagemaker.asked) == asked
    assert [(key, status.phase) for key, status in world.told] == [("a", Phase.GONE)]


def test_what_was_seen_and_is_unknown_twice_is_gone_and_once_is_not(world: World) -> None:
    world.following.follow(job("a"))
    world.run(60)
    missed = iter([None, doing()])
    world.sagemaker.answers["a"] = lambda: next(missed, doing())
    world.run(20)
    assert world.phase("a") is Phase.RUNNING

    world.sagemaker.answers["a"] = lambda: None
    world.run(10)
    assert world.phase("a") is Phase.GONE


def test_what_was_gone_and_is_made_now_is_looked_at_again(world: World) -> None:
    world.sagemaker.answers["a"] = lambda: None
    world.following.follow(job("a"))
    world.run(70)
    assert world.phase("a") is Phase.GONE

    world.sagemaker.answers["a"] = doing
    world.following.follow(job("a"), made_now=True)
    world.run(2)
    assert world.phase("a") is Phase.RUNNING


def test_an_answer_that_cannot_be_read_is_one_jobs_trouble_and_logged_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(dict[str, Any]):
        def get(self, *_: Any) -> Any:
            raise TypeError("odd")

    world.sagemaker.answers["odd"] = Odd
    world.following.follow(job("odd"))
    world.following.follow(job("a"))
    world.run(60)

    assert world.phase("a") is Phase.RUNNING
    status = world.following.status("odd")
    assert status is not None
    assert status.phase is Phase.UNKNOWN
    assert "cannot be read" in (status.message or "")
    assert len([each for each in caplog.records if "failed" in each.message]) == 1

    world.sagemaker.answers["odd"] = doing
    world.run(10)
    assert world.phase("odd") is Phase.RUNNING


def test_losing_sight_of_one_job_does_not_hide_the_others(world: World) -> None:
    denied = LaunchError("AWS denies it", reason=Reason.CONFIG_ERROR)
    world.sagemaker.answers["denied"] = raises(denied)
    world.following.follow(job("denied"))
    world.following.follow(job("a"))
    world.run(120)

    status = world.following.status("denied")
    assert status is not None
    assert (status.phase, status.message) == (Phase.UNKNOWN, "AWS denies it")
    assert world.phase("a") is Phase.RUNNING
    assert world.sagemaker.times("a")[-1] > 110


def test_losing_sight_is_no_news_and_an_end_stays_an_end(world: World) -> None:
    world.sagemaker.answers["done"] = lambda: DONE
    world.following.follow(job("done"))
    world.following.follow(job("a"))
    world.run(10)
    world.sagemaker.otherwise = raises(AWAY)
    world.run(60)

    assert world.phase("a") is Phase.UNKNOWN
    assert world.phase("done") is Phase.SUCCEEDED
    sight = world.following.sight("a")
    assert sight is not None
    assert sight.status.phase is Phase.RUNNING, "logs go on by what was seen last"
    assert {status.phase for _, status in world.told} == {Phase.RUNNING, Phase.SUCCEEDED}


def test_ends_are_remembered_up_to_a_bound(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    world.sagemaker.otherwise = lambda: DONE
    for n in range(4):
        world.following.follow(job(f"r-{n}"))
    world.run(10)

    assert set(world.following.entries) == {"r-2", "r-3"}


def test_ages_say_which_region_was_not_heard_of_late(world: World) -> None:
    world.following.follow(job("a"))
    world.following.follow(job("b", OTHER))
    world.run(10)
    world.sagemaker.otherwise = raises(AWAY)
    world.run(50)

    ages = world.following.ages()
    assert ages[REGION] >= 50
    assert ages[OTHER] == 60
    world.following.forget("b")
    assert set(world.following.ages()) == {REGION}


# -- told -----------------------------------------------------------------------------------------


def test_each_change_of_phase_progress_and_warning_is_told_once(world: World) -> None:
    told: list[Mapping[str, Any]] = [
        doing("Starting"),
        doing("Starting"),
        doing("Downloading"),
        doing("Training"),
        doing("Training", TrainingTimeInSeconds=5),
        doing("Training", TrainingTimeInSeconds=9),
        DONE,
    ]
    answers = iter(told)
    world.sagemaker.answers["a"] = lambda: next(answers)
    world.following.follow(job("a"))
    world.run(60)

    assert [(status.phase, status.progress) for _, status in world.told] == [
        (Phase.PENDING, "Starting"),
        (Phase.PENDING, "Downloading"),
        (Phase.RUNNING, "Training"),
        (Phase.SUCCEEDED, None),
    ]


def test_whoever_is_told_may_fail(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def tell(handle: RunHandle, status: RunStatus) -> None:
        world.told.append((handle.key, status))
        raise RuntimeError("theirs")

    world.following.on_change = tell
    world.sagemaker.answers["a"] = lambda: DONE
    world.following.follow(job("a"))
    world.following.follow(job("b"))
    world.run(5)

    assert [key for key, _ in world.told] == ["a", "b"]
    assert "telling of a change of a failed" in caplog.text


def test_the_handle_that_is_told_is_the_one_that_was_started(world: World) -> None:
    found: list[RunHandle] = []
    world.following.on_change = lambda handle, _: found.append(handle)
    made = attrs.evolve(job("a"), bundle="s3://b/p/me/a/")
    world.following.follow(made)
    world.run(1)

    assert found == [handle_of(made)]


# -- the schedule ---------------------------------------------------------------------------------


def test_a_schedule_gives_turns_by_age_and_hurried_ones_first() -> None:
    schedule = Schedule()
    for key, due in (("b", 2.0), ("a", 1.0), ("c", 3.0)):
        schedule.put(key, due)
    schedule.put("c", 9.0, hurried=True)
    schedule.put("c", 1.0)
    schedule.put("a", 5.0)
    order = []
    while (turn := schedule.first()) is not None:
        order.append(turn.key)
        schedule.remove(turn.key)

    assert order == ["c", "b", "a"]
    assert len(schedule) == 0


def test_a_schedule_does_not_grow_with_what_is_put_again() -> None:
    schedule = Schedule()
    for n in range(10_000):
        schedule.put("a", float(-n))
        schedule.put("b", float(n))

    assert len(schedule) == 2
    assert len(schedule._heap) < 100


# -- with threads ---------------------------------------------------------------------------------


Observers = Callable[..., Observer]


@pytest.fixture
def sagemaker() -> SageMaker:
    return SageMaker(time.monotonic, per_second=1000.0)


@pytest.fixture
def observers(sagemaker: SageMaker) -> Iterator[Observers]:
    made: list[Observer] = []

    def make(**settings: Any) -> Observer:
        made.append(Observer(cast("Api", sagemaker), Settings(**settings)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def eventually(what: Callable[[], bool], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.005)


def alive() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("sagemaker-")]


def test_the_first_look_at_a_few_is_waited_for(observers: Observers) -> None:
    handles = [handle_of(job("a")), handle_of(job("b", OTHER))]

    found = observers().look(handles)

    assert {key: status.phase for key, status in found.items()} == {"a": Phase.RUNNING, "b": Phase.RUNNING}


def test_the_first_look_at_many_is_not(
    observers: Observers, sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "GLIMPSE", 3600.0)
    let_go = threading.Event()
    sagemaker.otherwise = lambda: doing() if let_go.wait(60) else None
    observer = observers()

    found = observer.look([handle_of(job(f"r-{n}")) for n in range(100)])
    assert {status.phase for status in found.values()} == {Phase.UNKNOWN}
    let_go.set()
    eventually(lambda: all(observer.sight(f"r-{n}") for n in range(100)))


def test_what_is_no_handle_of_ours_is_gone_and_spoils_nothing(observers: Observers) -> None:
    odd = RunHandle(runner="sagemaker", attempt_id="odd", data={"name": 7})

    found = observers().look([odd, handle_of(job("a"))])

    assert (found["odd"].phase, found["a"].phase) == (Phase.GONE, Phase.RUNNING)
    assert observers().look([]) == {}


def test_a_region_whose_answers_are_slow_holds_up_no_other(
    observers: Observers, sagemaker: SageMaker
) -> None:
    let_go, asked = threading.Event(), threading.Event()

    def slow() -> Mapping[str, Any]:
        asked.set()
        let_go.wait(60)
        return doing()

    sagemaker.answers["slow"] = slow
    observer = observers(look_seconds=0.01)
    observer.follow(job("slow"))
    assert asked.wait(20)
    observer.follow(job("a", OTHER))
    eventually(lambda: len(sagemaker.times("a")) > 3)

    assert observer.sight("slow") is None
    assert sorted(alive()) == [f"sagemaker-{OTHER}", f"sagemaker-{REGION}"]
    let_go.set()
    eventually(lambda: observer.sight("slow") is not None)


def test_there_is_one_thread_for_all_jobs_of_a_region_and_none_when_all_have_ended(
    observers: Observers, sagemaker: SageMaker
) -> None:
    let_go = threading.Event()
    sagemaker.otherwise = lambda: DONE if let_go.is_set() else doing()
    observer = observers(look_seconds=0.01)
    for n in range(50):
        observer.follow(job(f"r-{n}"))
    eventually(lambda: all(observer.sight(f"r-{n}") for n in range(50)))
    assert alive() == [f"sagemaker-{REGION}"]

    let_go.set()
    eventually(lambda: not alive())
    observer.follow(job("new"))
    eventually(lambda: observer.sight("new") is not None)


def test_hurrying_wakes_a_thread_that_sleeps(observers: Observers, sagemaker: SageMaker) -> None:
    observer = observers(look_seconds=3600.0)
    observer.look([handle_of(job("a"))])
    for more in range(2, 5):
        eventually(lambda more=more: len(sagemaker.times("a")) >= more - 1)  # type: ignore[misc]
        observer.hurry("a")
        eventually(lambda more=more: len(sagemaker.times("a")) >= more)  # type: ignore[misc]


def test_whoever_watches_is_told_and_nobody_afterwards(observers: Observers, sagemaker: SageMaker) -> None:
    observer = observers(look_seconds=0.01)
    sagemaker.answers["early"] = lambda: DONE
    observer.look([handle_of(job("early"))])
    told: list[tuple[str, Phase]] = []
    with observer.watching(lambda handle, status: told.append((handle.key, status.phase))):
        assert told == [("early", Phase.SUCCEEDED)], "what ended before is told of, too"
        observer.follow(job("a"), made_now=True)
        eventually(lambda: ("a", Phase.RUNNING) in told)
    sagemaker.answers["a"] = lambda: DONE
    eventually(lambda: observer.look([handle_of(job("a"))])["a"].phase is Phase.SUCCEEDED)

    assert told == [("early", Phase.SUCCEEDED), ("a", Phase.RUNNING)]


def test_closing_does_not_wait_for_an_answer_that_is_long_in_coming(
    observers: Observers, sagemaker: SageMaker
) -> None:
    let_go, asked = threading.Event(), threading.Event()

    def slow() -> Mapping[str, Any]:
        asked.set()
        let_go.wait(60)
        return doing()

    sagemaker.otherwise = slow
    told: list[str] = []
    observer = observers()
    with observer.watching(lambda handle, _: told.append(handle.key)):
        observer.follow(job("a"))
        assert asked.wait(20)
        observer.close()
        assert alive() == [f"sagemaker-{REGION}"]
        let_go.set()
        eventually(lambda: not alive())
    observer.follow(job("b"))

    assert told == []
    assert [who for _, who in sagemaker.asked] == ["a"]


def test_a_bug_in_a_look_does_not_end_the_looks(
    observers: Observers, sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer = observers(look_seconds=0.01)
    broken = iter([RuntimeError("a bug")])

    def trust() -> bool:
        for each in broken:
            raise each
        return False

    monkeypatch.setattr(module, "AWAY", 0.01)
    observer.trust(trust)
    observer.follow(job("a"))

    eventually(lambda: len(sagemaker.times("a")) > 3)


def test_a_thousand_jobs_take_little_memory(world: World) -> None:
    world.sagemaker.otherwise = lambda: doing(
        "Downloading",
        Environment={f"VARIABLE_{n}": "x" * 100 for n in range(50)},
        SecondaryStatusTransitions=[
            {"Status": "Downloading", "StartTime": 1.0, "StatusMessage": "Downloading input data"}
        ],
    )
    world.sagemaker.per_second = 1e6
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for n in range(1000):
            world.following.follow(
                Job(
                    attempt_id=f"run-{n}-1", name=job_name(f"run-{n}-1"), region=REGION, bundle=f"s3://b/{n}/"
                )
            )
        world.run(0.9)
        assert len({who for _, who in world.sagemaker.asked}) == 1000
        world.sagemaker.asked.clear()
        world.told.clear()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert (after - before) / 1000 < 5000

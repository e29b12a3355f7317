"""Who is looked at when: by a clock of the test's own."""

from __future__ import annotations

import itertools
import tracemalloc
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from launch_sagemaker.api import Throttled
from launch_sagemaker.names import job_name
from launch_sagemaker.places import Job
from launch_sagemaker.schedule import Schedule

from launchcore.plugin import Phase
from plugins.launch_sagemaker.tests.scripted_sagemaker import (
    AWAY,
    DONE,
    REGION,
    World,
    doing,
    job,
    raises,
)


@pytest.fixture
def world() -> World:
    return World()


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

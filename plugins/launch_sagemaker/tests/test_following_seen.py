"""What is seen of a followed job, and what is told: by a clock of the test's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from launch_sagemaker import following as module
from launch_sagemaker.names import job_name
from launch_sagemaker.places import handle_of

from launchcore.plugin import LaunchError, Phase, Reason, RunHandle, RunStatus
from plugins.launch_sagemaker.tests.scripted_sagemaker import (
    AWAY,
    DONE,
    OTHER,
    REGION,
    World,
    doing,
    job,
    raises,
)


@pytest.fixture
def world() -> World:
    return World()


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

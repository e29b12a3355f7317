"""``kill -9`` of the agent at every step, on a queue of training jobs."""

from __future__ import annotations

import signal

import pytest

from launchcore.plugin import RunState
from tests.crash import invariants
from tests.crash.world import wait_until
from tests.live.docker.test_crash import JOURNEY
from tests.live.sagemaker.world import SageMakerWorld

pytestmark = [pytest.mark.live, pytest.mark.slow]


SUCCESSORS = [
    *((point, ("restarted", "another")[at % 2]) for at, point in enumerate(JOURNEY)),
    ("execute.before_start", "restarted"),
    ("execute.after_start", "another"),
]
"""Each point has one in turn; around the start, where money begins to flow, both."""


@pytest.mark.parametrize(("point", "successor"), SUCCESSORS)
def test_the_agent_is_killed_on_the_journey(world: SageMakerWorld, point: str, successor: str) -> None:
    """Three runs on a queue that allows two at once; the agent dies at ``point`` and is succeeded."""
    world.queue(max_running=2)
    for _ in range(3):
        world.submit(seconds=1.5 if point == "renew.before" else 0.4)
    first = world.agent("one", failpoints=f"{point}=kill", ready=False)

    assert first.died() == -signal.SIGKILL, first.text()
    world.agent("one" if successor == "restarted" else "two")
    runs = world.finished(seconds=90)

    invariants.check_all(world, runs, limit=2)
    names = [each.name for each in world.sagemaker.jobs]
    assert len(names) == len(set(names))
    assert not world.sagemaker.called("ListTrainingJobs")


@pytest.mark.parametrize("point", ["cancel.before", "cancel.after"])
def test_the_agent_is_killed_while_it_cancels(world: SageMakerWorld, point: str) -> None:
    world.queue()
    run = world.submit(seconds=60)
    first = world.agent("one", failpoints=f"{point}=kill")
    wait_until("the job runs", world.records)
    world.service.cancel(run)
    assert first.died() == -signal.SIGKILL, first.text()

    world.agent("one")
    (ended,) = world.finished()

    assert ended.state is RunState.CANCELLED, world.report()
    assert world.job(run).status == "Stopped"
    invariants.starts_once(world)
    invariants.nothing_left(world)
    assert [what for what, _, _ in world.records()] == ["start"]


@pytest.mark.parametrize("point", ["recover.before", "recover.after"])
def test_the_agent_is_killed_while_it_recovers(world: SageMakerWorld, point: str) -> None:
    world.queue()
    world.submit(seconds=4.0)
    first = world.agent("one", failpoints="execute.after_start=kill", ready=False)
    assert first.died() == -signal.SIGKILL, first.text()
    second = world.agent("one", failpoints=f"{point}=kill", ready=False)
    assert second.died() == -signal.SIGKILL, second.text()

    world.agent("one")
    runs = world.finished()

    invariants.check_all(world, runs, limit=2)


def test_the_run_ends_while_no_agent_lives(world: SageMakerWorld) -> None:
    """Its exit code, its log and what it cost are not lost."""
    world.queue()
    run = world.submit(seconds=1.0)
    first = world.agent("one")
    wait_until("the job runs", world.records)
    first.kill()
    wait_until("the job has ended", lambda: world.job(run).has_ended)

    world.agent("one")
    runs = world.finished()

    invariants.check_all(world, runs, limit=2)
    (attempt,) = runs[0].attempts
    assert attempt.usage["billed_seconds"] >= 1

"""``kill -9`` of the agent at every step of a run's journey; then a restart, or another agent."""

from __future__ import annotations

import signal

import pytest

from launchcore.agent.failpoints import NAMES
from launchcore.plugin import RunState
from tests.crash import invariants
from tests.crash.world import World, wait_until

JOURNEY = (
    "claim.before",
    "claim.after",
    "source.before",
    "source.after",
    "execute.prepare",
    "execute.before_start",
    "execute.after_start",
    "execute.after_handle",
    "log.before_append",
    "log.after_append",
    "renew.before",
    "report.before",
    "report.after",
    "cleanup.after",
)
"""Points that every run on a process queue passes."""

ELSEWHERE = {
    "recover.before": "test_killed_while_it_recovers",
    "recover.after": "test_killed_while_it_recovers",
    "cancel.before": "test_killed_while_it_cancels",
    "cancel.after": "test_killed_while_it_cancels",
    "release.before": "test_killed_while_it_drains",
    "build.before": "tests/crash/test_images.py",
    "build.after": "tests/crash/test_images.py",
    "push.before": "tests/crash/test_images.py",
    "push.after": "tests/crash/test_images.py",
}

pytestmark = pytest.mark.slow


def test_the_matrix_has_every_failpoint() -> None:
    assert {*JOURNEY, *ELSEWHERE} == NAMES


@pytest.mark.parametrize("successor", ["restarted", "another"])
@pytest.mark.parametrize("point", JOURNEY)
def test_killed_on_the_journey(world: World, point: str, successor: str) -> None:
    """Three runs on a queue that allows two at once; the agent dies at ``point`` and is succeeded."""
    world.queue(max_running=2)
    for _ in range(3):
        world.submit(seconds=1.0 if point == "renew.before" else 0.4)
    first = world.agent("one", failpoints=f"{point}=kill", ready=False)

    assert first.died() == -signal.SIGKILL, first.text()
    world.agent("one" if successor == "restarted" else "two")
    runs = world.finished()

    invariants.check_all(world, runs, limit=2)


@pytest.mark.parametrize("point", ["recover.before", "recover.after"])
def test_killed_while_it_recovers(world: World, point: str) -> None:
    """The successor dies too, while it adopts; the third one finishes."""
    world.queue()
    world.submit(seconds=3.0, lines=10)
    first = world.agent("one", failpoints="execute.after_start=kill", ready=False)
    assert first.died() == -signal.SIGKILL, first.text()
    second = world.agent("one", failpoints=f"{point}=kill", ready=False)
    assert second.died() == -signal.SIGKILL, second.text()

    world.agent("one")
    runs = world.finished()

    invariants.check_all(world, runs, limit=2, lines=10)


@pytest.mark.parametrize("point", ["cancel.before", "cancel.after"])
def test_killed_while_it_cancels(world: World, point: str) -> None:
    """A cancel outlives the agent that was carrying it out (I7), and the process with it does not."""
    world.queue()
    run = world.submit(seconds=60)
    first = world.agent("one", failpoints=f"{point}=kill")
    wait_until("the job runs", world.records)
    world.service.cancel(run)
    assert first.died() == -signal.SIGKILL, first.text()

    world.agent("one")
    (ended,) = world.finished()

    assert ended.state is RunState.CANCELLED
    invariants.starts_once(world)
    invariants.nothing_left(world)
    assert [what for what, _, _ in world.records()] == ["start"]


def test_killed_while_it_drains(world: World) -> None:
    """An attempt that was being given back is not lost."""
    world.queue()
    world.submit()
    first = world.agent("one", failpoints="source.before=sleep:1.5;release.before=kill")
    wait_until("it is claimed", lambda: world.runs()[0].state is not RunState.QUEUED)
    first.signal(signal.SIGTERM)
    assert first.died() == -signal.SIGKILL, first.text()

    world.agent("one")
    invariants.check_all(world, world.finished(), limit=2)


def test_killed_and_nobody_there_for_a_while(world: World) -> None:
    """The run ends while no agent lives; its exit code and its log are not lost."""
    world.queue()
    world.submit(seconds=0.5)
    first = world.agent("one")
    wait_until("the job runs", world.records)
    first.kill()
    wait_until("the job has ended", lambda: len(world.records()) == 2)

    world.agent("one")
    runs = world.finished()

    invariants.check_all(world, runs, limit=2)
    assert [len(run.attempts) for run in runs] == [1]

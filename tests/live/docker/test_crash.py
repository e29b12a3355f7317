"""``kill -9`` of the agent at every step, on a queue of containers; and of the engine itself."""

from __future__ import annotations

import signal

import pytest
from launch_docker.testing.machine import Machine

from launchcore.plugin import Reason, RunState
from tests.crash import invariants
from tests.crash.world import wait_until
from tests.live.docker.world import DockerWorld

JOURNEY = (
    "claim.before",
    "claim.after",
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
"""Points that every run of a ready image passes."""

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.mark.parametrize("successor", ["restarted", "another"])
@pytest.mark.parametrize("point", JOURNEY)
def test_the_agent_is_killed_on_the_journey(world: DockerWorld, point: str, successor: str) -> None:
    """Three runs on a queue that allows two at once; the agent dies at ``point`` and is succeeded."""
    world.queue(max_running=2)
    for _ in range(3):
        world.submit(seconds=1.5 if point == "renew.before" else 0.4)
    first = world.agent("one", failpoints=f"{point}=kill", ready=False)

    assert first.died() == -signal.SIGKILL, first.text()
    world.agent("one" if successor == "restarted" else "two")
    runs = world.finished()

    invariants.check_all(world, runs, limit=2)


@pytest.mark.parametrize("point", ["cancel.before", "cancel.after"])
def test_the_agent_is_killed_while_it_cancels(world: DockerWorld, point: str) -> None:
    world.queue()
    run = world.submit(seconds=60)
    first = world.agent("one", failpoints=f"{point}=kill")
    wait_until("the job runs", world.records)
    world.service.cancel(run)
    assert first.died() == -signal.SIGKILL, first.text()

    world.agent("one")
    (ended,) = world.finished()

    assert ended.state is RunState.CANCELLED, world.report()
    invariants.starts_once(world)
    invariants.nothing_left(world)
    assert [what for what, _, _ in world.records()] == ["start"]


def test_the_run_ends_while_no_agent_lives(world: DockerWorld) -> None:
    """Its exit code and its log are not lost."""
    world.queue()
    world.submit(seconds=1.0)
    first = world.agent("one")
    wait_until("the job runs", world.records)
    first.kill()
    wait_until("the job has ended", lambda: len(world.records()) == 2)

    world.agent("one")
    runs = world.finished()

    invariants.check_all(world, runs, limit=2)
    assert [len(run.attempts) for run in runs] == [1]


def test_the_engine_is_killed_and_containers_outlive_it(own_world: DockerWorld, own_machine: Machine) -> None:
    """With live-restore: nothing is lost, not even a line of the log that nobody was there to read."""
    own_machine.stop()
    own_machine.start("--live-restore")
    own_world.queue()
    for _ in range(2):
        own_world.submit(seconds=6.0, lines=60)
    own_world.agent("one")
    # Also as the engine knows it: one that is killed in mid-start forgets what it was starting.
    wait_until("both run", lambda: all(run.state is RunState.RUNNING for run in own_world.runs()))

    own_machine.stop(signal.SIGKILL)
    own_machine.start("--live-restore")
    runs = own_world.finished()

    invariants.check_all(own_world, runs, limit=2, lines=60)


def test_the_engine_is_killed_and_takes_the_containers_with_it(
    own_world: DockerWorld, own_machine: Machine
) -> None:
    """Without live-restore: that is nobody's fault who wrote the job."""
    own_world.queue()
    own_world.submit(seconds=60, lines=60)
    own_world.agent("one")
    wait_until("it runs", own_world.records)

    own_machine.stop(signal.SIGKILL)
    own_machine.start()
    (run,) = own_world.finished()

    assert run.state is RunState.FAILED
    assert run.failure is not None
    assert run.failure.reason is Reason.INFRASTRUCTURE, run.failure
    invariants.starts_once(own_world)
    invariants.nothing_left(own_world)


def test_the_engine_is_away_for_a_while(own_world: DockerWorld, own_machine: Machine) -> None:
    """Losing sight is not failure: a run goes on, one that comes meanwhile fails with whose fault it is."""
    own_machine.stop()
    own_machine.start("--live-restore")
    own_world.queue()
    first = own_world.submit(seconds=4.0)
    own_world.agent("one")
    # Not only by the job's own word: the engine has to have noticed it, too.
    wait_until("it runs", lambda: own_world.service.run(first).state is RunState.RUNNING)
    own_machine.stop()
    second = own_world.submit()
    wait_until("the second one is over", lambda: own_world.service.run(second).state.final)
    assert own_world.service.run(first).state is RunState.RUNNING
    own_machine.start("--live-restore")
    own_world.finished()

    assert own_world.service.run(first).state is RunState.SUCCEEDED, own_world.report()
    failure = own_world.service.run(second).failure
    assert failure is not None
    assert failure.reason is Reason.INFRASTRUCTURE

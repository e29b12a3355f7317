"""Signals: SIGTERM at each stage, twice, three times; SIGSTOP for three leases; two agents of one name."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from launchcore.plugin import Reason, RunState
from tests.crash import invariants
from tests.crash.world import LEASE, World, wait_until

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "point",
    ["source.before", "source.after", "execute.prepare", "execute.before_start", "execute.after_start"],
)
def test_sigterm_at_each_stage(world: World, point: str) -> None:
    """The agent leaves with exit code 0, and the run is finished by the next one, with no attempt lost."""
    world.queue()
    world.submit(seconds=1.0)
    first = world.agent("one", failpoints=f"{point}=sleep:1*1")
    wait_until("it is claimed", lambda: world.runs()[0].state is not RunState.QUEUED)
    first.signal(signal.SIGTERM)

    assert first.died() == 0, first.text()
    world.agent("one")
    invariants.check_all(world, world.finished(), limit=2)


def test_sigterm_leaves_a_running_run_to_its_successor(world: World) -> None:
    world.queue()
    world.submit(seconds=2.0)
    first = world.agent("one")
    wait_until("the job runs", world.records)
    first.signal(signal.SIGTERM)
    assert first.died() == 0
    assert world.processes(), "the job was stopped by the agent's end"

    world.agent("two")
    runs = world.finished()

    invariants.check_all(world, runs, limit=2)
    assert len(runs[0].attempts) == 1, "it was run again instead of adopted"


def test_sigterm_waits_as_configured(world: World) -> None:
    world.queue()
    world.submit(seconds=1.5)
    first = world.agent("one", environ={"LAUNCHCORE_DRAIN_SECONDS": "-1"})
    wait_until("the job runs", world.records)
    first.signal(signal.SIGTERM)

    assert first.died() == 0
    assert world.runs()[0].state is RunState.SUCCEEDED
    invariants.check_all(world, world.runs(), limit=2)


def test_second_sigterm_cancels(world: World) -> None:
    world.queue()
    world.submit(seconds=60)
    first = world.agent("one", environ={"LAUNCHCORE_DRAIN_SECONDS": "-1"})
    wait_until("the job runs", world.records)
    first.signal(signal.SIGTERM)
    wait_until("it drains", lambda: '"draining"' in first.text())
    first.signal(signal.SIGTERM)

    assert first.died() == 0
    run = world.runs()[0]
    assert run.state is RunState.CANCELLED
    assert run.failure is not None
    assert run.failure.reason is Reason.CANCELLED
    invariants.nothing_left(world)


def test_third_sigterm_leaves_at_once(world: World) -> None:
    """A job that ignores SIGTERM holds up the second; the third leaves it to be adopted."""
    world.queue()
    stubborn = (
        "trap '' TERM; echo start $LAUNCH_ATTEMPT_ID 0 0 >> " + str(world.history) + "; sleep 60 & wait; wait"
    )
    world.submit(command=("sh", "-c", stubborn))
    first = world.agent("one", environ={"LAUNCHCORE_DRAIN_SECONDS": "-1"})
    wait_until("the job runs", world.records)
    for number, word in enumerate(("draining", "stopping", "leaving")):
        first.signal(signal.SIGTERM)
        if number < 2:
            wait_until(word, lambda word=word: f'"{word}"' in first.text())  # type: ignore[misc]

    assert first.died(seconds=20) == 0
    world.service.cancel(world.runs()[0].id)
    world.agent("one")
    world.finished()
    invariants.nothing_left(world)


@pytest.mark.parametrize(
    "point", ["claim.after", "execute.before_start", "execute.after_start", "log.after_append"]
)
def test_stopped_for_three_leases(world: World, point: str) -> None:
    """An agent that freezes and comes back finds its leases gone, and does no harm."""
    world.queue()
    for _ in range(2):
        world.submit(seconds=1.0)
    first = world.agent("one", failpoints=f"{point}=stop*1", ready=False)
    wait_until("it is frozen", lambda: _state(first.pid) == "T")
    frozen = time.monotonic()
    # Frozen in the middle of a write, it holds the database: then the other one waits with patience.
    world.agent("two", ready=False)
    wait_until("three leases have passed", lambda: time.monotonic() > frozen + 3 * LEASE)
    first.signal(signal.SIGCONT)

    runs = world.finished()
    invariants.check_all(world, runs, limit=2)
    # Both agents go on serving: another run is done.
    world.submit()
    invariants.check_all(world, world.finished(), limit=2)


def test_two_agents_of_one_name(world: World) -> None:
    """The second is refused with one line, and the first goes on."""
    world.queue()
    world.agent("one")
    second = world.agent("one", ready=False)

    assert second.died() == 2
    assert "one" in second.text()
    assert "Traceback" not in second.text()
    world.submit()
    invariants.check_all(world, world.finished(), limit=2)


def test_two_agents_of_one_name_on_two_state_directories(world: World) -> None:
    """Without the common lock it is the queue that refuses."""
    world.queue()
    world.agent("one")
    second = world.agent("one", environ={"LAUNCHCORE_STATE_DIR": str(world.root / "other")}, ready=False)

    assert second.died() == 2
    assert "Traceback" not in second.text()
    world.submit()
    invariants.check_all(world, world.finished(), limit=2)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]

"""A runner that takes no more for now: its runs wait with a lease, without a thread, and hold up no other."""

from __future__ import annotations

import signal

import pytest

from launchcore.plugin import RetryPolicy, RunSpec, RunState, SourceRef
from tests.crash import invariants
from tests.crash.world import World, wait_until

pytestmark = pytest.mark.slow

ENV = {"LAUNCHCORE_PLUGIN_MODULES": "launchcore.testing.echo", "LAUNCHCORE_STAGE_WORKERS": "2"}


def busy_queue(world: World, **config: object) -> None:
    world.queue("busy", type="echo-image", max_running=None, config=config, retry=RetryPolicy(max_lost=1))


def submit(world: World, count: int) -> list[str]:
    spec = RunSpec(source=SourceRef(type="image", fields={"image": "x"}))
    return [world.service.submit("busy", spec).id for _ in range(count)]


def notes(world: World, run: str) -> list[str]:
    return [event.detail for _, event in world.service.timeline(run) if event.what == "note"]


def waiting(world: World, runs: list[str]) -> bool:
    return all("waits: the echo runner is busy" in notes(world, run) for run in runs)


def test_a_busy_runner_holds_up_no_other_queue(world: World) -> None:
    """Twenty runs wait for it, ten times as many as there are stage workers."""
    busy_queue(world, busy_prepares=-1, busy_seconds=0.05)
    world.queue()
    world.agent(queues=("busy", "q"), environ=ENV)
    stuck = submit(world, 20)
    wait_until("all of them wait", lambda: waiting(world, stuck))
    others = [world.submit(seconds=0.1, lines=1) for _ in range(6)]

    wait_until(
        "the others are over", lambda: all(world.service.run(run).state.final for run in others), seconds=30
    )
    assert {world.service.run(run).state for run in others} == {RunState.SUCCEEDED}
    assert not any(world.service.run(run).state.final for run in stuck)
    assert {len(notes(world, run)) for run in stuck} == {1}, "it is said once"

    for run in stuck:
        world.service.cancel(run)
    wait_until("they are cancelled", lambda: all(world.service.run(run).state.final for run in stuck))
    assert {world.service.run(run).state for run in stuck} == {RunState.CANCELLED}


@pytest.mark.parametrize("where", ["busy_prepares", "busy_starts"])
def test_it_is_tried_again_until_it_is_taken(world: World, where: str) -> None:
    busy_queue(world, **{where: 3})
    world.agent(queues=("busy",), environ=ENV)
    runs = submit(world, 5)
    ended = world.finished()

    assert {run.state for run in ended} == {RunState.SUCCEEDED}
    assert {len(run.attempts) for run in ended} == {1}
    assert {len(notes(world, run)) for run in runs} == {1}


def test_who_waits_goes_back_when_the_agent_drains(world: World) -> None:
    busy_queue(world, busy_prepares=-1, busy_seconds=60.0)
    agent = world.agent(queues=("busy",), environ=ENV)
    runs = submit(world, 5)
    wait_until("all of them wait", lambda: waiting(world, runs))
    agent.signal(signal.SIGTERM)

    assert agent.died() == 0, agent.text()
    assert {world.service.run(run).state for run in runs} == {RunState.QUEUED}


def test_who_waits_is_lost_with_its_agent_and_not_counted(world: World) -> None:
    """It has started nothing: it goes back to its queue, which allows no lost attempt."""
    busy_queue(world, busy_prepares=3, busy_seconds=1.0)
    agent = world.agent(queues=("busy",), environ=ENV)
    runs = submit(world, 3)
    wait_until("all of them wait", lambda: waiting(world, runs))
    agent.kill()
    world.agent(queues=("busy",), environ=ENV)
    ended = world.finished()

    assert {run.state for run in ended} == {RunState.SUCCEEDED}, world.report()
    invariants.nothing_left(world)

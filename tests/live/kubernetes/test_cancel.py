"""Cancelling a run in each phase: it ends as cancelled, and nothing of it runs or is left."""

from __future__ import annotations

import pytest

from launchcore.plugin import Limits, RunState
from tests.crash import invariants
from tests.crash.world import wait_until
from tests.live.kubernetes.world import KubernetesWorld

pytestmark = [pytest.mark.live, pytest.mark.slow]

SOON = Limits(grace_seconds=2.0)


def cancelled(world: KubernetesWorld, run: str) -> None:
    world.service.cancel(run)
    ended = world.ended(run)
    assert ended.state is RunState.CANCELLED, world.report()
    invariants.nothing_left(world)


def test_while_it_is_queued(world: KubernetesWorld) -> None:
    world.recording_queue()
    run = world.submit()
    world.service.cancel(run)
    world.agent()
    other = world.submit(lines=1)

    assert world.ended(other).state is RunState.SUCCEEDED, world.report()
    assert world.service.run(run).state is RunState.CANCELLED
    assert {attempt for _, attempt, _ in world.records()} == {f"{other}-1"}
    invariants.nothing_left(world)


def test_while_no_node_takes_it(world: KubernetesWorld) -> None:
    world.queue(config={"node_selector": {"launchcore.test/kind": "none"}})
    world.agent()
    run = world.run("true", limits=SOON)
    world.pod(run)

    cancelled(world, run)


def test_while_its_image_is_not_there(world: KubernetesWorld) -> None:
    """Refused connections are tried again for a while; a cancel does not wait for that."""
    world.queue()
    world.agent()
    run = world.run("true", image="127.0.0.1:9/team/none:1", limits=SOON)

    def waits() -> bool:
        states = (world.pod(run).get("status") or {}).get("containerStatuses") or [{}]
        return bool((states[0].get("state") or {}).get("waiting"))

    wait_until("the node tries to pull", waits)
    cancelled(world, run)


def test_while_it_runs_and_listens(world: KubernetesWorld) -> None:
    """Its last words are in the log."""
    world.queue()
    world.agent()
    script = "trap 'echo last words; exit 3' TERM; echo up; while :; do sleep 0.1; done"
    run = world.run("sh", "-c", script, limits=Limits(grace_seconds=10.0))
    wait_until("it listens", lambda: b"up\n" in world.log(run))

    cancelled(world, run)
    assert b"last words\n" in world.log(run), world.log(run)


def test_while_it_runs_and_is_deaf(world: KubernetesWorld) -> None:
    world.recording_queue()
    world.agent()
    run = world.run("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done", limits=SOON)
    wait_until("it runs", lambda: b"up\n" in world.log(run))

    cancelled(world, run)


def test_while_it_ends(world: KubernetesWorld) -> None:
    """One of the two ends it has, for good."""
    world.recording_queue()
    world.agent()
    run = world.submit(seconds=0.1, lines=2)
    wait_until("it runs", world.records)
    world.service.cancel(run)
    ended = world.ended(run)

    assert ended.state in (RunState.CANCELLED, RunState.SUCCEEDED), world.report()
    invariants.starts_once(world)
    invariants.nothing_left(world)
    invariants.terminal_states_stay(world, [ended])

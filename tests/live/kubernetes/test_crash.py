"""``kill -9`` of the agent at every step, and of the cluster's own programs, while Jobs run."""

from __future__ import annotations

import signal

import pytest

from launchcore.agent.failpoints import NAMES
from launchcore.plugin import RunState
from scripts.cluster import Cluster
from tests.crash import invariants
from tests.crash.world import wait_until
from tests.live.kubernetes.world import KubernetesWorld

JOURNEY = (
    ("claim.before", "restarted"),
    ("claim.after", "another"),
    ("execute.prepare", "restarted"),
    ("execute.before_start", "another"),
    ("execute.before_start", "restarted"),
    ("execute.after_start", "restarted"),
    ("execute.after_start", "another"),
    ("execute.after_handle", "another"),
    ("log.before_append", "restarted"),
    ("log.after_append", "another"),
    ("renew.before", "another"),
    ("report.before", "another"),
    ("report.after", "restarted"),
    ("cleanup.after", "restarted"),
)
"""Points that every run of a ready image passes, and who comes after: tests/live/docker has all pairs."""

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.mark.parametrize(("point", "successor"), JOURNEY)
def test_the_agent_is_killed_on_the_journey(world: KubernetesWorld, point: str, successor: str) -> None:
    """Three runs on a queue that allows two at once; the agent dies at ``point`` and is succeeded."""
    world.recording_queue(max_running=2)
    for _ in range(3):
        world.submit(seconds=1.5 if point == "renew.before" else 0.4)
    first = world.agent("one", failpoints=f"{point}=kill", ready=False)

    assert first.died() == -signal.SIGKILL, first.text()
    world.agent("one" if successor == "restarted" else "two")
    runs = world.finished()

    invariants.check_all(world, runs, limit=2)


@pytest.mark.parametrize("point", ["cancel.before", "cancel.after"])
def test_the_agent_is_killed_while_it_cancels(world: KubernetesWorld, point: str) -> None:
    world.recording_queue()
    run = world.submit(seconds=60)
    first = world.agent("one", failpoints=f"{point}=kill")
    wait_until("the job runs", world.records)
    world.service.cancel(run)
    assert first.died() == -signal.SIGKILL, first.text()

    world.agent("one")
    ended = world.ended(run)

    assert ended.state is RunState.CANCELLED, world.report()
    invariants.starts_once(world)
    invariants.nothing_left(world)
    assert [what for what, _, _ in world.records()] == ["start"]


@pytest.mark.parametrize("point", ["recover.before", "recover.after"])
def test_the_agent_is_killed_while_it_recovers(world: KubernetesWorld, point: str) -> None:
    """The successor dies too, while it adopts; the third one finishes."""
    world.recording_queue()
    world.submit(seconds=1.0, lines=10)
    first = world.agent("one", failpoints="execute.after_start=kill", ready=False)
    assert first.died() == -signal.SIGKILL, first.text()
    second = world.agent("one", failpoints=f"{point}=kill", ready=False)
    assert second.died() == -signal.SIGKILL, second.text()

    world.agent("one")
    runs = world.finished()

    invariants.check_all(world, runs, limit=2, lines=10)


def test_the_agent_is_killed_while_it_drains(world: KubernetesWorld) -> None:
    """An attempt that was being given back is not lost."""
    world.recording_queue()
    world.submit()
    first = world.agent("one", failpoints="execute.prepare=sleep:1.5;release.before=kill")
    wait_until("it is claimed", lambda: world.runs()[0].state is not RunState.QUEUED)
    first.signal(signal.SIGTERM)
    assert first.died() == -signal.SIGKILL, first.text()

    world.agent("one")
    invariants.check_all(world, world.finished(), limit=2)


def test_every_failpoint_is_tried() -> None:
    """Those of sources, builds and pushes are passed before a runner is asked; see tests/crash."""
    elsewhere = {f"{stage}.{when}" for stage in ("source", "build", "push") for when in ("before", "after")}
    here = {point for point, _ in JOURNEY}
    others = {"cancel.before", "cancel.after", "recover.before", "recover.after", "release.before"}
    assert here | others | elsewhere == NAMES


def test_the_run_ends_while_no_agent_lives(world: KubernetesWorld) -> None:
    """Its exit code and its log are not lost."""
    world.recording_queue()
    world.submit(seconds=1.0)
    first = world.agent("one")
    wait_until("the job runs", world.records)
    first.kill()
    wait_until("the job has ended", lambda: len(world.records()) == 2)

    world.agent("two")
    runs = world.finished()

    invariants.check_all(world, runs, limit=2)
    assert [len(run.attempts) for run in runs] == [1]


@pytest.mark.timeout(240)
def test_the_api_server_is_killed(world: KubernetesWorld, own_cluster: Cluster) -> None:
    """Losing sight is not failure: runs go on, nothing of a log is missing, nothing starts twice."""
    world.recording_queue(max_running=2)
    for _ in range(2):
        world.submit(seconds=6.0, lines=60)
    world.agent("one")
    wait_until("both run", lambda: len(world.records()) == 2)

    own_cluster.kill_api()
    third = world.submit(seconds=0.4, lines=60)
    wait_until("both have ended", lambda: len(world.records()) == 4)
    assert not any(run.state.final for run in world.runs() if run.id != third), world.report()
    own_cluster.start_api()
    runs = world.finished(seconds=90)

    # The cluster's own collector removes the pods of a Job, and has lost sight of the API, too.
    invariants.check_all(world, runs, limit=2, lines=60, left_seconds=80)


def test_the_kubelet_is_killed(world: KubernetesWorld, own_cluster: Cluster) -> None:
    """Containers outlive it; the log goes on where it was."""
    world.recording_queue(max_running=2)
    world.submit(seconds=6.0, lines=60)
    world.agent("one")
    wait_until("it runs", world.records)

    own_cluster.kill_kubelet()
    wait_until("it has ended", lambda: len(world.records()) == 2)
    own_cluster.start_kubelet()
    runs = world.finished(seconds=90)

    invariants.check_all(world, runs, limit=2, lines=60)


@pytest.mark.timeout(240)
def test_the_agent_and_the_api_server_are_killed(world: KubernetesWorld, own_cluster: Cluster) -> None:
    """Another agent adopts as soon as it can see."""
    world.recording_queue(max_running=2)
    world.submit(seconds=3.0, lines=30)
    first = world.agent("one", failpoints="execute.after_start=kill", ready=False)
    assert first.died() == -signal.SIGKILL, first.text()
    own_cluster.kill_api()
    world.agent("two")
    own_cluster.start_api()
    runs = world.finished(seconds=90)

    invariants.check_all(world, runs, limit=2, lines=30, left_seconds=80)

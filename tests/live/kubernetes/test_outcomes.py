"""How runs end on a cluster: the state, the reason, whose fault it is, and nothing left."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from launchcore.plugin import Fault, Limits, Reason, RunState
from launchcore.queues.base import RunInfo
from scripts.cluster import Cluster
from tests.crash import invariants
from tests.crash.world import wait_until
from tests.live.kubernetes.cluster import LiveCluster
from tests.live.kubernetes.world import KubernetesWorld

pytestmark = [pytest.mark.live, pytest.mark.slow]

MAYBE = re.compile(rb"\n\[launch\] a part of the log is missing here: [^\n]*the node has rotated [^\n]*\n")
FLOOD = 50 * 1024 * 1024
QUEUES: dict[str, dict[str, Any]] = {
    "plain": {},
    "small": {"resources": {"limits": {"memory": "32Mi"}}},
    "nowhere": {"node_selector": {"launchcore.test/kind": "that-no-node-is"}, "unschedulable_seconds": 3},
    "gpus": {"gpus": 8, "unschedulable_seconds": 2},
}


@attrs.frozen(kw_only=True)
class Shared:
    """One agent with a queue for each of :data:`QUEUES`, and one run for each end: all at a time, since
    each of them waits for the cluster most of the time."""

    world: KubernetesWorld
    runs: dict[str, str]

    def ended(self, name: str, *, seconds: float = 100.0) -> RunInfo:
        """Wait for an end, and that nothing is left of it."""
        run = self.world.ended(self.runs[name], seconds=seconds)
        wait_until(
            "nothing of it is left", lambda: not any(run.id in each for each in self.world.leftovers())
        )
        return run

    def failed(self, name: str, reason: Reason, fault: Fault, *, seconds: float = 100.0) -> RunInfo:
        """A failure with this reason and fault, and advice."""
        run = self.ended(name, seconds=seconds)
        assert run.state is RunState.FAILED, f"{run}\n{self.world.report()}"
        assert run.failure is not None
        assert (run.failure.reason, run.failure.fault) == (reason, fault), (
            f"{run.failure}\n{self.world.report()}"
        )
        assert run.failure.hint, run.failure
        return run

    def log(self, name: str) -> bytes:
        return self.world.log(self.runs[name])


@pytest.fixture(scope="module")
def shared(cluster: LiveCluster, absent_image: str) -> Iterator[Shared]:
    world = KubernetesWorld(Path(tempfile.mkdtemp(prefix="lc-")), cluster)
    try:
        for name, config in QUEUES.items():
            world.queue(name, config=config, max_running=8)
        world.agent(queues=tuple(QUEUES))
        soon = Limits(run_seconds=3.0, grace_seconds=1.0)
        yield Shared(
            world=world,
            runs={
                "good": world.run("echo", "hello", "$(HOME)", queue="plain"),
                "bad": world.run("sh", "-c", "echo before; exit 7", queue="plain"),
                "crashed": world.run("sh", "-c", "sh -c 'kill -SEGV $$'; exit $?", queue="plain"),
                "missing": world.run("no-such-program", queue="plain"),
                "long": world.run("sleep", "300", limits=soon, queue="plain"),
                "absent": world.run("true", image=absent_image, queue="plain"),
                "greedy": world.run("sh", "-c", "echo eating; tail /dev/zero", queue="small"),
                "nowhere": world.run("true", queue="nowhere"),
                "gpus": world.run("true", queue="gpus"),
            },
        )
    finally:
        world.close()


def test_success(shared: Shared) -> None:
    run = shared.ended("good")
    assert run.state is RunState.SUCCEEDED, shared.world.report()
    assert run.exit_code == 0
    assert shared.log("good").endswith(b"hello $(HOME)\n")


def test_an_exit_code(shared: Shared) -> None:
    run = shared.failed("bad", Reason.USER_ERROR, Fault.USER)
    assert run.exit_code == 7
    assert run.failure is not None
    assert "7" in run.failure.detail
    assert b"before\n" in shared.log("bad")


def test_a_signal(shared: Shared) -> None:
    assert shared.failed("crashed", Reason.USER_ERROR, Fault.USER).signal == 11


def test_a_program_that_is_not_there(shared: Shared) -> None:
    run = shared.failed("missing", Reason.USER_ERROR, Fault.USER)
    assert run.failure is not None
    assert "no-such-program" in run.failure.detail


def test_more_memory_than_allowed(shared: Shared) -> None:
    shared.failed("greedy", Reason.OUT_OF_MEMORY, Fault.USER)
    assert b"eating\n" in shared.log("greedy")


@pytest.mark.timeout(500)
def test_an_image_that_does_not_exist(shared: Shared, absent_image: str) -> None:
    """It fails for the sure reason at once, and names the image. Where nodes reach no registry at all, it is
    given up after five minutes."""
    run = shared.ended("absent", seconds=100 if shared.world.cluster.own else 450)

    assert run.state is RunState.FAILED, shared.world.report()
    assert run.failure is not None
    assert run.failure.reason is Reason.IMAGE_PULL, run.failure
    assert absent_image in run.failure.detail
    assert run.failure.hint


@pytest.mark.parametrize(("name", "words"), [("nowhere", "nodes are available"), ("gpus", "nvidia.com/gpu")])
def test_no_node_takes_it(shared: Shared, name: str, words: str) -> None:
    """Waiting it says why, in the scheduler's words; the queue says how long it may wait."""
    run = shared.ended(name)

    assert run.state is RunState.FAILED
    assert run.failure is not None
    assert run.failure.reason is Reason.UNSCHEDULABLE, run.failure
    assert words in run.failure.detail


def test_longer_than_it_may(shared: Shared) -> None:
    run = shared.ended("long")

    assert run.state is RunState.FAILED
    assert run.failure is not None
    assert run.failure.reason is Reason.RUN_TIMEOUT, run.failure


def test_the_cluster_keeps_the_deadline_without_an_agent(world: KubernetesWorld) -> None:
    """The agent dies; the Job's own deadline ends it all the same."""
    world.queue(config={"start_allowance_seconds": 1})
    run = world.run("sleep", "300", limits=Limits(run_seconds=3.0, grace_seconds=1.0))
    agent = world.agent()
    world.running(run)
    agent.kill()

    def stopped() -> bool:
        return not any((pod.get("status") or {}).get("phase") == "Running" for pod in world.ours("pods"))

    wait_until("nothing of it runs", stopped, seconds=60)
    world.agent()
    ended = world.ended(run)
    assert ended.failure is not None
    assert ended.failure.reason is Reason.RUN_TIMEOUT, ended.failure
    invariants.nothing_left(world)


def test_a_quota_that_is_used_up(world: KubernetesWorld, cluster: LiveCluster) -> None:
    """Refused by admission: the run says so, instead of waiting for nothing."""
    namespace = cluster.make_namespace()
    world.namespaces.append(namespace)
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"count/jobs.batch": "0"}}}
    path = cluster.path("resourcequotas", namespace)
    cluster.create(path, quota)
    wait_until(
        "the quota counts",
        lambda: cluster.items("resourcequotas", namespace)[0].get("status", {}).get("hard"),
    )
    world.queue(config={"namespace": namespace})
    world.agent()

    run = world.ended(world.run("true"))

    assert run.state is RunState.FAILED
    assert run.failure is not None
    assert "quota" in run.failure.detail, run.failure
    assert run.failure.fault is not Fault.USER
    cluster.remove_namespace(namespace)


def test_a_namespace_of_restricted_pods(world: KubernetesWorld, cluster: LiveCluster) -> None:
    """What is made by default passes the strictest admission that Kubernetes has."""
    namespace = cluster.make_namespace(labels={"pod-security.kubernetes.io/enforce": "restricted"})
    world.namespaces.append(namespace)
    world.queue(config={"namespace": namespace})
    world.agent()

    run = world.ended(world.run("id", "-u"))

    assert run.state is RunState.SUCCEEDED, world.report()
    assert world.log(run.id).endswith(b"1000\n")
    invariants.nothing_left(world)
    cluster.remove_namespace(namespace)


def test_a_log_of_50_mb(world: KubernetesWorld, own_cluster: Cluster) -> None:
    """Complete, in order, through the node's own rotation at 10 MiB.

    It begins when the agent reads: what a node rotates away before anybody has read it is gone, and the log
    says so.
    """
    line = b"0123456789" * 10 + b"\n"
    pieces, size = 10, FLOOD // len(line) // 10
    flood = f"yes {line.decode().strip()} | head -n {size}; sleep 0.2"
    wait = "echo ready; until [ -e /history/go ]; do sleep 0.1; done"
    script = f"{wait}; for n in $(seq {pieces}); do {flood}; done"
    world.recording_queue()
    world.agent()

    run = world.run("sh", "-c", script)
    wait_until("it is read", lambda: b"ready\n" in world.log(run))
    (world.root / "shared" / "go").touch()
    ended = world.ended(run, seconds=100)

    assert ended.state is RunState.SUCCEEDED, world.report()
    stored = world.log(run)
    # A node may end a stream as it rotates the log; whether something is missing then, nobody can know, and it
    # is said. Here it is known.
    written = MAYBE.sub(b"", stored[stored.find(line) :])
    marks = [each for each in set(written.splitlines()) if each != line.rstrip()]
    assert not marks, marks[:5]
    assert len(written) == pieces * size * len(line)
    assert hashlib.sha256(written).digest() == hashlib.sha256(line * size * pieces).digest()
    invariants.nothing_left(world)

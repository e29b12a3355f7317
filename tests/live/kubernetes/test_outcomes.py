"""How runs end on a cluster: the state, the reason, whose fault it is, and nothing left."""

from __future__ import annotations

import hashlib

import pytest

from launchcore.plugin import Fault, Limits, Reason, RunState
from launchcore.queues.base import RunInfo
from scripts.cluster import Cluster
from tests.crash import invariants
from tests.crash.world import wait_until
from tests.live.kubernetes.cluster import LiveCluster
from tests.live.kubernetes.world import KubernetesWorld

pytestmark = [pytest.mark.live, pytest.mark.slow]

FLOOD = 50 * 1024 * 1024
NEVER = {"config": {"node_selector": {"launchcore.test/kind": "that-no-node-is"}}}


def failed(run: RunInfo, reason: Reason, fault: Fault, world: KubernetesWorld) -> str:
    """The detail of a failure with this reason and fault, and advice."""
    assert run.state is RunState.FAILED, f"{run}\n{world.report()}"
    assert run.failure is not None
    assert (run.failure.reason, run.failure.fault) == (reason, fault), f"{run.failure}\n{world.report()}"
    assert run.failure.hint, run.failure
    return run.failure.detail


def test_success_failure_and_a_missing_program(world: KubernetesWorld) -> None:
    world.queue(max_running=4)
    world.agent()
    good = world.run("echo", "hello", "$(HOME)")
    bad = world.run("sh", "-c", "echo before; exit 7")
    crashed = world.run("sh", "-c", "sh -c 'kill -SEGV $$'; exit $?")
    missing = world.run("no-such-program")

    run = world.ended(good)
    assert run.state is RunState.SUCCEEDED, world.report()
    assert run.exit_code == 0
    assert world.log(good).endswith(b"hello $(HOME)\n")

    run = world.ended(bad)
    detail = failed(run, Reason.USER_ERROR, Fault.USER, world)
    assert run.exit_code == 7
    assert "7" in detail
    assert b"before\n" in world.log(bad)

    failed(world.ended(crashed), Reason.USER_ERROR, Fault.USER, world)
    assert world.service.run(crashed).signal == 11
    detail = failed(world.ended(missing), Reason.USER_ERROR, Fault.USER, world)
    assert "no-such-program" in detail
    invariants.nothing_left(world)


def test_more_memory_than_allowed(world: KubernetesWorld) -> None:
    world.queue(config={"resources": {"limits": {"memory": "32Mi"}}})
    world.agent()

    run = world.ended(world.run("sh", "-c", "echo eating; tail /dev/zero"))

    failed(run, Reason.OUT_OF_MEMORY, Fault.USER, world)
    assert b"eating\n" in world.log(run.id)
    invariants.nothing_left(world)


@pytest.mark.timeout(500)
def test_an_image_that_does_not_exist(
    world: KubernetesWorld, cluster: LiveCluster, absent_image: str
) -> None:
    """It fails for the sure reason at once, and names the image. Where nodes reach no registry at all, it is
    given up after five minutes."""
    world.queue()
    world.agent()

    run = world.ended(world.run("true", image=absent_image), seconds=100 if cluster.own else 450)

    assert run.state is RunState.FAILED, world.report()
    assert run.failure is not None
    assert run.failure.reason is Reason.IMAGE_PULL, run.failure
    assert absent_image in run.failure.detail
    assert run.failure.hint
    invariants.nothing_left(world)


def test_no_node_takes_it(world: KubernetesWorld) -> None:
    """Waiting it says why, in the scheduler's words; the queue says how long it may wait."""
    config = {**NEVER["config"], "unschedulable_seconds": 3}
    world.queue(config=config)
    world.agent()

    run = world.ended(world.run("true"))

    assert run.state is RunState.FAILED
    assert run.failure is not None
    assert run.failure.reason is Reason.UNSCHEDULABLE, run.failure
    assert "nodes are available" in run.failure.detail
    invariants.nothing_left(world)


def test_more_gpus_than_there_are(world: KubernetesWorld) -> None:
    world.queue(config={"gpus": 8, "unschedulable_seconds": 2})
    world.agent()

    run = world.ended(world.run("true"))

    assert run.failure is not None
    assert run.failure.reason is Reason.UNSCHEDULABLE
    assert "nvidia.com/gpu" in run.failure.detail
    invariants.nothing_left(world)


def test_longer_than_it_may(world: KubernetesWorld) -> None:
    world.queue()
    world.agent()

    run = world.ended(world.run("sleep", "300", limits=Limits(run_seconds=3.0, grace_seconds=1.0)))

    assert run.state is RunState.FAILED
    assert run.failure is not None
    assert run.failure.reason is Reason.RUN_TIMEOUT, run.failure
    invariants.nothing_left(world)


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
    written = stored[stored.find(line) :]
    assert len(written) == pieces * size * len(line), stored[-500:]
    assert hashlib.sha256(written).digest() == hashlib.sha256(line * size * pieces).digest()
    invariants.nothing_left(world)

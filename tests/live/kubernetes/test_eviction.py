"""A pod that the cluster takes away: by the eviction API, when a node is drained, or by somebody's hand."""

from __future__ import annotations

import pytest
from launch_k8s.api import MERGE

from launchcore.plugin import Fault, Reason, RetryPolicy, RunState
from scripts.cluster import Cluster
from tests.crash import invariants
from tests.crash.world import wait_until
from tests.live.kubernetes.world import KubernetesWorld

pytestmark = [pytest.mark.live, pytest.mark.slow]

ONCE = "[ $LAUNCH_ATTEMPT -gt 1 ] && exit 0; echo up; sleep 300"
"""The second attempt ends at once."""


def evict(world: KubernetesWorld, run: str) -> None:
    """As ``kubectl drain`` does it (API-initiated eviction)."""
    meta = world.pod(run)["metadata"]
    path = f"{world.cluster.path('pods', meta['namespace'])}/{meta['name']}/eviction"
    options = {"gracePeriodSeconds": 1}
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": meta["name"]},
        "deleteOptions": options,
    }
    world.cluster.create(path, body)


def schedulable(world: KubernetesWorld, value: bool) -> None:
    """Whether nodes take new pods: ``kubectl uncordon`` and ``cordon``."""
    api = world.cluster.api
    for node in api.items("/api/v1/nodes"):
        body = {"spec": {"unschedulable": None if value else True}}
        api.request("PATCH", f"/api/v1/nodes/{node['metadata']['name']}", body=body, content=MERGE)


def test_evicted_and_not_to_be_resumed(world: KubernetesWorld) -> None:
    """It says that the cluster took it away, which is not the submitter's fault."""
    world.queue(retry=RetryPolicy(max_preempted=0))
    world.agent()
    run = world.run("sh", "-c", "echo up; sleep 300")
    wait_until("it runs", lambda: b"up\n" in world.log(run))

    evict(world, run)
    ended = world.ended(run)

    assert ended.state is RunState.FAILED
    assert ended.failure is not None
    assert ended.failure.reason is Reason.EVICTED, f"{ended.failure}\n{world.report()}"
    assert ended.failure.fault is Fault.INFRASTRUCTURE
    invariants.nothing_left(world)


def test_evicted_and_resumed(world: KubernetesWorld) -> None:
    """By default the run is queued again, and its next attempt does the work."""
    world.queue()
    world.agent()
    run = world.run("sh", "-c", ONCE)
    wait_until("it runs", lambda: b"up\n" in world.log(run))

    evict(world, run)
    ended = world.ended(run)

    assert ended.state is RunState.SUCCEEDED, world.report()
    assert len(ended.attempts) == 2
    invariants.nothing_left(world)


def test_a_drained_node(world: KubernetesWorld, own_cluster: Cluster) -> None:
    """Cordoned and evicted: the next attempt waits for a node, says so, and runs when there is one."""
    world.queue()
    world.agent()
    run = world.run("sh", "-c", ONCE)
    wait_until("it runs", lambda: b"up\n" in world.log(run))
    schedulable(world, False)
    try:
        evict(world, run)
        wait_until("it is tried again", lambda: len(world.service.run(run).attempts) == 2)
        wait_until("its second pod waits", lambda: _pending(world, f"{run}-2"))
        assert not world.service.run(run).state.final
    finally:
        schedulable(world, True)
    ended = world.ended(run)

    assert ended.state is RunState.SUCCEEDED, world.report()
    invariants.nothing_left(world)


def test_somebody_deletes_the_job(world: KubernetesWorld) -> None:
    """The run ends, and not as if it had succeeded."""
    world.queue(retry=RetryPolicy(max_lost=1, max_preempted=0))
    world.agent()
    run = world.run("sh", "-c", "echo up; sleep 300")
    wait_until("it runs", lambda: b"up\n" in world.log(run))

    for job in world.ours("jobs"):
        path = f"{world.cluster.path('jobs')}/{job['metadata']['name']}"
        world.cluster.api.delete(path)
    ended = world.ended(run)

    assert ended.state is RunState.FAILED, world.report()
    assert ended.failure is not None
    assert ended.failure.fault is Fault.INFRASTRUCTURE, ended.failure
    invariants.nothing_left(world)


def _pending(world: KubernetesWorld, attempt: str) -> bool:
    return any(
        pod["metadata"]["labels"].get("launchcore.io/attempt") == attempt
        and (pod.get("status") or {}).get("phase") == "Pending"
        for pod in world.ours("pods")
    )

"""A node that is gone, with all that ran on it: nobody can say any more how it ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from launchcore.plugin import Fault, Reason, RetryPolicy, RunState
from scripts.cluster import Cluster
from scripts.cluster.configs import NODE
from tests.crash import invariants
from tests.crash.world import wait_until
from tests.live.kubernetes.test_eviction import ONCE
from tests.live.kubernetes.world import KubernetesWorld

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(300)]

CONTROLLERS = "kube-controller-manager"
SOON = ("--node-monitor-grace-period=8s", "--node-monitor-period=1s")
"""A cluster gives a silent node 50 seconds: here it is less."""
OUT_OF_SERVICE = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
"""What an administrator, or the cloud's controller, says of a node that does not come back by itself. Until
then this cluster waits for it, since it has no other: what is on it may run on."""


@pytest.fixture
def impatient(own_cluster: Cluster) -> Iterator[Cluster]:
    """A cluster that gives a node up in seconds; afterwards as it was, with its node."""
    own_cluster.kill(CONTROLLERS)
    own_cluster.start_program(CONTROLLERS, *SOON)
    try:
        yield own_cluster
    finally:
        own_cluster.start_kubelet()
        wait_until("the node is back", lambda: ready(own_cluster) == "True")
        out_of_service(own_cluster, False)
        own_cluster.kill(CONTROLLERS)
        own_cluster.start_program(CONTROLLERS)


def ready(cluster: Cluster) -> str:
    conditions = cluster.get("node", NODE)["status"]["conditions"]
    return str(next(each["status"] for each in conditions if each["type"] == "Ready"))


def out_of_service(cluster: Cluster, value: bool) -> None:
    there: list[dict[str, Any]] = cluster.get("node", NODE)["spec"].get("taints") or []
    taints = [each for each in there if each["key"] != OUT_OF_SERVICE["key"]]
    patch = json.dumps({"spec": {"taints": [*taints, *([OUT_OF_SERVICE] if value else [])]}})
    cluster.kubectl("patch", "node", NODE, "--type=merge", "-p", patch)


def test_the_node_is_lost(world: KubernetesWorld, impatient: Cluster) -> None:
    """Two runs are on it. While the cluster waits for it, they have not ended; when it gives it up both are
    lost. One is tried again, as its queue says, and runs when there is a node; the other one may not be."""
    world.queue(retry=RetryPolicy(reasons=(Reason.LOST,), max_retries=1, delay_seconds=0.1))
    world.queue("once")
    world.agent(queues=("q", "once"))
    again = world.run("sh", "-c", ONCE)
    only = world.run("sh", "-c", "echo up; sleep 300", queue="once")
    wait_until("both run", lambda: all(b"up\n" in world.log(run) for run in (again, only)))

    impatient.lose_node()
    wait_until("the cluster misses it", lambda: ready(impatient) == "Unknown")
    assert [world.service.run(run).state for run in (again, only)] == [RunState.RUNNING] * 2, world.report()
    out_of_service(impatient, True)

    ended = world.ended(only, seconds=90)
    assert ended.state is RunState.FAILED
    assert ended.failure is not None
    assert (ended.failure.reason, ended.failure.fault) == (Reason.LOST, Fault.INFRASTRUCTURE), ended.failure
    assert "node was lost" in ended.failure.detail
    wait_until("the other is tried again", lambda: len(world.service.run(again).attempts) == 2, seconds=90)
    assert not world.service.run(again).state.final

    impatient.start_kubelet()
    wait_until("the node is back", lambda: ready(impatient) == "True")
    out_of_service(impatient, False)
    assert world.ended(again, seconds=90).state is RunState.SUCCEEDED, world.report()
    invariants.nothing_left(world)

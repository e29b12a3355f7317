"""A custom resource with a controller of the test's own, on a real cluster: started, followed, removed."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from launch_k8s.api import MERGE, Api
from launch_k8s.clusters import Clusters
from launch_k8s.errors import ApiAway, ApiError
from launch_k8s.runner import KubernetesRunner
from launch_k8s.settings import ClusterSettings, RunConfig
from launch_k8s.testing.scripted import wait_until

from launchcore.plugin import (
    ATTEMPT_LABEL,
    OWNER_LABEL,
    QUEUE_LABEL,
    RUN_LABEL,
    EnvVar,
    Given,
    ImageRef,
    Phase,
    RunHandle,
    RunPlan,
    RunStatus,
    Secret,
)
from launchcore.testing.sites import make_site
from tests.live.kubernetes.cluster import LiveCluster

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
PATIENCE = 90.0


class Controller:
    """Makes ``spec.workers`` pods of each Training, and says how they end: a controller of fifty lines."""

    def __init__(self, api: Api, namespace: str, group: str) -> None:
        self._api = api
        self._things = f"/apis/{group}/v1/namespaces/{namespace}/trainings"
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stopped.wait(0.2):
            with contextlib.suppress(ApiError, ApiAway):
                for thing in self._api.items(self._things):
                    self._look(thing)

    def _look(self, thing: dict[str, Any]) -> None:
        meta, phase = thing["metadata"], (thing.get("status") or {}).get("phase")
        if meta.get("deletionTimestamp") or phase in ("Succeeded", "Failed"):
            return
        pods = self._api.items(self._pods, labelSelector=f"training={meta['name']}")
        if not phase:
            for number in range(thing["spec"].get("workers", 1)):
                self._make(thing, number)
            self._say(meta["name"], "Running")
            return
        ends = [(pod.get("status") or {}).get("phase") for pod in pods]
        if "Failed" in ends:
            self._say(meta["name"], "Failed", "a worker has failed")
        elif ends and set(ends) == {"Succeeded"}:
            self._say(meta["name"], "Succeeded")

    def _make(self, thing: dict[str, Any], number: int) -> None:
        meta, template = thing["metadata"], thing["spec"]["template"]
        owner = {
            "apiVersion": thing.get("apiVersion")
            or self._things.split("/namespaces/")[0].removeprefix("/apis/"),
            "kind": "Training",
            "name": meta["name"],
            "uid": meta["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        labels = {**(template.get("metadata") or {}).get("labels", {}), "training": meta["name"]}
        pod = {
            "metadata": {
                "name": f"{meta['name']}-worker-{number}",
                "labels": labels,
                "ownerReferences": [owner],
            },
            "spec": template["spec"],
        }
        with contextlib.suppress(ApiError):
            self._api.request("POST", self._pods, body=pod)

    def _say(self, name: str, phase: str, message: str = "") -> None:
        body = {"status": {"phase": phase, "message": message}}
        self._api.request("PATCH", f"{self._things}/{name}", body=body, content=MERGE)


class Bench:
    """A runner whose queue's manifest is a Training."""

    def __init__(self, root: Path, cluster: LiveCluster, group: str) -> None:
        self.cluster, self.group = cluster, group
        self.site = make_site(root)
        self.settings = ClusterSettings(kubeconfig=str(cluster.kubeconfig), namespace=cluster.namespace)
        self.runner = self.again()
        self.told: list[RunStatus] = []
        self._run, self._number = uuid.uuid4().hex[:8], 0

    def again(self) -> KubernetesRunner:
        return KubernetesRunner(Clusters(self.settings, {}), self.site)

    def start(self, script: str, *, workers: int = 1, given: Given | None = None) -> RunHandle:
        self._number += 1
        attempt = f"{self._run}-{self._number}"
        spec = {"workers": workers, "template": {"spec": {"containers": [{"name": "worker"}]}}}
        manifest = {"apiVersion": f"{self.group}/v1", "kind": "Training", "spec": spec}
        plan = RunPlan(
            run_id=self._run,
            attempt_id=attempt,
            attempt=self._number,
            queue="q",
            name=f"launch-{attempt}",
            settings=RunConfig(manifest=manifest),
            command=("sh", "-c", script),
            image=ImageRef(name=self.cluster.image),
            labels={
                OWNER_LABEL: self.site.owner,
                RUN_LABEL: self._run,
                ATTEMPT_LABEL: attempt,
                QUEUE_LABEL: "q",
            },
            scratch=self.site.state,
            start_before=time.time() + 60,
        )
        return self.runner.start(plan, given or Given())

    def wait(
        self, runner: KubernetesRunner, handle: RunHandle, good: Callable[[RunStatus], bool]
    ) -> RunStatus:
        def look() -> RunStatus | None:
            status = runner.poll([handle])[handle.key]
            return status if good(status) else None

        found: RunStatus = wait_until("it", look, seconds=PATIENCE)
        return found

    def log(self, handle: RunHandle) -> bytes:
        found, cursor = bytearray(), None

        def read() -> bool:
            nonlocal cursor
            batch = self.runner.logs(handle, cursor, 65536)
            cursor = batch.cursor
            found.extend(batch.data)
            return batch.end

        wait_until("the log's end", read, seconds=PATIENCE)
        return bytes(found)

    def left(self) -> list[str]:
        wanted = f"launchcore.io/run={self._run}"
        paths = [self.cluster.path("pods"), self.cluster.path("secrets"), f"/apis/{self.group}/v1/trainings"]
        return [
            thing["metadata"]["name"]
            for path in paths
            for thing in self.cluster.api.items(path, labelSelector=wanted)
        ]


@pytest.fixture(scope="module")
def group(cluster: LiveCluster) -> Iterator[str]:
    """The group of a kind that nobody has heard of, with its controller at work."""
    group = f"test-{uuid.uuid4().hex[:8]}.example.com"
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"trainings.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "trainings", "singular": "training", "kind": "Training"},
            "versions": [version],
        },
    }
    cluster.create(CRDS, definition)

    def served() -> bool:
        try:
            cluster.api.get(f"/apis/{group}/v1/trainings")
        except ApiError:
            return False
        return True

    wait_until("the kind to be served", served, seconds=PATIENCE)
    controller = Controller(cluster.api, cluster.namespace, group)
    yield group
    controller.close()
    cluster.api.delete(f"{CRDS}/trainings.{group}")


@pytest.fixture
def bench(tmp_path: Path, cluster: LiveCluster, group: str) -> Iterator[Bench]:
    made = Bench(tmp_path, cluster, group)
    yield made
    for handle in made.again().owned():
        made.runner.cleanup(handle)


def test_it_succeeds_and_nothing_is_left(bench: Bench) -> None:
    given = Given(env=(EnvVar(name="TOKEN", value=Secret("hunter2")),))
    told: list[Phase] = []
    with bench.runner.watch(lambda _, status: told.append(status.phase)):
        handle = bench.start('echo "token $TOKEN"', given=given)
        wait_until("the end to be told", lambda: Phase.SUCCEEDED in told, seconds=PATIENCE)
        assert bench.log(handle) == b"token hunter2\n"
        assert Phase.FAILED not in told
        bench.runner.cleanup(handle)
    wait_until("nothing to be left", lambda: not bench.left(), seconds=PATIENCE)


def test_a_failure_has_its_exit_code(bench: Bench) -> None:
    handle = bench.start("echo bad; exit 3")
    status = bench.wait(bench.runner, handle, lambda status: status.phase.final)
    assert (status.phase, status.exit_code) == (Phase.FAILED, 3)
    assert bench.log(handle) == b"bad\n"


def test_several_pods_have_one_end_and_one_log(bench: Bench) -> None:
    handle = bench.start("echo hello", workers=2)
    status = bench.wait(bench.runner, handle, lambda status: status.phase.final)
    assert status.phase is Phase.SUCCEEDED
    assert sorted(bench.log(handle).splitlines()) == [b"[worker-0] hello", b"[worker-1] hello"]


def test_another_agent_finds_and_stops_it(bench: Bench) -> None:
    handle = bench.start("exec sleep 300")
    other = bench.again()
    bench.wait(other, handle, lambda status: status.phase is Phase.RUNNING)
    assert other.find(handle.attempt_id) == handle
    other.cancel(handle, 1.0)
    status = bench.wait(other, handle, lambda status: status.phase.final)
    assert status.phase is not Phase.SUCCEEDED
    wait_until("nothing to be left", lambda: not bench.left(), seconds=PATIENCE)

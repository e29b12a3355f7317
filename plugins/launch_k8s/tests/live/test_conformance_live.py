"""The Kubernetes runner passes the kit's suite, on a real cluster."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
from launch_k8s import names

from launchcore.plugin import ATTEMPT_LABEL, OWNER_LABEL, QUEUE_LABEL, RUN_LABEL, RunHandle
from launchcore.testing.conformance import RunnerConformance
from launchcore.testing.conformance.bench import RunnerBench
from launchcore.testing.conformance.program import Program
from tests.live.kubernetes.cluster import LiveCluster

pytestmark = [pytest.mark.live]


class TestKubernetesRunner(RunnerConformance):
    plugin = "launch_k8s.plugin"
    name = "kubernetes"
    config: ClassVar = {"allow": ["host-path"]}
    patience = 90.0
    cluster: LiveCluster

    @pytest.fixture(autouse=True)
    def _use(self, cluster: LiveCluster) -> None:
        self.cluster = cluster
        self.image = cluster.image  # type: ignore[misc]
        self.settings = {  # type: ignore[misc]
            "kubeconfig": str(cluster.kubeconfig),
            "namespace": cluster.namespace,
        }

    def command(self, program: Program) -> Sequence[str]:
        words = program.shell()
        # The first process of a container cannot kill itself (pid_namespaces(7)): its child can.
        return ("sh", "-c", 'sh -c "$1"; exit $?', "init", words[-1]) if program.kills_itself else words

    def _job(self, handle: RunHandle) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.api.get(f"{self.cluster.path('jobs')}/{handle.data['name']}")
        return found

    def labels_of(self, bench: RunnerBench, handle: RunHandle) -> Mapping[str, str]:
        labels = dict(self._job(handle)["metadata"]["labels"])
        ours = {
            OWNER_LABEL: names.OWNER,
            RUN_LABEL: names.RUN,
            ATTEMPT_LABEL: names.ATTEMPT,
            QUEUE_LABEL: names.QUEUE,
        }
        return {**labels, **{core: labels[own] for core, own in ours.items()}}

    def logins_of(self, bench: RunnerBench, handle: RunHandle) -> Sequence[str]:
        hosts: list[str] = []
        for each in self._job(handle)["spec"]["template"]["spec"]["imagePullSecrets"]:
            secret = self.cluster.api.get(f"{self.cluster.path('secrets')}/{each['name']}")
            hosts += json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))["auths"]
        return hosts

    def volumes_of(self, bench: RunnerBench, handle: RunHandle) -> Mapping[str, str]:
        spec = self._job(handle)["spec"]["template"]["spec"]
        paths = {each["name"]: each["hostPath"]["path"] for each in spec["volumes"] if "hostPath" in each}
        mounts = spec["containers"][0]["volumeMounts"]
        return {each["mountPath"]: paths[each["name"]] for each in mounts if each["name"] in paths}

"""The Kubernetes runner passes the kit's suite, on the scripted API server; on a real one: tests/live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from launch_k8s import names
from launch_k8s.testing.api_server import ApiServer

from launchcore.plugin import ATTEMPT_LABEL, OWNER_LABEL, QUEUE_LABEL, RUN_LABEL, RunHandle
from launchcore.testing.conformance import RunnerConformance
from launchcore.testing.conformance.bench import RunnerBench


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer(token="t0ken") as made:
        yield made


class TestKubernetesRunner(RunnerConformance):
    plugin = "launch_k8s.plugin"
    name = "kubernetes"
    config: ClassVar = {"allow": ["host-path"]}
    server: ApiServer

    @pytest.fixture(autouse=True)
    def _use(self, server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = server
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "kubeconfig")))

    def _job(self, handle: RunHandle) -> dict[str, Any]:
        return self.server.store.get("jobs", handle.data["namespace"], handle.data["name"])

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
        import base64
        import json

        spec = self._job(handle)["spec"]["template"]["spec"]
        hosts: list[str] = []
        for each in spec["imagePullSecrets"]:
            secret = self.server.store.get("secrets", handle.data["namespace"], each["name"])
            text = (secret.get("stringData") or {}).get(".dockerconfigjson") or base64.b64decode(
                secret["data"][".dockerconfigjson"]
            )
            hosts += json.loads(text)["auths"]
        return hosts

    def volumes_of(self, bench: RunnerBench, handle: RunHandle) -> Mapping[str, str]:
        spec = self._job(handle)["spec"]["template"]["spec"]
        paths = {each["name"]: each["hostPath"]["path"] for each in spec["volumes"] if "hostPath" in each}
        mounts = spec["containers"][0]["volumeMounts"]
        return {each["mountPath"]: paths[each["name"]] for each in mounts if each["name"] in paths}

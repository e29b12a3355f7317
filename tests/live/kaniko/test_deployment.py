"""The agent as the chart deploys it, with the Kaniko builder: in a pod, under the chart's role."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from launch_docker.testing.registry import PASSWORD, USER

from launchcore.builtin.archive.pack import pack
from launchcore.plugin import QueueConfig, RunSpec, RunState, SourceRef
from launchcore.queues.base import Service
from scripts.cluster import Cluster
from tests.crash.world import wait_until
from tests.live.kaniko.place import CREDENTIALS, Place, unique
from tests.live.kubernetes import chart
from tests.live.kubernetes.test_deployment import built_image, loaded_image, service

pytestmark = [pytest.mark.live, pytest.mark.slow]

__all__ = ["built_image", "loaded_image", "service"]

FOLDER = "/etc/registry"


@pytest.mark.timeout(600)
def test_the_agent_in_a_pod_builds_and_runs(
    place: Place,
    own_cluster: Cluster,
    service: tuple[Service, str, str],
    loaded_image: str,
    tmp_path: Path,
) -> None:
    """Nothing is refused to it, and nothing but the image is left."""
    client, url, token = service
    cluster = place.cluster
    runs = cluster.make_namespace("lc-runs", labels={"pod-security.kubernetes.io/enforce": "restricted"})
    builds = cluster.make_namespace("lc-builds", labels={"pod-security.kubernetes.io/enforce": "baseline"})
    began = time.time()
    own_cluster.apply(
        _secret("launchcore-agent", runs, {"token": token}),
        _secret("registry", runs, {"password": PASSWORD, "ca.pem": place.registry.ca.read_text()}),
        *chart.manifests(chart.rendered("agent", runs, _values(place, url, loaded_image, (runs, builds)))),
    )
    client.create_queue("q", QueueConfig(type="kubernetes", config={"namespace": runs}))
    text = unique()
    run = client.submit(
        "q", RunSpec(source=_uploaded(client, place, text, tmp_path), command=("cat", "/x"))
    ).id
    try:
        wait_until("it is over", lambda: client.run(run).state.final, seconds=120)
        ended = client.run(run)
        assert ended.state is RunState.SUCCEEDED, ended.failure
    except AssertionError as error:
        told = own_cluster.kubectl("-n", runs, "logs", "agent-0", "--tail=30", check=False)
        seen = own_cluster.kubectl("-n", runs, "describe", "pods", check=False)[-2000:]
        raise AssertionError(f"{error}\n{client.logs(run, offset=0).data!r}\n{told}\n{seen}") from None
    assert client.logs(run, offset=0).data.endswith(f"{text}\n".encode())
    wait_until("nothing is left", lambda: not place.left(builds) and not place.left(runs))
    assert _refused(own_cluster, began, {runs, builds}) == []
    for namespace in (runs, builds):
        cluster.remove_namespace(namespace)


def _values(place: Place, url: str, image: str, namespaces: tuple[str, str]) -> dict[str, Any]:
    name, _, tag = image.rpartition(":")
    settings = place.settings(
        namespace=namespaces[1],
        in_cluster=True,
        registry_certificates={place.registry.host: f"{FOLDER}/ca.pem"},
    )
    del settings["kubeconfig"]
    registry = {
        "type": "oci",
        "repository": f"{place.repository}/in-cluster",
        "username": USER,
        "password_file": f"{FOLDER}/password",
        "ca_file": f"{FOLDER}/ca.pem",
    }
    return {
        "image": {"repository": name, "tag": tag, "pullPolicy": "Never"},
        "baseUrl": url,
        "queues": ["q"],
        "namespaces": list(namespaces),
        "config": {
            "allow_plain_http": True,
            "lease_seconds": 6,
            "registry": registry,
            "builder": {"type": "kaniko", **settings},
        },
        # The image of the tests has no certificates, and the store's client does not begin without any.
        "env": [
            {"name": key, "value": value}
            for key, value in {**CREDENTIALS, "SSL_CERT_FILE": f"{FOLDER}/ca.pem"}.items()
        ],
        "extraVolumes": [{"name": "registry", "secret": {"secretName": "registry"}}],
        "extraVolumeMounts": [{"name": "registry", "mountPath": FOLDER, "readOnly": True}],
        "terminationGracePeriodSeconds": 5,
    }


def _secret(name: str, namespace: str, texts: dict[str, str]) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": texts}


def _uploaded(client: Service, place: Place, text: str, tmp_path: Path) -> SourceRef:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "Dockerfile").write_text(place.dockerfile(f"RUN echo {text} > /x"))
    packed = tmp_path / "tree.tar.gz"
    with packed.open("wb") as out:
        pack(tree, out)
    return SourceRef(type="archive", fields={"digest": client.put_archive([packed.read_bytes()])})


def _refused(own: Cluster, began: float, namespaces: set[str]) -> list[tuple[str, str]]:
    """What the API server has refused to the agent, by its audit log."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(began))
    found = []
    for line in own.audit_log.read_text().splitlines():
        entry = json.loads(line)
        asked = entry.get("objectRef") or {}
        mine = entry["user"]["username"].endswith(":agent") and asked.get("namespace") in namespaces
        refused = entry.get("responseStatus", {}).get("code") == 403
        if mine and refused and entry["requestReceivedTimestamp"] >= stamp:
            found.append((entry["verb"], str(asked.get("resource"))))
    return found

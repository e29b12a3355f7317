"""All that a build in a cluster needs: the cluster, a registry with a login and a CA of its own, S3."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tarfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from launch_docker.testing.registry import PASSWORD, USER, RegistryMachine, missing_registry
from launch_kaniko.manifest import MANAGER
from launch_kaniko.testing.image import ENVIRON, EXECUTOR, fill
from launch_kaniko.testing.registries import CONFIG, LAYER, MANIFEST, Registries, auth, digest_of

from launchcore.builtin.oci.registry import OciRegistry
from launchcore.builtin.oci.settings import OciSettings
from scripts.cluster import built, images
from tests.live.kubernetes.cluster import LiveCluster, unavailable

BUILDS = f"app.kubernetes.io/managed-by={MANAGER}"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-secret", "AWS_REGION": "us-east-1"}
BUCKET = "contexts"


@attrs.frozen(kw_only=True)
class Place:
    """Where live builds happen. ``base``: an image with a shell, in the registry."""

    cluster: LiveCluster
    registry: RegistryMachine
    endpoint: str
    base: str

    @property
    def repository(self) -> str:
        return f"{self.registry.host}/models"

    def settings(self, **more: Any) -> dict[str, Any]:
        """The ``builder:`` block, without its type."""
        env = [{"name": name, "value": value} for name, value in CREDENTIALS.items()]
        container = {"name": "kaniko", "env": env}
        return {
            "kubeconfig": str(self.cluster.kubeconfig),
            "namespace": self.cluster.namespace,
            "build_context_store": f"s3://{BUCKET}/live",
            "store": {"endpoint": self.endpoint, "allow-http": True, "retries": 1, "retry-seconds": 2},
            "image": EXECUTOR,
            "pull": "never",
            "registry_certificates": {self.registry.host: str(self.registry.ca)},
            "kaniko_config": {"spec": {"template": {"spec": {"containers": [container]}}}},
            **more,
        }

    def oci(self, tmp: Path, password: str = PASSWORD) -> OciRegistry:
        """The registry as the core asks it."""
        return OciRegistry(OciSettings(**self.oci_settings(tmp, password)))

    def oci_settings(self, tmp: Path, password: str = PASSWORD) -> dict[str, Any]:
        path = tmp / "registry-password"
        path.write_text(password)
        return {
            "repository": self.repository,
            "username": USER,
            "password_file": str(path),
            "ca_file": str(self.registry.ca),
            "retries": 0,
        }

    def dockerfile(self, *lines: str) -> str:
        return "\n".join((f"FROM {self.base}", *lines, ""))

    def left(self, namespace: str | None = None) -> list[str]:
        """What builds have left in the cluster."""
        return [
            f"{collection}/{each['metadata']['name']}"
            for collection in ("jobs", "pods", "secrets")
            for each in self.cluster.items(collection, namespace, labelSelector=BUILDS)
        ]

    def image(self, name: str) -> Mapping[str, Any]:
        """The configuration of an image in the registry."""
        repository, _, tag = name.rpartition(":")
        client = self.client()
        manifest, _ = client.manifest(repository, tag)
        found: Mapping[str, Any] = json.loads(client.blob(repository, manifest["config"]["digest"]))
        return found

    def client(self) -> Registries:
        return Registries(
            {self.registry.host: auth(self.registry.user, self.registry.password)},
            authorities={self.registry.host: str(self.registry.ca)},
        )


@contextlib.contextmanager
def running_place(cluster: LiveCluster) -> Iterator[Place]:
    """While in the block, everything is there."""
    if cluster.own is None:
        pytest.skip("needs a cluster of this machine's own: make cluster-up")
    if (why := missing_registry(tls=True)) is not None:
        unavailable(why)
    from moto.server import ThreadedMotoServer

    address = cluster.own.host_address
    registry = RegistryMachine(tls=True, address=address)
    server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
    with contextlib.ExitStack() as stack:
        stack.callback(registry.close)
        registry.start()
        server.start()
        stack.callback(server.stop)
        inner: Any = server._server
        endpoint = f"http://{address}:{inner.server_port}"
        _bucket(endpoint)
        cluster.own.trust_registry(registry.host, registry.ca)
        cluster.own.load(
            EXECUTOR,
            fill(_executor()),
            user="0:0",
            environ=ENVIRON,
        )
        yield with_base(cluster, registry, endpoint)


def with_base(cluster: LiveCluster, registry: RegistryMachine, endpoint: str) -> Place:
    """A place whose registry has the base image."""
    place = Place(cluster=cluster, registry=registry, endpoint=endpoint, base=f"{registry.host}/base:1")
    _push_base(place)
    return place


def _executor() -> Path:
    """The real one; ``LAUNCHCORE_KANIKO_EXECUTOR`` names another."""
    if said := os.environ.get("LAUNCHCORE_KANIKO_EXECUTOR"):
        return Path(said)
    folder = built("kaniko")
    if folder is None:
        unavailable("Kaniko's executor is not built: scripts/cluster/build kaniko (minutes, once)")
    return Path(str(folder), "executor")


def _bucket(endpoint: str) -> None:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test-secret",
    )
    client.create_bucket(Bucket=BUCKET)


def _push_base(place: Place) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as tar:
        images.busybox(tar)
    data = raw.getvalue()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(data)]},
    }
    text = json.dumps(config).encode()
    client, repository = place.client(), f"{place.registry.host}/base"
    layer = {"mediaType": LAYER, "size": len(data), "digest": client.push_blob(repository, data)}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "size": len(text), "digest": client.push_blob(repository, text)},
        "layers": [{**layer, "mediaType": "application/vnd.docker.image.rootfs.diff.tar"}],
    }
    client.push_manifest(repository, "1", manifest)


def unique() -> str:
    """So that no test finds what another has built."""
    return uuid.uuid4().hex

"""Who lends the builder its way to store and registry: a cloud's environment, or a claim that is shared.

The API of the cloud is moto's, which is a model; the registry of its plugin is a real one that wants the
cloud's user and token, the store is moto's S3, and the executor, the cluster and its node are real.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from launch_aws.repositories import MEDIA_TYPES
from launch_aws.testing.cloud import ACCOUNT
from launch_aws.testing.cloud import PASSWORD as TOKEN
from launch_docker.testing.registry import RegistryMachine

from launchcore.plugin import Login, Secret
from launchcore.testing.conformance.build_bench import BuilderBench
from tests.crash.world import wait_until
from tests.live.kaniko.place import BUCKET, Place, unique, with_base
from tests.live.kaniko.test_journey import World
from tests.live.kubernetes.cluster import LiveCluster

pytestmark = [pytest.mark.live]


class Account(World):
    """Its agents have a cloud's environment and registry, and say nothing else about credentials."""

    def configure(self, **builder: Any) -> None:
        self.name = f"team/train-{unique()}"
        said = self.place.settings(kaniko_config={}, build_context_store=f"s3://{BUCKET}/cloud", **builder)
        config = {
            "environment": {"type": "aws", "region": "us-east-1", "endpoint-url": self.place.endpoint},
            "registry": {"type": "ecr", "repository": self.name, "host": self.place.registry.host},
            "builder": {"type": "kaniko", **said},
        }
        self.config.write_text(json.dumps(config))

    def known(self, tag: str) -> None:
        """Tell the model what was pushed to the registry, as the cloud would know."""
        text, digest = self.place.client().text(f"{self.place.registry.host}/{self.name}", tag)
        _client(self.place, "ecr").put_image(
            repositoryName=self.name,
            imageManifest=text.decode(),
            imageManifestMediaType=json.loads(text).get("mediaType", MEDIA_TYPES[1]),
            imageTag=tag,
            imageDigest=digest,
        )


def _client(place: Place, service: str) -> Any:
    import boto3

    return boto3.client(
        service,
        endpoint_url=place.endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test-secret",
    )


@pytest.fixture
def account(place: Place, cluster: LiveCluster) -> Iterator[Account]:
    assert cluster.own is not None
    registry = RegistryMachine(tls=True, user="AWS", password=TOKEN, address=cluster.own.host_address)
    registry.start()
    try:
        cluster.own.trust_registry(registry.host, registry.ca)
        made = Account(Path(tempfile.mkdtemp(prefix="lc-")), with_base(cluster, registry, place.endpoint))
        try:
            yield made
            made.nothing_left()
        finally:
            made.close()
    finally:
        registry.close()


def test_a_cloud_whose_environment_and_registry_the_builder_does_not_know(account: Account) -> None:
    """The repository is made, the context goes through the bucket, the image is pushed, and pulled."""
    account.commit(f"RUN echo {unique()} > /number")
    account.builder_agent()
    first = account.submitted("cat", "/number")
    ended = account.succeeded(first)
    name, _, digest = str(ended.image).partition("@")
    assert name.startswith(f"{account.place.registry.host}/{account.name}:")
    assert digest.startswith("sha256:")
    made = _client(account.place, "ecr").describe_repositories(registryId=ACCOUNT)["repositories"]
    assert account.name in [each["repositoryName"] for each in made]
    kept = _client(account.place, "s3").list_objects_v2(Bucket=BUCKET, Prefix="cloud/")
    assert kept["KeyCount"] >= 1

    account.known(name.rpartition(":")[2])
    second = account.submitted("cat", "/number")
    assert account.succeeded(second).image == ended.image
    assert b"nothing to build" in account.log(second)

    told = [agent.text() for agent in account.agents] + [account.log(run).decode() for run in (first, second)]
    told.append(str(account.place.image(name)))
    assert not [text for text in told if TOKEN in text or "test-secret" in text]


def test_a_claim_that_agent_and_builds_share(place: Place, tmp_path: Path) -> None:
    own = place.cluster.own
    assert own is not None
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    name = f"contexts-{unique()[:8]}"
    size = {"storage": "100Mi"}
    volume: dict[str, Any] = {
        "capacity": size,
        "accessModes": ["ReadWriteMany"],
        "storageClassName": name,
        "hostPath": {"path": str(shared)},
    }
    claim: dict[str, Any] = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": name,
        "resources": {"requests": size},
        "volumeName": name,
    }
    own.apply(
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": volume},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": place.cluster.namespace},
            "spec": claim,
        },
    )
    registry = place.registry
    bench = BuilderBench(
        tmp_path,
        plugin="launch_kaniko.plugin",
        name="kaniko",
        settings=place.settings(build_context_store=f"pvc://{name}/team", store={"mount": str(shared)}),
        repository=place.repository,
        logins=(Login(host=registry.host, username=registry.user, password=Secret(registry.password)),),
        registry=place.oci(tmp_path),
    )
    files = {"Dockerfile": place.dockerfile("COPY word /word", "RUN cat /word"), "word": f"{unique()}\n"}
    try:
        built = bench.build(bench.plan(files), context=bench.context)
        assert place.image(built.ref.name)["config"]
        assert files["word"].strip() in [line.strip() for line in bench.context.lines]
        assert [path.name.startswith("launch-") for path in (shared / "team").iterdir()] == [True]
        wait_until("nothing of the build is left", lambda: not place.left(), seconds=40)
    finally:
        own.kubectl("-n", place.cluster.namespace, "delete", "pvc", name, "--wait=false")
        own.kubectl("delete", "pv", name, "--wait=false")

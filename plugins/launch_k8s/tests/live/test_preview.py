"""What the manifests of this plugin are worth to a real API server: server-side dry runs, real admission."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml
from launch_k8s.preview import dry_run
from launch_k8s.settings import ClusterSettings, RunConfig
from launch_k8s.testing.samples import plan

from launchcore.plugin import (
    EnvVar,
    Given,
    ImageRef,
    LaunchError,
    Limits,
    Login,
    Secret,
    SecretFile,
    Volume,
)
from tests.live.kubernetes.cluster import LiveCluster

pytestmark = [pytest.mark.live]
ENFORCE = "pod-security.kubernetes.io/enforce"
EVERYTHING = Given(
    env=(EnvVar(name="A", value=Secret("canary")), EnvVar(name="B", value="plain")),
    files=(SecretFile(name="f", content=Secret("canary"), path_env="F"),),
    logins=(Login(host="r.example", username="u", password=Secret("canary")),),
    volumes=(Volume(source="claim", path="/claim"),),
)


@pytest.fixture(scope="module")
def shut(cluster: LiveCluster) -> Iterator[str]:
    """A namespace that takes restricted pods only."""
    name = cluster.make_namespace("shut", {ENFORCE: "restricted"})
    yield name
    cluster.remove_namespace(name)


def asked(
    cluster: LiveCluster, namespace: str, config: RunConfig, given: Given | None = None
) -> tuple[str, ...]:
    config = attrs.evolve(config, namespace=namespace)
    limits = Limits(run_seconds=60, start_seconds=60, memory_bytes=1 << 26)
    run = plan(settings=config, image=ImageRef(name=cluster.image), limits=limits, env={"X": "$(Y) é"})
    return dry_run(run, given or EVERYTHING, ClusterSettings(kubeconfig=str(cluster.kubeconfig)))


INDEXED = {"parallelism": 2, "completions": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 1}
OBJECTS: tuple[dict[str, Any], ...] = (
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}},
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}, "data": {"a": "b"}},
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "n"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    },
)


@pytest.mark.parametrize(
    "config",
    [
        RunConfig(),
        RunConfig(gpus=1, shm_size="64Mi", labels={"a": "b"}, annotations={"a": "b"}, workdir="/tmp"),
        RunConfig(run_as_user=None, pull="always", secrets_as="files"),
        RunConfig(pod_template={"spec": {"containers": [{"name": "side", "image": "x"}, {"name": "main"}]}}),
        RunConfig(
            pod_template={
                "spec": {
                    "containers": [{}],
                    "initContainers": [{"name": "s", "image": "x", "restartPolicy": "Always"}],
                }
            }
        ),
        RunConfig(api_version="batch/v1", kind="Job", spec=INDEXED),
        RunConfig(api_version="v1", kind="Pod", spec={"containers": [{}]}),
        RunConfig(objects=OBJECTS),
        RunConfig(
            tolerations=({"operator": "Exists"},), node_selector={"a": "b"}, affinity={"podAffinity": {}}
        ),
    ],
)
def test_a_restricted_namespace_takes_it(cluster: LiveCluster, shut: str, config: RunConfig) -> None:
    assert asked(cluster, shut, config) == ()
    for collection in ("jobs", "pods", "secrets", "services", "networkpolicies"):
        assert cluster.items(collection, shut) == []  # it was only asked


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (RunConfig(security="baseline"), "violates PodSecurity"),
        (RunConfig(service_account="nobody"), 'serviceaccount "nobody" not found'),
        (RunConfig(priority_class="no-such"), "no PriorityClass"),
        (RunConfig(objects=({"apiVersion": "example.org/v1", "kind": "Thing"},)), "knows no Thing"),
        (RunConfig(api_version="batch/v1", kind="Job", spec={"parallelism": -1}), "parallelism"),
    ],
)
def test_what_it_does_not_take_is_said(
    cluster: LiveCluster, shut: str, config: RunConfig, words: str
) -> None:
    assert words in "\n".join(asked(cluster, shut, config))


def test_a_cluster_that_does_not_answer(cluster: LiveCluster, tmp_path: Path) -> None:
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    for each in config["clusters"]:
        each["cluster"]["server"] = "https://127.0.0.1:1"
    away = tmp_path / "kubeconfig"
    away.write_text(yaml.safe_dump(config))
    with pytest.raises(LaunchError):
        dry_run(plan(), Given(), ClusterSettings(kubeconfig=str(away), namespace="x", request_seconds=2.0))

"""A run's manifest: what the queue says is kept, what it leaves open is filled, what cannot be is refused."""

from __future__ import annotations

from typing import Any

import pytest
from launch_k8s.manifest import in_namespace
from launch_k8s.names import ATTEMPT, MANAGED_BY, OWNER
from launch_k8s.settings import Cluster, ClusterSettings, RunConfig
from launch_k8s.testing.samples import NAME, RUN, container, environment, pod_spec, rendered

from launchcore.plugin import (
    EnvVar,
    Given,
    LaunchError,
    Limits,
    Reason,
    Secret,
)


def refusal(config: RunConfig | None = None, **over: Any) -> LaunchError:
    with pytest.raises(LaunchError) as caught:
        rendered(config, **over)
    assert caught.value.reason is Reason.CONFIG_ERROR
    assert caught.value.hint
    return caught.value


def test_a_queue_that_says_nothing_gives_a_job_with_safe_defaults() -> None:
    made = rendered(limits=Limits(run_seconds=60, start_seconds=30, grace_seconds=7.5))
    assert (made.main["apiVersion"], made.main["kind"]) == ("batch/v1", "Job")
    assert made.main["metadata"]["name"] == NAME
    spec = made.main["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["ttlSecondsAfterFinished"] == 86400
    assert spec["activeDeadlineSeconds"] == 150  # waiting, pulling and running
    pod = pod_spec(made)
    assert pod["restartPolicy"] == "Never"
    assert pod["activeDeadlineSeconds"] == 120  # pulling and running
    assert pod["terminationGracePeriodSeconds"] == 8
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container(made)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container(made)["image"] == "registry.example/train:1"
    assert container(made)["args"] == ["python", "train.py"]
    assert "command" not in container(made)  # the image's own entry point stays
    assert made.main_container == "main"


def test_a_run_without_a_limit_has_no_deadline() -> None:
    made = rendered()
    assert "activeDeadlineSeconds" not in made.main["spec"]
    assert "activeDeadlineSeconds" not in pod_spec(made)


def test_everything_carries_whose_it_is() -> None:
    config = RunConfig(objects=({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}},))
    made = rendered(config, given=Given(env=(EnvVar(name="T", value=Secret("x")),)))
    for each in (*made.everything(), made.main["spec"]["template"]):
        labels = each["metadata"]["labels"]
        assert labels[OWNER] == "queue-service-1"
        assert labels[ATTEMPT] == f"{RUN}-1"
        assert labels[MANAGED_BY] == "launchcore"


def test_a_pod_template_is_kept_and_filled() -> None:
    template = {
        "metadata": {"labels": {"team": "vision"}},
        "spec": {
            "containers": [
                {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"},
                {"name": "train", "env": [{"name": "A", "value": "queue"}], "workingDir": "/w"},
            ],
            "nodeSelector": {"zone": "a"},
        },
    }
    made = rendered(
        RunConfig(pod_template=template, node_selector={"zone": "b", "gpu": "yes"}, workdir="/x"),
        env={"A": "run"},
    )
    assert made.main_container == "train"  # the one without an image
    assert container(made, 0)["image"] == "proxy:1"
    assert "args" not in container(made, 0)
    assert container(made, 1)["image"] == "registry.example/train:1"
    assert container(made, 1)["workingDir"] == "/w"
    assert environment(container(made, 1))["A"] == "run"
    assert pod_spec(made)["nodeSelector"] == {"zone": "a", "gpu": "yes"}
    assert made.main["spec"]["template"]["metadata"]["labels"]["team"] == "vision"


def test_a_configuration_may_be_a_manifest_itself() -> None:
    made = rendered(
        RunConfig(
            api_version="batch/v1",
            kind="Job",
            metadata={"name": "mine", "generateName": "x-", "annotations": {"a": "b"}},
            spec={"backoffLimit": 3, "template": {"spec": {"containers": [{"command": ["torchrun"]}]}}},
        )
    )
    assert made.main["metadata"]["name"] == NAME
    assert "generateName" not in made.main["metadata"]
    assert made.main["metadata"]["annotations"]["a"] == "b"
    assert made.main["spec"]["backoffLimit"] == 3
    assert container(made)["command"] == ["torchrun"]
    assert container(made)["args"] == ["python", "train.py"]


def test_a_configuration_may_be_a_pod_template_itself() -> None:
    made = rendered(RunConfig(spec={"containers": [{"name": "x"}], "tolerations": [{"key": "a"}]}))
    assert made.main["kind"] == "Job"
    assert pod_spec(made)["tolerations"] == [{"key": "a"}]
    assert made.main_container == "x"


def test_the_queue_s_own_words_are_not_changed_by_rendering() -> None:
    template = {"spec": {"containers": [{"name": "x"}]}}
    rendered(RunConfig(pod_template=template))
    assert template == {"spec": {"containers": [{"name": "x"}]}}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (RunConfig(manifest={"kind": "Job"}), "apiVersion"),
        (RunConfig(kind="Job", api_version="batch/v1", pod_template={"spec": {}}), "two ways"),
        (RunConfig(pod_template={"spec": {}, "kinds": 1}), "'kinds'"),
        (RunConfig(manifest={"apiVersion": "x/v1", "kind": "Thing", "spec": {}}), "no pod template"),
        (RunConfig(pod_template={"spec": {"containers": ["x"]}}), "list of mappings"),
        (RunConfig(pod_template={"spec": {"containers": [{"env": {"A": "B"}}]}}), "wrong shape"),
        (RunConfig(main_container="x", pod_template={"spec": {"containers": [{"name": "y"}]}}), "called 'x'"),
        (RunConfig(spec={"ttlSecondsAfterFinished": 0}, kind="Job", api_version="batch/v1"), "ttlSeconds"),
        (RunConfig(spec={"manualSelector": True}, kind="Job", api_version="batch/v1"), "selector"),
        (RunConfig(volumes=({"name": "x", "emptyDir": {}},)), "mount_path"),
        (RunConfig(resources={"limits": {"cpu": "-1"}}), "less than 0"),
        (RunConfig(resources={"limits": {"cpu": "lots"}}), "quantity"),
        (RunConfig(resources={"cpu": 1}), "'cpu'"),
        (RunConfig(labels={"launchcore.io/owner": "me"}), "launchcore's own"),
        (RunConfig(labels={"a b": "c"}), "letters"),
        (RunConfig(labels={"a": "x" * 64}), "at most 63"),
        (RunConfig(annotations={"sub.launchcore.io/x": "y"}), "launchcore's own"),
        (RunConfig(cluster="there"), "none of the agent's"),
        (RunConfig(namespace="a", spec={"containers": [{}]}, metadata={"namespace": "b"}), None),
    ],
)
def test_what_cannot_be_is_refused_in_words(config: RunConfig, words: str | None) -> None:
    if words is None:  # a pod template's own namespace says nothing
        assert rendered(config).namespace == "a"
        return
    assert words in refusal(config).detail


@pytest.mark.parametrize("key", ["finalizers", "ownerReferences"])
@pytest.mark.parametrize("where", ["main", "template", "object"])
def test_nothing_that_would_keep_a_run_from_being_removed(key: str, where: str) -> None:
    metadata = {key: [{"x": "y"}]}
    pod = {"spec": {"containers": [{}]}, "metadata": metadata if where == "template" else {}}
    config = RunConfig(
        manifest={
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata if where == "main" else {},
            "spec": {"template": pod},
        },
        objects=(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata if where == "object" else {}},
        ),
    )
    assert key in refusal(config).detail


@pytest.mark.parametrize("where", ["main", "template", "object"])
def test_launchcore_s_own_labels_are_nobody_else_s(where: str) -> None:
    metadata = {"labels": {"launchcore.io/owner": "somebody-else"}}
    config = RunConfig(
        manifest={
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata if where == "main" else {},
            "spec": {
                "template": {
                    "spec": {"containers": [{}]},
                    "metadata": metadata if where == "template" else {},
                }
            },
        },
        objects=(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata if where == "object" else {}},
        ),
    )
    assert "launchcore's own" in refusal(config).detail


# -- the namespace -------------------------------------------------------------------------------


def test_the_namespace_is_the_queue_s_then_the_manifest_s_then_the_agent_s() -> None:
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"namespace": "b"}, "spec": {}}
    agent = ClusterSettings(namespace="c", clusters={"far": Cluster(namespace="d")})
    assert rendered(RunConfig(namespace="b", manifest=job), settings=agent).namespace == "b"
    assert rendered(RunConfig(manifest=job), settings=agent).main["metadata"]["namespace"] == "b"
    assert rendered(RunConfig(cluster="far"), settings=agent).namespace == "d"
    assert rendered(settings=agent).namespace == "c"
    assert rendered().namespace == ""
    assert in_namespace(rendered(), "x").main["metadata"]["namespace"] == "x"
    assert "two namespaces" in refusal(RunConfig(namespace="a", manifest=job)).detail


@pytest.mark.parametrize("name", ["kube-system", "a/../b", "UPPER", "x" * 64])
def test_a_queue_cannot_leave_the_agent_s_namespaces(name: str) -> None:
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"namespace": name}, "spec": {}}
    settings = ClusterSettings(namespaces=("ml",))
    assert "namespace" in refusal(RunConfig(manifest=job), settings=settings).detail
    assert rendered(settings=settings).namespace == "ml"


def test_an_object_cannot_be_in_another_namespace() -> None:
    one = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "kube-system"}}
    assert "another namespace" in refusal(RunConfig(namespace="ml", objects=(one,))).detail

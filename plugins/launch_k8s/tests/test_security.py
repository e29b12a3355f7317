"""What a run can never get, whatever it says, and what a queue's owner has to allow by name."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from launch_k8s.manifest import render
from launch_k8s.names import dns_label, label_key_problem, label_value, label_value_problem, object_name
from launch_k8s.settings import ClusterSettings, RunConfig
from launch_k8s.testing.samples import plan, pod_spec, rendered

from launchcore.plugin import (
    ATTEMPT_LABEL,
    OWNER_LABEL,
    QUEUE_LABEL,
    RUN_LABEL,
    EnvVar,
    Given,
    ImageRef,
    Label,
    LaunchError,
    Limits,
    Secret,
    SecretFile,
    Volume,
)

FORBIDDEN: dict[str, dict[str, Any]] = {
    "privileged": {"containers": [{"securityContext": {"privileged": True}}]},
    "host-path": {"containers": [{}], "volumes": [{"name": "h", "hostPath": {"path": "/"}}]},
    "host-network": {"containers": [{}], "hostNetwork": True},
    "host-pid": {"containers": [{}], "hostPID": True},
    "host-ipc": {"containers": [{}], "hostIPC": True},
    "host-ports": {"containers": [{"ports": [{"containerPort": 1, "hostPort": 1}]}]},
    "capabilities": {"containers": [{"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]},
    "root": {"containers": [{"securityContext": {"runAsUser": 0, "runAsNonRoot": False}}]},
    "unconfined": {"containers": [{"securityContext": {"seccompProfile": {"type": "Unconfined"}}}]},
    "sysctls": {
        "containers": [{}],
        "securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]},
    },
    "escalation": {"containers": [{"securityContext": {"allowPrivilegeEscalation": True}}]},
    "volumes": {"containers": [{}], "volumes": [{"name": "n", "nfs": {"server": "s", "path": "/"}}]},
}
ONLY_RESTRICTED = {"root", "escalation", "volumes"}


@pytest.mark.parametrize("name", FORBIDDEN)
@pytest.mark.parametrize("where", ["containers", "initContainers"])
def test_what_a_standard_forbids_has_to_be_allowed_by_name(name: str, where: str) -> None:
    spec = json.loads(json.dumps(FORBIDDEN[name]))
    if where == "initContainers":
        spec["initContainers"], spec["containers"] = spec["containers"], [{}]
        spec["initContainers"][0].update(name="init", image="i")
    with pytest.raises(LaunchError) as caught:
        rendered(RunConfig(pod_template={"spec": spec}))
    assert f"allow: [{name}]" in str(caught.value.hint)
    rendered(RunConfig(pod_template={"spec": spec}, allow=(name,)))  # type: ignore[arg-type]
    rendered(RunConfig(pod_template={"spec": spec}, security="as-is"))
    baseline = RunConfig(pod_template={"spec": spec}, security="baseline")
    if name in ONLY_RESTRICTED:
        rendered(baseline)
    else:
        with pytest.raises(LaunchError):
            rendered(baseline)


def test_as_is_is_what_the_template_says() -> None:
    made = rendered(RunConfig(security="as-is"))
    assert "securityContext" not in pod_spec(made)
    assert "securityContext" not in pod_spec(made)["containers"][0]


def test_what_the_template_says_about_users_is_kept() -> None:
    spec = {"containers": [{}], "securityContext": {"runAsUser": 5}}
    context = pod_spec(rendered(RunConfig(pod_template={"spec": spec})))["securityContext"]
    assert context["runAsUser"] == 5
    assert "fsGroup" not in context
    assert "runAsUser" not in pod_spec(rendered(RunConfig(run_as_user=None)))["securityContext"]


def test_a_plugin_s_path_of_the_node_needs_the_queue_s_word() -> None:
    asked = Given(volumes=(Volume(source="/etc", path="/x"),))
    with pytest.raises(LaunchError, match="path of the node"):
        rendered(given=asked)
    rendered(RunConfig(allow=("host-path",)), given=asked)


# -- properties -----------------------------------------------------------------------------------

SOUP = st.sampled_from(
    [
        "privileged: true",
        "${args}",
        "$(TOKEN)",
        '"}}],"hostPID":true,"x":[{"',
        "\n  hostNetwork: true",
        "../../etc",
        "launchcore.io/owner",
        "kube-system",
        "cluster-admin",
        "{{template}}",
        "-",
        "é" * 70,
        "\u202e",
        "A" * 300,
    ]
)
TEXT = st.one_of(SOUP, st.text(max_size=40).filter(lambda text: "\0" not in text))
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True).filter(
    lambda name: name not in ("NVIDIA_VISIBLE_DEVICES", "HOME")
)
CONFIGS = st.sampled_from(
    [
        RunConfig(),
        RunConfig(gpus=1, service_account="trainer", shm_size="1Gi", env={"A": "b"}),
        RunConfig(pod_template={"spec": {"containers": [{"name": "a", "image": "side"}, {"name": "main"}]}}),
        RunConfig(
            manifest={
                "apiVersion": "kubeflow.org/v1",
                "kind": "PyTorchJob",
                "spec": {"pytorchReplicaSpecs": {"Master": {"template": {"spec": {"containers": [{}]}}}}},
            }
        ),
        RunConfig(objects=({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {}},)),
    ]
)


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """Everything in a plan that a run, or whoever submits it, has a say in."""
    queue, run = draw(TEXT), draw(st.one_of(st.just("6j2c0000k3fd"), TEXT))
    return {
        "run_id": run,
        "attempt_id": f"{run}-1",
        "queue": queue,
        "name": draw(TEXT.filter(lambda text: "${" not in text)),
        "command": tuple(draw(st.lists(TEXT, max_size=4))),
        "env": draw(st.dictionaries(NAMES, TEXT, max_size=4)),
        "limits": Limits(
            run_seconds=draw(st.one_of(st.none(), st.floats(1, 1e6))),
            start_seconds=draw(st.one_of(st.none(), st.floats(1, 1e6))),
            memory_bytes=draw(st.one_of(st.none(), st.integers(1 << 20, 1 << 40))),
            grace_seconds=draw(st.floats(0, 1e4)),
        ),
        "labels": {OWNER_LABEL: "me", RUN_LABEL: run, ATTEMPT_LABEL: f"{run}-1", QUEUE_LABEL: queue},
    }


SAID = frozenset({"args", "env", "name", "labels", "annotations", "entrypoint"})
BOUNDED = frozenset({"activeDeadlineSeconds", "terminationGracePeriodSeconds", "resources", "selector"})


def shape(value: Any) -> Any:
    """A manifest without the places that are a run's: all the rest has to be the queue's alone."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items() if key not in SAID | BOUNDED}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return value


@settings(max_examples=150, deadline=None)
@given(said=plans(), config=CONFIGS)
@example(said={"command": ("$(TOKEN)",), "env": {"A": "$(TOKEN)"}}, config=RunConfig())
def test_nothing_that_a_run_says_reaches_what_is_not_a_run_s(said: dict[str, Any], config: RunConfig) -> None:
    agent = ClusterSettings(namespace="ml")
    asked = Given(
        env=(EnvVar(name="TOKEN", value=Secret("canary-value")),),
        files=(SecretFile(name="f", content=Secret("canary-file")),),
        labels=(Label(name="a", value="b"),),
    )
    hostile = render(plan(**said), asked, config, agent)
    tame = render(plan(), asked, config, agent)
    for ours, theirs in zip(hostile.everything(), tame.everything(), strict=True):
        text = json.dumps(shape(theirs)).replace(
            tame.main["metadata"]["name"], hostile.main["metadata"]["name"]
        )
        assert text == json.dumps(shape(ours)) or _only_names_differ(shape(ours), shape(theirs))
        check_metadata(ours)
    for each in (hostile.main, *hostile.beside):
        assert "canary" not in json.dumps(each)
    for container in containers(hostile.main):
        for word in [
            *container.get("args", ()),
            *(entry.get("value", "") for entry in container.get("env", ())),
        ]:
            assert "$(TOKEN)" not in word.replace("$$", "")


def _only_names_differ(ours: Any, theirs: Any) -> bool:
    """Names that are derived from the attempt's id are the only texts that may be others."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(
            key in ("secretName", "data") or _only_names_differ(ours[key], theirs[key]) for key in ours
        )
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_only_names_differ, ours, theirs))
    return bool(ours == theirs)


def check_metadata(manifest: dict[str, Any]) -> None:
    metadata = manifest["metadata"]
    assert metadata["namespace"] == "ml"
    assert dns_label(metadata["name"], 63) == metadata["name"]
    assert set(metadata) <= {"name", "namespace", "labels", "annotations"}
    for key, value in metadata["labels"].items():
        assert label_key_problem(key) is None
        assert label_value_problem(value) is None


def containers(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [
            *value.get("containers", ()),
            *(each for inner in value.values() for each in containers(inner)),
        ]
    if isinstance(value, list):
        return [each for inner in value for each in containers(inner)]
    return []


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=100), other=st.text(max_size=100))
def test_names_and_labels_always_fit_and_never_collide(text: str, other: str) -> None:
    assert label_value_problem(label_value(text)) is None
    assert dns_label(text, 63) == dns_label(dns_label(text, 63), 63)
    assert len(object_name(text)) <= 52
    if text != other:
        assert object_name(text) != object_name(other)
        assert label_value(text) != label_value(other)


def test_the_image_is_the_job_s_and_no_text_of_a_run_s() -> None:
    made = rendered(
        image=ImageRef(name="r.example/x", digest="sha256:" + "0" * 64), command=("--image", "evil")
    )
    assert pod_spec(made)["containers"][0]["image"] == "r.example/x@sha256:" + "0" * 64


def test_a_run_s_config_has_no_field_that_is_a_run_s() -> None:
    """Whoever adds a field to RunConfig decides for the queue's owner: a plan has nothing to fill it from."""
    owner = {field.name for field in attrs.fields(RunConfig)}
    assert {"security", "allow", "service_account", "volumes", "objects", "namespace", "cluster"} <= owner

"""What a run's containers get: variables, secrets, resources, volumes; and its further objects."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from launch_k8s.manifest import owned_by, redacted
from launch_k8s.names import ATTEMPT
from launch_k8s.settings import RunConfig
from launch_k8s.testing.samples import NAME, RUN, container, environment, pod_spec, rendered

from launchcore.plugin import (
    CredentialHelper,
    EnvVar,
    Fault,
    Given,
    Label,
    LaunchError,
    Limits,
    Login,
    Reason,
    Secret,
    SecretFile,
    Volume,
)


def refusal(config: RunConfig | None = None, **over: Any) -> LaunchError:
    with pytest.raises(LaunchError) as caught:
        rendered(config, **over)
    assert caught.value.reason is Reason.CONFIG_ERROR
    assert caught.value.hint
    return caught.value


# -- variables and secrets ------------------------------------------------------------------------


def test_variables_the_run_s_win_and_nothing_is_expanded() -> None:
    made = rendered(
        RunConfig(env={"A": "queue", "B": "queue", "C": "$(A)"}),
        given=Given(env=(EnvVar(name="B", value="plugin"), EnvVar(name="D", value="plugin"))),
        env={"A": "$(SECRET) $HOME $$"},
        command=("echo", "$(SECRET)", "$$x"),
    )
    env = environment(container(made))
    assert env["A"] == "$$(SECRET) $HOME $$$$"
    assert (env["B"], env["C"], env["D"]) == ("plugin", "$(A)", "plugin")
    assert env["LAUNCH_RUN_ID"] == RUN
    assert container(made)["args"] == ["echo", "$$(SECRET)", "$$$$x"]


def test_args_from_the_template_are_the_run_s_words_too() -> None:
    made = rendered(
        RunConfig(pod_template={"spec": {"containers": [{"args": ["echo", "$(X)"]}]}}),
        command=("echo", "$(X)"),
    )
    assert container(made)["args"] == ["echo", "$$(X)"]


def test_no_secret_value_is_anywhere_but_in_secrets() -> None:
    given = Given(
        env=(EnvVar(name="TOKEN", value=Secret("canary-env")),),
        files=(SecretFile(name="../aws creds", content=Secret("canary-file"), path_env="CREDS"),),
        logins=(Login(host="docker.io", username="u", password=Secret("canary-login")),),
    )
    made = rendered(given=given)
    secrets = {each["type"]: each for each in made.before}
    rest = json.dumps([made.main, made.beside])
    for canary in ("canary-env", "canary-file", "canary-login"):
        assert canary not in rest
        assert base64.b64encode(canary.encode()).decode() not in rest
        assert canary not in json.dumps([redacted(each) for each in made.before])
    data = secrets["Opaque"]["data"]
    assert {key: base64.b64decode(value).decode() for key, value in data.items()} == {
        "env.TOKEN": "canary-env",
        "file..._aws_creds": "canary-file",
    }
    auths = json.loads(
        base64.b64decode(secrets["kubernetes.io/dockerconfigjson"]["data"][".dockerconfigjson"])
    )
    assert auths["auths"]["https://index.docker.io/v1/"]["password"] == "canary-login"
    assert pod_spec(made)["imagePullSecrets"] == [{"name": f"{NAME}-pull"}]
    env = environment(container(made))
    assert env["TOKEN"] == {"secretKeyRef": {"name": f"{NAME}-given", "key": "env.TOKEN"}}
    assert env["TOKEN_FILE"] == "/run/launch/secrets/TOKEN"
    assert env["CREDS"] == "/run/launch/files/.._aws_creds"
    paths = [item["path"] for item in pod_spec(made)["volumes"][0]["secret"]["items"]]
    assert paths == ["secrets/TOKEN", "files/.._aws_creds"]


def test_secrets_only_as_files() -> None:
    given = Given(env=(EnvVar(name="TOKEN", value=Secret("x")),))
    env = environment(container(rendered(RunConfig(secrets_as="files"), given=given)))
    assert "TOKEN" not in env
    assert env["TOKEN_FILE"] == "/run/launch/secrets/TOKEN"


def test_secrets_go_to_the_main_container_only() -> None:
    config = RunConfig(
        pod_template={"spec": {"containers": [{"name": "log", "image": "l"}, {"name": "main"}]}}
    )
    made = rendered(config, given=Given(env=(EnvVar(name="TOKEN", value=Secret("x")),)))
    assert "env" not in container(made, 0)
    assert "volumeMounts" not in container(made, 0)
    assert "TOKEN" in environment(container(made, 1))


def test_logins_that_no_node_can_use() -> None:
    given = Given(logins=(CredentialHelper(host="r.example", helper="ecr-login"),))
    assert "pull_logins: none" in str(refusal(given=given).hint)
    made = rendered(RunConfig(pull_logins="none", image_pull_secrets=("there",)), given=given)
    assert pod_spec(made)["imagePullSecrets"] == [{"name": "there"}]
    assert made.before == ()


@pytest.mark.parametrize("env", [{"A=B": "c"}, {"": "c"}, {"A": "b\0"}, {"1A": "x"}])
def test_variables_that_no_container_can_have(env: dict[str, str]) -> None:
    assert refusal(env=env).fault is Fault.USER


def test_a_home_for_a_user_whom_the_image_does_not_know() -> None:
    assert environment(container(rendered()))["HOME"] == "/tmp"
    assert "HOME" not in environment(container(rendered(RunConfig(run_as_user=None))))
    assert environment(container(rendered(RunConfig(env={"HOME": "/h"}))))["HOME"] == "/h"


# -- resources ------------------------------------------------------------------------------------


def test_gpus_are_the_queue_s_to_give() -> None:
    assert environment(container(rendered()))["NVIDIA_VISIBLE_DEVICES"] == "void"
    made = rendered(RunConfig(gpus=2))
    assert container(made)["resources"]["limits"] == {"nvidia.com/gpu": 2}
    assert "NVIDIA_VISIBLE_DEVICES" not in environment(container(made))
    made = rendered(RunConfig(gpus=1, gpu_type="amd.com/gpu"))
    assert container(made)["resources"]["limits"] == {"amd.com/gpu": 1}
    assert refusal(env={"NVIDIA_VISIBLE_DEVICES": "all"}).fault is Fault.USER


def test_a_run_s_memory_only_makes_the_queue_s_smaller() -> None:
    config = RunConfig(resources={"requests": {"memory": "2Gi"}, "limits": {"memory": "4Gi", "cpu": 2}})
    smaller = container(rendered(config, limits=Limits(memory_bytes=1 << 30)))["resources"]
    assert smaller == {"requests": {"memory": str(1 << 30)}, "limits": {"memory": str(1 << 30), "cpu": 2}}
    larger = container(rendered(config, limits=Limits(memory_bytes=1 << 40)))["resources"]
    assert larger["limits"]["memory"] == "4Gi"
    assert container(rendered(limits=Limits(memory_bytes=1 << 30)))["resources"] == {
        "limits": {"memory": str(1 << 30)}
    }


def test_volumes() -> None:
    claim = {
        "name": "data",
        "persistentVolumeClaim": {"claimName": "d"},
        "mount_path": "/data",
        "read_only": True,
    }
    config = RunConfig(volumes=(claim,), shm_size="2Gi")
    given = Given(volumes=(Volume(source="models", path="/models"),))
    made = rendered(config, given=given)
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "d"}} in pod_spec(made)["volumes"]
    mounts = {each["mountPath"]: each for each in container(made)["volumeMounts"]}
    assert mounts["/data"]["readOnly"] is True
    assert mounts["/models"]["readOnly"] is True
    assert pod_spec(made)["volumes"][-1]["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}
    assert "mounted at /data" in refusal(RunConfig(volumes=(claim, {**claim, "name": "x"}))).detail


def test_labels_of_plugins_are_made_to_fit() -> None:
    made = rendered(given=Given(labels=(Label(name="cost-centre", value="ml 42!" * 20),)))
    value = made.main["metadata"]["labels"]["cost-centre"]
    assert value.startswith("ml-42")
    assert len(value) <= 63
    for name in ("a b", "launchcore.io/owner"):
        with pytest.raises(LaunchError) as caught:
            rendered(given=Given(labels=(Label(name=name, value="c"),)))
        assert caught.value.reason is Reason.PLUGIN_ERROR
    rendered(given=Given(labels=(Label(name="a b", value="c", optional=True),)))


def test_too_large_for_a_cluster_says_what_is_large() -> None:
    found = refusal(command=("x" * 100_000,) * 12)
    assert "the command and the variables" in found.detail
    assert found.fault is Fault.USER
    config = RunConfig(pod_template={"spec": {"containers": [{}], "x": ["y" * 100_000] * 12}})
    assert refusal(config).fault is Fault.INFRASTRUCTURE


# -- further objects ------------------------------------------------------------------------------


def test_further_objects_become_the_run_s_own() -> None:
    config = RunConfig(
        pod_template={
            "spec": {
                "containers": [{"envFrom": [{"configMapRef": {"name": "conf"}}], "name": "conf"}],
                "volumes": [{"name": "conf", "configMap": {"name": "conf"}}],
            }
        },
        objects=(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"a": "conf"}},
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "peers"},
                "spec": {"clusterIP": "None"},
            },
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": "shut"},
                "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
            },
        ),
    )
    made = rendered(config)
    conf = f"{NAME}-conf"
    assert [each["metadata"]["name"] for each in made.before] == [conf]
    assert made.before[0]["data"] == {"a": "conf"}
    assert container(made)["name"] == "conf"
    assert container(made)["envFrom"] == [{"configMapRef": {"name": conf}}]
    assert pod_spec(made)["volumes"] == [{"name": "conf", "configMap": {"name": conf}}]
    service, policy = made.beside
    assert service["spec"]["selector"] == {ATTEMPT: f"{RUN}-1"}
    assert policy["spec"]["podSelector"] == {"matchLabels": {ATTEMPT: f"{RUN}-1"}}  # nobody else's pods
    assert environment(container(made))["LAUNCH_OBJECT_PEERS"] == f"{NAME}-peers"


def test_pods_of_further_objects_are_as_safe_as_the_run_s() -> None:
    pods = {"template": {"spec": {"containers": [{"name": "board", "image": "b"}]}}}
    one = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "board"}, "spec": pods}
    spec = rendered(RunConfig(objects=(one,))).beside[0]["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False
    assert spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("one", "words"),
    [
        ({"kind": "ConfigMap"}, "apiVersion"),
        ({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding"}, "no namespace"),
        ({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "given"}}, "launchcore's own"),
        (
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "spec": {"template": {"spec": {"hostPID": True, "containers": [{}]}}},
            },
            "hostPID",
        ),
    ],
)
def test_objects_that_cannot_belong_to_a_run(one: dict[str, Any], words: str) -> None:
    assert words in refusal(RunConfig(objects=(one,))).detail


def test_what_is_owned_goes_with_its_owner() -> None:
    made = rendered()
    main = {**made.main, "metadata": {**made.main["metadata"], "uid": "u-1"}}
    owned = owned_by({"metadata": {"name": "x"}}, main)
    assert owned["metadata"]["ownerReferences"] == [
        {"apiVersion": "batch/v1", "kind": "Job", "name": NAME, "uid": "u-1", "blockOwnerDeletion": False}
    ]

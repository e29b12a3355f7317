"""What a build becomes in the cluster: a Job, its Secret, the executor's command line."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from launch_k8s.names import ATTEMPT, MANAGED_BY, OWNER, QUEUE, RUN
from launch_k8s.names import MANAGER as RUNNERS
from launch_kaniko.arguments import arguments
from launch_kaniko.manifest import BUILD, IMAGE, manifests
from launch_kaniko.order import Order, job_name
from launch_kaniko.store_places import Sight
from launch_kaniko.testing.orders import NAME, make_order

from launchcore.plugin import CredentialHelper, EnvVar, LaunchError, Login, Reason, Secret, SecretFile

CANARY = "canary-77a1"


def executor(order: Order) -> dict[str, Any]:
    job, _ = manifests(order)
    (found,) = (each for each in pod(job)["containers"] if each["name"] == "kaniko")
    return dict(found)


def pod(job: dict[str, Any]) -> dict[str, Any]:
    return dict(job["spec"]["template"]["spec"])


def told(secret: dict[str, Any]) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


# -- the Job -----------------------------------------------------------------------------------------


def test_the_job_is_called_after_the_image_alone() -> None:
    """So that two agents that need one image build it once."""
    one, _ = manifests(make_order())
    other, _ = manifests(make_order(attempt_id="zz-9", run_id="zz", labels={}))
    assert one["metadata"]["name"] == other["metadata"]["name"] == job_name(NAME)
    assert job_name(NAME) != job_name(f"{NAME}0")


def test_it_runs_once_ends_and_is_removed() -> None:
    job, _ = manifests(make_order({"deadline_seconds": 77, "ttl_seconds": 5}))
    spec = job["spec"]
    assert (spec["backoffLimit"], spec["completions"], spec["parallelism"]) == (0, 1, 1)
    assert (spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (77, 5)
    assert pod(job)["restartPolicy"] == "Never"


def test_it_is_held_until_its_secret_is_there() -> None:
    job, _ = manifests(make_order())
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["annotations"]["launchcore.io/held"] == "true"
    assert job["metadata"]["annotations"][IMAGE] == NAME


def test_everything_says_whose_it_is() -> None:
    job, secret = manifests(make_order())
    for thing in (job, job["spec"]["template"], secret):
        labels = thing["metadata"]["labels"]
        assert (labels[OWNER], labels[RUN], labels[ATTEMPT]) == ("me", "6j2c", "6j2c-1")
        assert labels[QUEUE].startswith("gpu-queue-")
        assert labels[BUILD] == job["metadata"]["name"]


def test_a_runner_does_not_take_it_for_a_run() -> None:
    """The runner's sweep removes what carries its own manager's label."""
    job, _ = manifests(make_order())
    assert job["metadata"]["labels"][MANAGED_BY] != RUNNERS


def test_the_pod_gets_no_token_unless_the_owner_says_so() -> None:
    job, _ = manifests(make_order({"service_account": "builder"}))
    assert pod(job)["automountServiceAccountToken"] is False
    assert pod(job)["serviceAccountName"] == "builder"
    job, _ = manifests(make_order({"service_account_token": True}))
    assert pod(job)["automountServiceAccountToken"] is True


def test_resources_and_nodes() -> None:
    limits = {"limits": {"memory": "4Gi"}}
    taint = {"key": "build", "operator": "Exists"}
    order = make_order({"resources": limits, "node_selector": {"disk": "ssd"}, "tolerations": (taint,)})
    job, _ = manifests(order)
    assert executor(order)["resources"] == limits
    assert pod(job)["nodeSelector"] == {"disk": "ssd"}
    assert pod(job)["tolerations"] == [taint]


def test_a_claim_is_mounted_to_read_from() -> None:
    sight = Sight(
        context="tar:///kaniko/contexts/x", claim="contexts", mount="/kaniko/contexts", sub_path="a"
    )
    order = make_order(sight=sight)
    job, _ = manifests(order)
    volumes = {each["name"]: each for each in pod(job)["volumes"]}
    mounts = {each["name"]: each for each in executor(order)["volumeMounts"]}
    claim = {"claimName": "contexts", "readOnly": True}
    assert volumes["launch-contexts"]["persistentVolumeClaim"] == claim
    assert mounts["launch-contexts"] == {
        "name": "launch-contexts",
        "mountPath": "/kaniko/contexts",
        "readOnly": True,
        "subPath": "a",
    }


# -- the command line --------------------------------------------------------------------------------


def test_the_command_line() -> None:
    order = make_order(
        {"destinations": ("mirror.example.com/m",), "target": "run", "insecure_registries": ("r:5000",)},
        build_args={"A": "1"},
        image_labels={"l": "x=y"},
        platform="linux/arm64",
        certificates={"registry.example.com": "PEM"},
    )
    said = arguments(order)
    for wanted in (
        "--context=s3://bucket/contexts/launch-0.tar.gz",
        "--context-sub-path=context",
        "--dockerfile=Dockerfile",
        f"--destination={NAME}",
        "--destination=mirror.example.com/m:0123456789abcdef",
        "--digest-file=/dev/termination-log",
        "--custom-platform=linux/arm64",
        "--target=run",
        "--build-arg=A=1",
        "--label=l=x=y",
        "--cache=true",
        "--cache-repo=registry.example.com/models/cache",
        "--insecure-registry=r:5000",
        "--registry-certificate=registry.example.com=/kaniko/launch/certificates/0.pem",
        "--snapshot-mode=full",
        "--push-retry=3",
    ):
        assert wanted in said


def test_without_a_cache() -> None:
    said = arguments(make_order({"cache": False}))
    assert "--cache=false" in said
    assert not [each for each in said if each.startswith("--cache-repo")]


def test_its_flags_are_the_executors() -> None:
    """As its source has them."""
    from launch_kaniko.testing.flags import parse

    order = make_order(
        {
            "single_snapshot": True,
            "use_new_run": True,
            "reproducible": True,
            "registry_mirrors": ("m.example.com",),
            "skip_tls_verify_registries": ("s.example.com",),
        },
        secrets={"S": Secret("x")},
        build_args={"A": "1"},
        image_labels={"l": "x"},
    )
    assert parse(arguments(order))["secret"] == ["id=S,src=/kaniko/launch/secrets/S"]


@pytest.mark.parametrize(
    "hostile",
    ["--no-push", "-x", "a b", "$(AWS_SECRET_ACCESS_KEY)", "$$(X)", "x\n--force", "ü\u202e", "'; rm -rf /'"],
)
def test_a_hostile_value_is_one_word_and_nothing_else(hostile: str) -> None:
    """It is no flag, and the cluster expands nothing in it."""
    order = make_order(build_args={"ARG": hostile}, image_labels={"label": hostile}, dockerfile=hostile)
    said = arguments(order)
    escaped = hostile.replace("$", "$$") if "$(" in hostile or "$$" in hostile else hostile
    assert f"--build-arg=ARG={escaped}" in said
    assert f"--label=label={escaped}" in said
    assert f"--dockerfile={escaped}" in said
    assert all(each.startswith("--") and "=" in each for each in said)
    assert len(said) == len(arguments(make_order(build_args={"ARG": "x"}, image_labels={"label": "x"})))


def test_switches_of_the_executor() -> None:
    found = {each["name"]: each.get("value") for each in executor(make_order())["env"]}
    assert found["FF_KANIKO_ROLLING_CACHE_KEY"] == "true"
    assert found["FF_KANIKO_HASH_DIR_FRAMING"] == "true"
    assert found["FF_KANIKO_RESOLVE_CACHE_KEY"] == "true"
    order = make_order({"feature_flags": {"FF_KANIKO_COPY_AS_ROOT": False, "FF_KANIKO_NEW": True}})
    found = {each["name"]: each.get("value") for each in executor(order)["env"]}
    assert (found["FF_KANIKO_COPY_AS_ROOT"], found["FF_KANIKO_NEW"]) == ("false", "true")


# -- secrets -----------------------------------------------------------------------------------------


def secretive() -> Order:
    return make_order(
        logins=(Login(host="registry.example.com", username="u", password=Secret(CANARY)),),
        access=(
            EnvVar(name="STORE_KEY", value=Secret(CANARY)),
            EnvVar(name="STORE_REGION", value="north"),
            SecretFile(name="key.json", content=Secret(CANARY), path_env="STORE_FILE"),
        ),
        secrets={"TOKEN": Secret(CANARY)},
        docker_configs=(Secret(json.dumps({"auths": {"other.example.com": {"auth": CANARY}}})),),
    )


def test_secrets_stand_in_the_secret_and_nowhere_else() -> None:
    job, secret = manifests(secretive())
    assert CANARY not in json.dumps(job)
    assert CANARY not in json.dumps(secret["metadata"])
    values = told(secret)
    assert values["access.env.STORE_KEY"] == values["access.file.key.json"] == CANARY
    assert values["secret.TOKEN"] == CANARY


def test_the_executor_finds_them() -> None:
    found = executor(secretive())
    env = {each["name"]: each for each in found["env"]}
    assert env["STORE_KEY"]["valueFrom"]["secretKeyRef"]["key"] == "access.env.STORE_KEY"
    assert env["STORE_REGION"]["value"] == "north"
    assert env["STORE_FILE"]["value"] == "/kaniko/launch/access/key.json"
    assert env["S3_ENDPOINT"]["value"] == "http://s3"
    assert env["DOCKER_CONFIG"]["value"] == "/kaniko/.docker"
    mounts = {each["mountPath"] for each in found["volumeMounts"]}
    assert {"/kaniko/.docker", "/kaniko/launch"} <= mounts


def test_all_logins_are_one_docker_configuration() -> None:
    order = make_order(
        logins=(
            Login(host="docker.io", username="u", password=Secret("p")),
            CredentialHelper(host="1234.example.com", helper="ecr-login"),
        ),
        docker_configs=(Secret(json.dumps({"auths": {"x.example.com": {"auth": "YQ=="}}})),),
    )
    _, secret = manifests(order)
    assert json.loads(told(secret)["docker-config"]) == {
        "auths": {
            "https://index.docker.io/v1/": {"auth": base64.b64encode(b"u:p").decode()},
            "x.example.com": {"auth": "YQ=="},
        },
        "credHelpers": {"1234.example.com": "ecr-login"},
    }


@pytest.mark.parametrize("text", ["no json", "[]", '{"auths": 1}'])
def test_what_is_no_docker_configuration_is_refused(text: str) -> None:
    with pytest.raises(LaunchError) as caught:
        manifests(make_order(docker_configs=(Secret(text),)))
    assert caught.value.reason is Reason.CONFIG_ERROR
    assert text not in caught.value.detail


def test_two_docker_configurations_that_disagree_are_refused() -> None:
    texts = (json.dumps({"auths": {"x.example.com": {"auth": each}}}) for each in "ab")
    with pytest.raises(LaunchError, match=r"disagree about 'x\.example\.com'"):
        manifests(make_order(docker_configs=tuple(map(Secret, texts))))


def test_more_secrets_than_the_cluster_takes_are_refused() -> None:
    with pytest.raises(LaunchError, match="1 MiB"):
        manifests(make_order(secrets={"BIG": Secret("x" * 1024 * 1025)}))


def test_a_variable_with_an_impossible_name_is_the_plugins_fault() -> None:
    with pytest.raises(LaunchError) as caught:
        manifests(make_order(access=(EnvVar(name="A=B", value="x"),)))
    assert caught.value.reason is Reason.PLUGIN_ERROR


# -- the owner's template ----------------------------------------------------------------------------


def templated(**spec: Any) -> Order:
    return make_order({"kaniko_config": {"spec": {"template": {"spec": spec}}}})


def test_the_owner_adds_to_the_executor() -> None:
    container = {
        "name": "kaniko",
        "image": "mirror.example.com/kaniko@sha256:1",
        "args": ["--ignore-path=/product_uuid"],
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}, {"name": "DOCKER_CONFIG", "value": "/x"}],
        "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
        "securityContext": {"privileged": False},
    }
    order = templated(containers=[container], volumes=[{"name": "cache", "emptyDir": {}}])
    found = executor(order)
    assert found["image"] == "mirror.example.com/kaniko@sha256:1"
    assert found["args"][-1] == "--ignore-path=/product_uuid"
    env = {each["name"]: each.get("value") for each in found["env"]}
    assert (env["HTTPS_PROXY"], env["DOCKER_CONFIG"]) == ("http://proxy", "/kaniko/.docker")
    assert found["volumeMounts"][0] == {"name": "cache", "mountPath": "/cache"}
    assert found["securityContext"] == {"privileged": False, "runAsUser": 0}
    job, _ = manifests(order)
    assert pod(job)["volumes"][0] == {"name": "cache", "emptyDir": {}}


def test_what_a_build_stands_on_is_ours() -> None:
    meta = {
        "name": "x",
        "generateName": "x-",
        "namespace": "other",
        "finalizers": ["f"],
        "labels": {MANAGED_BY: "somebody", "team": "ml", "launchcore.io/owner": "x"},
    }
    spec = {
        "backoffLimit": 6,
        "parallelism": 4,
        "suspend": False,
        "activeDeadlineSeconds": 10,
        "podFailurePolicy": {},
        "template": {"metadata": {"labels": {"team": "ml"}}, "spec": {"restartPolicy": "OnFailure"}},
    }
    order = make_order({"kaniko_config": {"kind": "Job", "metadata": meta, "spec": spec}})
    job, _ = manifests(order)
    assert job["metadata"]["name"] == job_name(NAME)
    assert not {"generateName", "namespace", "finalizers"} & set(job["metadata"])
    assert job["metadata"]["labels"]["team"] == "ml"
    assert job["metadata"]["labels"][MANAGED_BY] == "launchcore-builder"
    assert job["metadata"]["labels"]["launchcore.io/owner"] == "me"
    assert (job["spec"]["backoffLimit"], job["spec"]["parallelism"], job["spec"]["suspend"]) == (0, 1, True)
    assert job["spec"]["activeDeadlineSeconds"] == 10
    assert "podFailurePolicy" not in job["spec"]
    assert pod(job)["restartPolicy"] == "Never"
    assert job["spec"]["template"]["metadata"]["labels"]["team"] == "ml"


def test_the_template_is_left_as_it_was() -> None:
    config: dict[str, Any] = {"spec": {"template": {"spec": {"containers": [{"name": "kaniko"}]}}}}
    before = json.dumps(config)
    manifests(make_order({"kaniko_config": config}))
    assert json.dumps(config) == before


@pytest.mark.parametrize(
    "config",
    [
        {"kind": "Pod"},
        {"containers": []},
        {"spec": []},
        {"spec": {"template": {"spec": {"containers": "x"}}}},
    ],
)
def test_what_is_no_job_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(LaunchError, match="kaniko-config") as caught:
        manifests(make_order({"kaniko_config": config}))
    assert caught.value.reason is Reason.CONFIG_ERROR
    assert caught.value.hint

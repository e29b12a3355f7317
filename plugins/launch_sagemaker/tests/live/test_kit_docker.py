"""The test kit with a real engine: training jobs are containers, as SageMaker runs them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from launch_aws.testing.cloud import Cloud
from launch_docker.engine import Engine
from launch_docker.testing.fixtures import IMAGE, docker_host, docker_machine, engine, unavailable
from launch_docker.testing.registry import RegistryMachine, missing_registry
from launch_sagemaker.testing.bodies import machines, spot, training_job
from launch_sagemaker.testing.endpoint import Endpoint
from launch_sagemaker.testing.engine import LABEL, DockerContainers
from launch_sagemaker.testing.model import ServiceModel

__all__ = ["docker_host", "docker_machine", "engine"]

pytestmark = [pytest.mark.live]

DEAF = "echo ready; while :; do sleep 1; done"
"""The first process of a container hears no SIGTERM that it does not trap."""


@pytest.fixture
def on_docker(
    docker_host: str, cloud: Cloud, engine: Engine, sagemaker_model: ServiceModel
) -> Iterator[Endpoint]:
    containers = DockerContainers(docker_host, network="none")
    made = Endpoint(cloud, containers, stop_seconds=1.0, step_seconds=0.01, model=sagemaker_model).start()
    try:
        yield made
    finally:
        made.close()
        containers.close()
    assert made.faults_of_its_own == []
    assert ours(engine) == []


def ours(engine: Engine) -> list[dict[str, Any]]:
    """The containers that there are."""
    filters = json.dumps({"label": [LABEL]})
    found: list[dict[str, Any]] = engine.get("/containers/json", all=True, filters=filters)
    return found


def body(name: str, *words: str, **members: Any) -> dict[str, Any]:
    made = training_job(name, *words, **members)
    made["AlgorithmSpecification"]["TrainingImage"] = IMAGE
    return made


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    over = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < over
        time.sleep(0.02)


def log(endpoint: Endpoint, name: str) -> list[str]:
    return [line for lines in endpoint.log(name).values() for line in lines]


def test_a_container_finds_its_configuration_and_leaves_its_model(on_docker: Endpoint, cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    for bucket in ("inputs", "outputs"):
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket="inputs", Key="launch/start", Body=b'echo "$0 $GREETING"; exec "$@"\n')
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://inputs/launch/"}
    script = (
        "cat /opt/ml/input/config/hyperparameters.json; echo; cat /etc/hostname; "
        "mkdir /opt/ml/model/1; echo w > /opt/ml/model/1/weights"
    )
    asked = body(
        "full",
        *("/bin/sh", "-c", script),
        InputDataConfig=[{"ChannelName": "launch", "DataSource": {"S3DataSource": source}}],
        HyperParameters={"epochs": "3"},
        Environment={"GREETING": "hello"},
        OutputDataConfig={"S3OutputPath": "s3://outputs/x", "CompressionType": "NONE"},
    )
    start = "/opt/ml/input/data/launch/start"
    asked["AlgorithmSpecification"]["ContainerEntrypoint"] = ["/bin/sh", start]
    on_docker.client().create_training_job(**asked)
    on_docker.job("full").wait(seconds=60)
    assert on_docker.job("full").status == "Completed", on_docker.job("full").failure
    assert log(on_docker, "full") == [f"{start} hello", '{"epochs": "3"}', "algo-1"]
    weights = s3.get_object(Bucket="outputs", Key="x/full/output/model/1/weights")["Body"].read()
    assert weights == b"w\n"


def test_exit_codes_and_what_was_said_of_a_failure(on_docker: Endpoint) -> None:
    script = "echo no luck > /opt/ml/output/failure; exit 7"
    on_docker.client().create_training_job(**body("bad", "/bin/sh", "-c", script))
    on_docker.job("bad").wait(seconds=60)
    assert on_docker.job("bad").failure == "AlgorithmError: no luck\n, exit code: 7"


def test_an_image_whose_way_is_not_train_cannot_be_started(on_docker: Endpoint) -> None:
    on_docker.client().create_training_job(**body("no-train"))
    on_docker.job("no-train").wait(seconds=60)
    assert "CannotStartContainerError" in (on_docker.job("no-train").failure or "")


def test_an_image_that_is_not_there_cannot_be_pulled(on_docker: Endpoint) -> None:
    asked = body("no-image", "true")
    asked["AlgorithmSpecification"]["TrainingImage"] = f"127.0.0.1:1/none@sha256:{'0' * 64}"
    on_docker.client().create_training_job(**asked)
    on_docker.job("no-image").wait(seconds=60)
    assert (on_docker.job("no-image").failure or "").startswith(
        "ClientError: Failed to pull image 127.0.0.1:1/"
    )


@pytest.fixture
def storage(docker_host: str, engine: Engine) -> Iterator[tuple[RegistryMachine, str]]:
    """A registry that wants a login, and the digest of an image that is in it, and not on the engine."""
    if why := missing_registry():
        unavailable(why)
    import docker

    machine = RegistryMachine()
    client = docker.DockerClient(base_url=docker_host)
    try:
        machine.start()
        name = f"{machine.host}/team/train"
        client.images.get(IMAGE).tag(name, "1")
        login = {"username": machine.user, "password": machine.password}
        told = [*client.api.push(name, "1", stream=True, decode=True, auth_config=login)]
        digest = next(line["aux"]["Digest"] for line in told if "aux" in line)
        client.images.remove(f"{name}:1")
        yield machine, f"{name}@{digest}"
    finally:
        client.close()
        machine.close()


def test_an_image_is_pulled_by_its_digest_with_a_login(
    docker_host: str, cloud: Cloud, storage: tuple[RegistryMachine, str], sagemaker_model: ServiceModel
) -> None:
    registry, image = storage
    asked = body("pulled", "echo", "here")
    asked["AlgorithmSpecification"]["TrainingImage"] = image
    logins = {registry.host: (registry.user, registry.password)}
    for name, given, status in (("without", {}, "Failed"), ("with", logins, "Completed")):
        containers = DockerContainers(docker_host, network="none", logins=given)
        endpoint = Endpoint(cloud, containers, step_seconds=0.01, model=sagemaker_model).start()
        try:
            endpoint.client().create_training_job(**{**asked, "TrainingJobName": name})
            endpoint.job(name).wait(seconds=60)
            assert endpoint.job(name).status == status, endpoint.job(name).failure
        finally:
            endpoint.close()
            containers.close()
    assert log(endpoint, "with") == ["here"]


def test_a_deaf_container_is_killed_after_the_grace(on_docker: Endpoint, engine: Engine) -> None:
    client = on_docker.client()
    client.create_training_job(**body("deaf", "/bin/sh", "-c", DEAF, ResourceConfig=machines(2)))
    until(lambda: log(on_docker, "deaf") == ["ready", "ready"])
    assert len(ours(engine)) == 2
    client.stop_training_job(TrainingJobName="deaf")
    on_docker.job("deaf").wait(seconds=60)
    assert on_docker.job("deaf").secondary == "Stopped"
    until(lambda: ours(engine) == [])


def test_checkpoints_of_a_container_outlive_it(on_docker: Endpoint, cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="points")
    script = (
        "test -e /opt/ml/checkpoints/a && echo again && exit 0; "
        "echo 1 > /opt/ml/checkpoints/a; echo saved; while :; do sleep 1; done"
    )
    asked = body("spot", "/bin/sh", "-c", script, **spot(checkpoints="s3://points/p"))
    on_docker.client().create_training_job(**asked)
    until(lambda: s3.list_objects_v2(Bucket="points")["KeyCount"])
    on_docker.job("spot").interrupt()
    on_docker.job("spot").wait(seconds=60)
    assert on_docker.job("spot").status == "Completed"
    assert list(on_docker.log("spot").values()) == [["saved"], ["again"]]


def test_the_end_of_the_endpoint_is_the_end_of_its_containers(on_docker: Endpoint, engine: Engine) -> None:
    on_docker.client().create_training_job(**body("on", "/bin/sh", "-c", DEAF))
    until(lambda: log(on_docker, "on") == ["ready"])
    on_docker.close()
    assert ours(engine) == []

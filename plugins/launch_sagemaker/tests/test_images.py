"""Which images training jobs can have, and how a request names them."""

from __future__ import annotations

from typing import Any

import pytest
from launch_sagemaker.images import uri
from launch_sagemaker.settings import Settings
from launch_sagemaker.testing.samples import AGENT, DIGEST, HOST, IMAGE, ordered

from launchcore.plugin import Fault, ImageRef, LaunchError

VPC = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}


def image_of(image: ImageRef | str, **over: Any) -> str:
    ref = ImageRef(name=image) if isinstance(image, str) else image
    found: str = ordered(image=ref, **over).body["AlgorithmSpecification"]["TrainingImage"]
    return found


@pytest.mark.parametrize(
    ("name", "digest", "wanted"),
    [
        ("h.io/train:1", DIGEST, f"h.io/train@{DIGEST}"),
        ("h.io:5000/a/train", DIGEST, f"h.io:5000/a/train@{DIGEST}"),
        ("h.io:5000/a/train:1", None, "h.io:5000/a/train:1"),
        ("h.io:5000/a/train", None, "h.io:5000/a/train"),
        (f"h.io/train@{DIGEST}", None, f"h.io/train@{DIGEST}"),
        (f"h.io/train:1@{DIGEST}", None, f"h.io/train@{DIGEST}"),
        ("train:1", DIGEST, f"train@{DIGEST}"),
    ],
)
def test_a_tag_never_stands_beside_a_digest(name: str, digest: str | None, wanted: str) -> None:
    assert uri(ImageRef(name=name, digest=digest)) == wanted


@pytest.mark.parametrize(
    "name",
    [
        f"{HOST}/train:1",
        "210987654321.dkr.ecr.us-east-1.amazonaws.com/shared/train",
        "123456789012.dkr-ecr.us-east-1.on.aws/train:1",
    ],
)
def test_ecr_of_the_jobs_region_is_pulled_from(name: str) -> None:
    assert image_of(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "python:3.12",
        "ghcr.io/team/train:1",
        "public.ecr.aws/acme/train",
        "localhost/x",
        f"evil.io/{HOST}/x",
        f"{HOST}.evil.io/train",
    ],
)
def test_no_other_registry_is(name: str) -> None:
    with pytest.raises(LaunchError, match="is in no private registry of ECR") as caught:
        image_of(name)
    assert "registry_hosts" in str(caught.value.hint)
    assert caught.value.fault is Fault.INFRASTRUCTURE


def test_another_region_is_not_pulled_from() -> None:
    with pytest.raises(LaunchError, match="is in us-east-1, and training jobs in eu-west-1") as caught:
        image_of(IMAGE, region="eu-west-1")
    assert "eu-west-1" in str(caught.value.hint)


def test_hosts_of_the_settings_are_trusted() -> None:
    settings = Settings(
        role_arn=AGENT.role_arn, output_path=AGENT.output_path, registry_hosts=("registry.corp:5000",)
    )
    assert image_of("registry.corp:5000/train:1", settings=settings) == "registry.corp:5000/train:1"
    with pytest.raises(LaunchError):
        image_of("registry.corp/train:1", settings=settings)


def test_a_registry_in_the_vpc_needs_a_vpc() -> None:
    algorithm = {"TrainingImageConfig": {"TrainingRepositoryAccessMode": "Vpc"}}
    with pytest.raises(LaunchError, match=r"VpcConfig: is missing: .*TrainingImageConfig"):
        image_of("registry.corp/train:1", queue={"AlgorithmSpecification": algorithm})
    queue = {"AlgorithmSpecification": algorithm, "VpcConfig": VPC}
    assert image_of("registry.corp/train:1", queue=queue) == "registry.corp/train:1"


def test_platform_access_is_ecr() -> None:
    queue = {"AlgorithmSpecification": {"TrainingImageConfig": {"TrainingRepositoryAccessMode": "Platform"}}}
    with pytest.raises(LaunchError, match="no private registry of ECR"):
        image_of("registry.corp/train:1", queue=queue)


def test_without_a_region_nothing_is_said_about_the_registry() -> None:
    assert image_of("image-that-is-built:built", region=None) == "image-that-is-built:built"


@pytest.mark.parametrize("said", [str(IMAGE), uri(IMAGE), IMAGE.name])
def test_the_queue_may_repeat_the_runs_image(said: str) -> None:
    queue = {"AlgorithmSpecification": {"TrainingImage": said}}
    assert image_of(IMAGE, queue=queue) == uri(IMAGE)


@pytest.mark.parametrize("said", [f"{HOST}/other:1", "", 7, ["x"]])
def test_the_queue_names_no_other(said: Any) -> None:
    with pytest.raises(LaunchError, match=r"AlgorithmSpecification.TrainingImage: the queue says") as caught:
        image_of(IMAGE, queue={"AlgorithmSpecification": {"TrainingImage": said}})
    assert "${image_uri}" in str(caught.value.hint)


def test_a_run_is_no_algorithm_of_the_marketplace() -> None:
    with pytest.raises(LaunchError, match=r"AlgorithmSpecification.AlgorithmName: cannot be"):
        image_of(IMAGE, queue={"AlgorithmSpecification": {"AlgorithmName": "xgboost"}})


@pytest.mark.parametrize("name", ["", "a b", "-x", "a\nb", "é/x", "a;b", "$(id)", "a\0"])
def test_what_is_no_name_of_an_image_is_the_runs_mistake(name: str) -> None:
    with pytest.raises(LaunchError, match="is no name of an image") as caught:
        image_of(name)
    assert caught.value.fault is Fault.USER
    assert caught.value.detail.isprintable()


def test_a_run_without_an_image_cannot_be() -> None:
    with pytest.raises(LaunchError, match="needs an image"):
        ordered(image=None)

"""What ``launch queue render`` shows."""

from __future__ import annotations

import pytest
import yaml
from launch_sagemaker.plugin import launch_register_runners
from launch_sagemaker.preview import documents
from launch_sagemaker.settings import Settings
from launch_sagemaker.testing.samples import AGENT, NAME, OWNER, RUN, WITH_STORE, config, ordered, plan

from launchcore.plugin import EnvVar, Given, ImageRef, LaunchError, Secret, SecretFile

GIVEN = Given(
    env=(EnvVar(name="TOKEN", value=Secret("canary")), EnvVar(name="PLAIN", value="seen")),
    files=(SecretFile(name="key.json", content=Secret("canary"), path_env="KEY"),),
)


def test_the_request_is_shown_as_it_would_be_sent() -> None:
    (shown,) = documents(plan(), Given(), AGENT)
    assert yaml.safe_load(shown) == ordered().body
    assert shown.startswith(f"TrainingJobName: {NAME}\n")


def test_secrets_have_names_only() -> None:
    shown = documents(plan(), GIVEN, WITH_STORE)
    assert "canary" not in "".join(shown)
    request, bundle = (yaml.safe_load(each) for each in shown)
    assert request["Environment"]["PLAIN"] == "seen"
    assert bundle["url"] == f"s3://bucket/launch/{OWNER}/{RUN}-1/"
    assert bundle["files"]["files/key.json"] == "<secret>"
    assert bundle["files"]["start"].splitlines()[2:] == [
        "export TOKEN='<secret>'",
        "export KEY=/opt/ml/input/data/launch/files/key.json",
        "exec python train.py",
    ]


def test_what_is_long_is_readable() -> None:
    _, shown = documents(plan(command=("python", "-c", "print(1)\nprint(2)\n")), Given(), WITH_STORE)
    assert "start: |\n" in shown
    assert "\n    print(2)\n" in shown


def test_everything_is_written_out() -> None:
    group = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "InstanceGroupName": "a"}
    queue = config(ResourceConfig={"InstanceGroups": [group, group]})
    assert "&id" not in "".join(documents(plan(settings=queue), Given(), AGENT))


@pytest.mark.parametrize("name", ["image-that-is-built:built", "my-repo:built", "python:3.12"])
def test_an_image_that_has_no_place_yet_is_shown(name: str) -> None:
    (shown,) = documents(plan(image=ImageRef(name=name)), Given(), AGENT)
    assert yaml.safe_load(shown)["AlgorithmSpecification"]["TrainingImage"] == name


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(LaunchError, match="RoleArn: is missing"):
        documents(plan(), Given(), Settings())


def test_the_descriptor_offers_it() -> None:
    (spec,) = launch_register_runners()
    assert spec.render is not None
    assert tuple(spec.render(plan(), Given(), AGENT)) == documents(plan(), Given(), AGENT)

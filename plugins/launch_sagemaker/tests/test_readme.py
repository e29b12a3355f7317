"""What the README promises: its queues make requests that AWS takes, and every key is in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml
from launch_sagemaker import shapes
from launch_sagemaker.request import Order, order
from launch_sagemaker.settings import Settings, TrainingJob
from launch_sagemaker.testing.samples import OWNER, REGION, plan, secret

from launchcore.host.settings import structure
from launchcore.plugin import Given, LaunchError, QueueConfig
from launchcore.queues.admission import check_queue
from launchcore.queues.macros import macro_names, substitute

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
QUEUES = re.findall(r"```yaml\n# queue.yaml\n(.*?)```", README, re.DOTALL)
PAGES = [Path(__file__).parents[3] / name for name in ("README.md", "docs/sagemaker.md")]
ELSEWHERE = [
    text
    for page in PAGES
    for text in re.findall(r"```yaml\n# queue.yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    if "type: sagemaker" in text
]
AGENTS = re.findall(r"```yaml\n# launch-config.yaml\n(.*?)```", README, re.DOTALL)
FIELDS = [*attrs.fields(Settings), *attrs.fields(TrainingJob)]


def key(field: Any) -> str:
    return str(field.metadata.get("key") or field.name)


def agent() -> Settings:
    """The agent of the README."""
    block = yaml.safe_load(AGENTS[0])["plugins"]["sagemaker"]
    return structure(Settings, block, path="plugins.sagemaker")


def asked(text: str, given: Given | None = None, **variables: Any) -> Order:
    """What a run of a queue asks for, by the way that every run takes."""
    queue = structure(QueueConfig, yaml.safe_load(text), path="queue")
    check_queue(queue)
    defaults = {name: schema["default"] for name, schema in queue.variables.items()}
    names = macro_names(run_id="6j2c0000k3fd", attempt=1, queue="gpu", variables={**defaults, **variables})
    config = structure(TrainingJob, substitute(queue.config, names), path="config")
    made = plan(settings=config, limits=queue.limits)
    return order(made, given or Given(), agent(), region=REGION, owner=OWNER)


@pytest.mark.parametrize("text", [*QUEUES, *ELSEWHERE])
@pytest.mark.parametrize("given", [Given(), secret("TOKEN")], ids=["clear", "secret"])
def test_every_queue_makes_a_request_that_aws_takes(text: str, given: Given) -> None:
    from botocore.loaders import Loader
    from botocore.model import ServiceModel
    from botocore.validate import ParamValidator

    body = asked(text, given).body
    model = ServiceModel(Loader().load_service_model("sagemaker", "service-2"))
    shape = model.operation_model("CreateTrainingJob").input_shape
    assert ParamValidator().validate(body, shape).generate_report() == ""
    assert list(shapes.problems(body)) == []


def test_what_the_examples_are_about() -> None:
    """Each of them is there, and none is lost in what becomes of it."""
    bodies = [asked(text).body for text in QUEUES]
    assert len(bodies) == 8
    assert len(ELSEWHERE) == len(PAGES)
    resources = [body["ResourceConfig"] for body in bodies]
    assert any(body.get("EnableManagedSpotTraining") for body in bodies)
    assert {"s3://my-bucket/checkpoints/6j2c0000k3fd"} == {
        body["CheckpointConfig"]["S3Uri"] for body in bodies if "CheckpointConfig" in body
    }
    assert sum("VpcConfig" in body for body in bodies) == 2
    assert any("KeepAlivePeriodInSeconds" in each for each in resources)
    assert any("InstanceGroups" in each for each in resources)
    assert max(each.get("InstanceCount", 0) for each in resources) == 4


def test_who_submits_chooses_among_what_the_owner_allows() -> None:
    (text,) = (text for text in QUEUES if "epochs:" in text)
    body = asked(text, instance="ml.g5.12xlarge", instances=8, epochs=3).body
    assert body["ResourceConfig"] == {
        "InstanceType": "ml.g5.12xlarge",
        "InstanceCount": 8,
        "VolumeSizeInGB": 100,
    }
    assert body["HyperParameters"] == {"epochs": "3", "precision": "bf16"}
    assert body["OutputDataConfig"]["S3OutputPath"] == "s3://my-bucket/output/gpu"


def test_the_error_of_the_readme_is_the_one_that_is_told() -> None:
    found = re.search(r"^(ResourceConfig\.InstanceType: .*)$", README, re.MULTILINE)
    assert found is not None
    with pytest.raises(LaunchError) as caught:
        asked(QUEUES[0].replace("ml.g5.xlarge", "ml.g5.xlrge"))
    assert found[1] in caught.value.detail


def test_the_configuration_of_the_agent_can_be(tmp_path: Path) -> None:
    from launchcore.config.load import load_config

    for text in AGENTS:
        file = tmp_path / "launch-config.yaml"
        file.write_text(text)
        load_config(path=file, environ={"HOME": str(tmp_path)}, flags={})
    assert agent().store == "s3://my-bucket/launch"


@pytest.mark.parametrize("field", FIELDS, ids=key)
def test_every_key_is_there_with_its_meaning(field: Any) -> None:
    row = re.search(
        rf"^\| `{key(field)}` \| (.*?) \| (.*) \|$", README.split("## Every key")[1], re.MULTILINE
    )
    assert row is not None, key(field)
    assert row[2] == field.metadata["help"]
    if isinstance(field.default, str | float) and not isinstance(field.default, bool):
        assert row[1] == f"`{field.default}`"


def test_no_other_key_is_there() -> None:
    table = README.split("## Every key")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [key(field) for field in FIELDS]


def test_commands_of_the_readme_exist() -> None:
    from tests.docs.markdown import blocks
    from tests.docs.test_blocks import launch_commands, unknown_words

    found = [each for each in blocks(Path(__file__).parents[1] / "README.md") if each.language == "console"]
    assert found
    assert [word for each in found for words in launch_commands(each) for word in unknown_words(words)] == []

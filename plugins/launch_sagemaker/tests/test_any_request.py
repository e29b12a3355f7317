"""Whatever queue, run and plugins say: either it is refused in one line, or AWS's own checks take it."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from launch_sagemaker import names, shapes
from launch_sagemaker.request import Order, order
from launch_sagemaker.settings import Settings, TrainingJob
from launch_sagemaker.tags import reserved
from launch_sagemaker.testing.samples import AGENT, HOST, OWNER, REGION, WITH_STORE, plan

from launchcore.host.settings import structure
from launchcore.plugin import EnvVar, Given, ImageRef, Label, LaunchError, Limits, Secret, SecretFile
from launchcore.queues.macros import substitute

CANARY = "canary-0123456789"

texts = st.text(st.characters(exclude_categories=()), max_size=20)
odd = st.sampled_from(["", "a\nb", "\0", "'", '"', "$(id)", "`id`", "é", "🙂", "\ud800", "x" * 600, "-"])
words = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20) | odd | texts
variables = st.dictionaries(st.sampled_from(["A", "B", "TOKEN", "1A", "UID"]) | texts, words, max_size=4)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
numbers = st.integers(min_value=-1, max_value=100_000) | st.sampled_from(["2", "two", 2.0, 10**12])
seconds = st.none() | st.floats(min_value=0.001, max_value=4e6)

GOOD = {"ResourceConfig": {"InstanceType": "ml.m5.xlarge"}}
instances = st.fixed_dictionaries(
    {"InstanceType": st.sampled_from(["ml.m5.xlarge", "ml.g5.2xlarge", "m5"])},
    optional={"InstanceCount": numbers, "KeepAlivePeriodInSeconds": numbers, "Other": anything},
)
channel = st.fixed_dictionaries(
    {
        "ChannelName": st.sampled_from(["train", "test", "launch", "a/b"]),
        "DataSource": st.just({"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/d"}}),
    },
    optional={"InputMode": st.sampled_from(["File", "Pipe", "No"])},
)
configs = st.fixed_dictionaries(
    {},
    optional={
        "ResourceConfig": instances,
        "HyperParameters": st.dictionaries(words, scalars, max_size=3),
        "Environment": variables | st.dictionaries(texts, anything, max_size=2),
        "InputDataConfig": st.lists(channel, max_size=3),
        "StoppingCondition": st.dictionaries(
            st.sampled_from(["MaxRuntimeInSeconds", "MaxWaitTimeInSeconds", "MaxPendingTimeInSeconds"]),
            numbers,
            max_size=3,
        ),
        "AlgorithmSpecification": st.dictionaries(
            st.sampled_from(
                ["TrainingInputMode", "ContainerEntrypoint", "ContainerArguments", "TrainingImage"]
            ),
            anything | st.lists(words, max_size=3),
            max_size=2,
        ),
        "EnableManagedSpotTraining": st.booleans(),
        "CheckpointConfig": st.dictionaries(st.sampled_from(["S3Uri", "LocalPath"]), words, max_size=2),
        "Tags": st.lists(st.dictionaries(st.sampled_from(["Key", "Value"]), scalars, max_size=2), max_size=3),
        "RoleArn": words,
        "OutputDataConfig": st.dictionaries(st.sampled_from(["S3OutputPath", "KmsKeyId"]), words, max_size=2),
        "RetryStrategy": anything,
        "VpcConfig": st.just({"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}),
        "command": st.lists(words, max_size=3),
        "checkpoints": st.sampled_from(["per-run", "shared"]),
    },
)
secrets = st.lists(
    st.sampled_from(["TOKEN", "KEY", "A-B"]).map(lambda name: EnvVar(name=name, value=Secret(CANARY))),
    max_size=2,
    unique_by=lambda each: each.name,
)
files = st.lists(
    texts.map(lambda name: SecretFile(name=name, content=Secret(CANARY), path_env="WHERE")), max_size=2
)
clear = variables.map(lambda found: [EnvVar(name=name, value=value) for name, value in found.items()])
labels = st.dictionaries(texts, texts, max_size=2).map(
    lambda found: tuple(Label(name=name, value=value) for name, value in found.items())
)
plans = st.fixed_dictionaries(
    {
        "command": st.lists(words, max_size=3).map(tuple),
        "env": variables,
        "limits": st.builds(Limits, run_seconds=seconds, start_seconds=seconds),
        "queue": texts,
        "run_id": st.sampled_from(["6j2c0000k3fd", "r"]) | texts,
    },
    optional={"image": st.sampled_from([ImageRef(name=f"{HOST}/a:1"), ImageRef(name="evil;x")])},
)


@pytest.fixture(scope="module")
def validator() -> Any:
    """AWS's own, as the client has it."""
    from botocore.loaders import Loader
    from botocore.model import ServiceModel
    from botocore.validate import ParamValidator

    model = ServiceModel(Loader().load_service_model("sagemaker", "service-2"))
    shape = model.operation_model("CreateTrainingJob").input_shape
    return lambda body: ParamValidator().validate(body, shape).generate_report()


givens = st.builds(
    lambda hidden, shown, kept, tags: Given(env=(*hidden, *shown), files=tuple(kept), labels=tags),
    secrets,
    clear,
    files,
    labels,
)


def asked(
    config: dict[str, Any], parts: dict[str, Any], given: Given, agent: Settings
) -> Order | LaunchError:
    """What comes of it."""
    try:
        queue = structure(TrainingJob, config, path="config")
        return order(plan(settings=queue, **parts), given, agent, region=REGION, owner=OWNER)
    except LaunchError as error:
        return error


@settings(deadline=None, max_examples=200)
@given(config=configs, parts=plans, given=givens, agent=st.sampled_from([AGENT, WITH_STORE]))
def test_it_is_refused_or_it_is_a_request(
    validator: Any, config: dict[str, Any], parts: dict[str, Any], given: Given, *, agent: Settings
) -> None:
    made = asked({**GOOD, **config}, parts, given, agent)
    if isinstance(made, LaunchError):
        assert CANARY not in f"{made.detail} {made.hint}"
    else:
        check(validator, made)


def check(validator: Any, made: Order) -> None:
    """AWS's own checks and ours take it, it is marked as ours, and it has no secret in it."""
    assert validator(made.body) == ""
    assert list(shapes.problems(made.body)) == []
    text = json.dumps(made.body)
    assert CANARY not in text
    assert {tag["Key"]: tag["Value"] for tag in made.body["Tags"]}[names.OWNER] == OWNER
    assert (made.bundle is None) == (made.bundle_url is None) == ("launch/start" not in text)


able = st.sampled_from(["x" * 600, "it's", "a\nb", '"', "$(id)", "-", ""]) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300
)


@settings(deadline=None, max_examples=100)
@given(
    command=st.lists(able, max_size=120).map(lambda words: ("program", *words)),
    env=st.dictionaries(st.from_regex(r"V[A-Z0-9_]{1,8}", fullmatch=True), able, max_size=120),
    hidden=secrets.map(lambda found: tuple(each for each in found if each.name != "A-B")),
    tags=labels,
)
def test_a_run_that_can_be_is_one_when_there_is_a_store(
    validator: Any, command: tuple[str, ...], env: dict[str, str], hidden: tuple[EnvVar, ...], tags: Any
) -> None:
    """Whatever has no room in the request waits in the store, and nothing is lost."""
    mine = tuple(label for label in tags if label.name and not reserved(label.name))
    made = asked(GOOD, {"command": command, "env": env}, Given(env=hidden, labels=mine), WITH_STORE)
    assert isinstance(made, Order), made
    check(validator, made)
    start = made.bundle.files["start"].reveal() if made.bundle else ""
    for name, value in env.items():
        assert made.body["Environment"].get(name) == value or f"export {name}={shlex.quote(value)}\n" in start
    if made.bundle is None:
        assert tuple(made.body["AlgorithmSpecification"]["ContainerArguments"]) == command
    else:
        assert start.endswith(f"\nexec {shlex.join(command)}\n")


@settings(deadline=None)
@given(value=words | st.sampled_from(["}", '": "', "${queue}", "ml.m5.xlarge\nTags: []"]))
def test_a_value_of_a_run_makes_no_key(value: str) -> None:
    """What a macro puts in is one value in its place, whatever it holds."""
    raw = {
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge"},
        "HyperParameters": {"lr": "${inputs.lr}"},
        "Environment": {"NAME": "run ${inputs.lr}"},
    }
    config = substitute(raw, {"inputs": {"lr": value}})
    queue = structure(TrainingJob, config, path="config")
    try:
        made = order(plan(settings=queue), Given(), AGENT, region=REGION, owner=OWNER)
    except LaunchError:
        return
    assert made.body["HyperParameters"] == {"lr": value}
    assert set(made.body["Environment"]) == {"NAME", "LAUNCH_RUN_ID", "LAUNCH_ATTEMPT_ID", "LAUNCH_QUEUE"}
    assert len(made.body["Tags"]) == 4

"""From a plan to a CreateTrainingJob request: what is asked for, and what is refused before AWS does it."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from launch_sagemaker import shapes
from launch_sagemaker.settings import Settings, TrainingJob, members
from launch_sagemaker.testing.samples import (
    IMAGE,
    NAME,
    OWNER,
    ROLE,
    RUN,
    WITH_STORE,
    body,
    config,
    ordered,
    plan,
    refused,
    secret,
)

from launchcore.host.settings import SettingsError, structure
from launchcore.plugin import (
    Fault,
    LaunchError,
    Limits,
)

CHANNEL = {
    "ChannelName": "train",
    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/data"}},
}
VPC = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}


# -- what is asked for ------------------------------------------------------------------------


def test_an_ordinary_run() -> None:
    assert body() == {
        "TrainingJobName": NAME,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": f"{IMAGE.name.removesuffix(':1')}@{IMAGE.digest}",
            "TrainingInputMode": "File",
            "ContainerArguments": ["python", "train.py"],
        },
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        "Environment": {"LAUNCH_RUN_ID": RUN, "LAUNCH_ATTEMPT_ID": f"{RUN}-1", "LAUNCH_QUEUE": "gpu"},
        "Tags": [
            {"Key": "launchcore-owner", "Value": OWNER},
            {"Key": "launchcore-run", "Value": RUN},
            {"Key": "launchcore-attempt", "Value": f"{RUN}-1"},
            {"Key": "launchcore-queue", "Value": "gpu"},
        ],
    }
    assert ordered().bundle is None
    assert ordered().bundle_url is None


def test_the_same_plan_gives_the_same_request_and_is_not_changed() -> None:
    queue = {"InputDataConfig": [CHANNEL], "Tags": [{"Key": "team", "Value": "a"}]}
    made = plan(settings=config(**queue))
    before = json.dumps(made.settings.body())
    assert ordered(queue) == ordered(queue)
    assert json.dumps(made.settings.body()) == before


def test_what_the_queue_says_passes_through() -> None:
    queue = {
        "RoleArn": "arn:aws:iam::123456789012:role/other",
        "ResourceConfig": {
            "InstanceType": "ml.p4d.24xlarge",
            "InstanceCount": 4,
            "VolumeSizeInGB": 500,
            "KeepAlivePeriodInSeconds": 1800,
        },
        "OutputDataConfig": {"S3OutputPath": "s3://other/x", "KmsKeyId": "alias/k"},
        "InputDataConfig": [CHANNEL],
        "VpcConfig": VPC,
        "EnableNetworkIsolation": True,
        "EnableInterContainerTrafficEncryption": False,
        "CheckpointConfig": {"S3Uri": "s3://bucket/c", "LocalPath": "/ckpt"},
        "RetryStrategy": {"MaximumRetryAttempts": 2},
        "DebugHookConfig": {"S3OutputPath": "s3://bucket/d"},
        "ExperimentConfig": {"ExperimentName": "e"},
        "ProfilerConfig": {"DisableProfiler": True},
        "TensorBoardOutputConfig": {"S3OutputPath": "s3://bucket/t"},
        "RemoteDebugConfig": {"EnableRemoteDebug": True},
        "InfraCheckConfig": {"EnableInfraCheck": True},
    }
    made = body({**queue, "checkpoints": "shared"})
    assert {member: made[member] for member in queue} == queue


def test_every_member_that_the_api_has_is_a_key() -> None:
    """A newer botocore may know more of them: for these there is ``members``."""
    known = set(shapes.loaded()[shapes.REQUEST]["members"])
    assert {member for _, member in members()} <= known
    assert len(members()) >= 28


def test_members_of_a_newer_api_have_names_only() -> None:
    newer = attrs.evolve(config(), members={"Tomorrow": {"a": 1}})
    with pytest.raises(LaunchError, match="Tomorrow: is nothing that the agent's boto3 knows"):
        ordered({"members": {"Tomorrow": {"a": 1}}})
    assert newer.body()["Tomorrow"] == {"a": 1}
    with pytest.raises(SettingsError, match=r"config.members: has RoleArn, which is a key by itself"):
        structure(TrainingJob, {"members": {"RoleArn": ROLE}}, path="config")


@pytest.mark.parametrize(
    ("key", "hint"), [("role_arn", "RoleArn"), ("Resource-Config", "ResourceConfig"), ("Tag", "Tags")]
)
def test_a_key_that_is_nearly_right_gets_a_hint(key: str, hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        structure(TrainingJob, {key: "x"}, path="config")
    assert f"use {hint!r}" in str(caught.value.hint)


def test_keys_that_cannot_be_say_why() -> None:
    with pytest.raises(SettingsError, match=r"TrainingJobName: is launchcore's to say: each attempt has"):
        structure(TrainingJob, {"TrainingJobName": "x"}, path="config")
    with pytest.raises(SettingsError, match="a serverless job has no image"):
        structure(TrainingJob, {"ServerlessJobConfig": {"JobType": "FineTuning"}}, path="config")


def test_nothing_is_nothing() -> None:
    assert body({"VpcConfig": None, "Tags": [], "HyperParameters": {}}) == body()


# -- role, output, instances ------------------------------------------------------------------


def test_all_that_is_missing_is_told_at_once() -> None:
    error = refused({"ResourceConfig": None}, settings=Settings())
    for path in ("RoleArn", "OutputDataConfig.S3OutputPath", "ResourceConfig"):
        assert error.detail.count(f"{path}: is missing") == 1
    assert "plugins.sagemaker.role_arn" in str(error.hint)
    assert "plugins.sagemaker.output_path" in str(error.hint)
    assert error.fault is Fault.INFRASTRUCTURE


def test_a_queue_that_says_a_part_of_the_output_gets_the_rest() -> None:
    made = body({"OutputDataConfig": {"CompressionType": "NONE"}})
    assert made["OutputDataConfig"] == {"CompressionType": "NONE", "S3OutputPath": "s3://bucket/output"}


def test_groups_of_instances_stand_for_a_type() -> None:
    groups = [{"InstanceType": "ml.m5.large", "InstanceCount": 1, "InstanceGroupName": "data"}]
    assert body({"ResourceConfig": {"InstanceGroups": groups}})["ResourceConfig"] == {
        "InstanceGroups": groups,
        "VolumeSizeInGB": 30,
    }


def test_preferences_stand_for_a_type_as_soon_as_the_sdk_knows_them() -> None:
    preferred = [{"InstanceType": "ml.g5.xlarge"}, {"InstanceType": "ml.g6.xlarge"}]
    queue = {"ResourceConfig": {"InstancePreferences": preferred, "InstanceCount": 1}}
    if shapes.span("ResourceConfig", "InstancePreferences") is None:
        assert "InstancePreferences: is nothing that the agent's boto3 knows" in refused(queue).detail
    else:
        assert body(queue)["ResourceConfig"]["InstancePreferences"] == preferred


@pytest.mark.parametrize(
    ("resource", "more", "what"),
    [
        ({"InstanceCount": 2}, {}, "ResourceConfig.InstanceType: is missing"),
        ({"InstanceType": "ml.m5.large", "InstanceCount": 0}, {}, "a job needs an instance"),
        (
            {"InstanceType": "ml.m5.large", "SelectedInstanceType": "ml.m5.large"},
            {},
            "cannot be asked for",
        ),
        (
            {"InstanceType": "ml.m5.large", "KeepAlivePeriodInSeconds": 60},
            {"EnableManagedSpotTraining": True},
            "ResourceConfig.KeepAlivePeriodInSeconds: a warm pool cannot be of spot instances",
        ),
        (
            {
                "InstanceType": "ml.m5.large",
                "InstanceGroups": [
                    {"InstanceType": "ml.m5.large", "InstanceCount": 1, "InstanceGroupName": "a"}
                ],
            },
            {},
            "ResourceConfig.InstanceType: cannot be beside InstanceGroups",
        ),
        (
            {"InstancePreferences": [{"InstanceType": "ml.m5.large"}]},
            {"EnableManagedSpotTraining": True},
            "EnableManagedSpotTraining: cannot be with ResourceConfig.InstancePreferences",
        ),
        ({"InstanceType": "ml.m5.xlrge"}, {}, "did you mean 'ml.m5.xlarge'"),
    ],
)
def test_instances_that_cannot_be(resource: dict[str, Any], more: dict[str, Any], what: str) -> None:
    assert what in refused({"ResourceConfig": resource, **more}).detail


def test_a_limit_of_memory_cannot_be_kept() -> None:
    error = refused(limits=Limits(memory_bytes=2**30))
    assert error.fault is Fault.USER
    assert "ResourceConfig.InstanceType" in str(error.hint)


# -- channels, checkpoints, hyperparameters ---------------------------------------------------


def channels(count: int) -> list[dict[str, Any]]:
    return [{**CHANNEL, "ChannelName": f"c{number}"} for number in range(count)]


def test_our_channel_counts() -> None:
    assert len(body({"InputDataConfig": channels(20)})["InputDataConfig"]) == 20
    queue = {"InputDataConfig": channels(20)}
    error = refused(queue, given=secret("TOKEN"), settings=WITH_STORE)
    assert "InputDataConfig: has 21 entries with launchcore's own, and 20 fit" in error.detail
    assert "has 21 entries, and 20 fit" in refused({"InputDataConfig": channels(21)}).detail


def test_our_channels_name_is_ours() -> None:
    error = refused({"InputDataConfig": [{**CHANNEL, "ChannelName": "launch"}]})
    assert "InputDataConfig[0].ChannelName: 'launch' is launchcore's own" in error.detail


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ([CHANNEL, CHANNEL], "InputDataConfig[1].ChannelName: 'train' is there twice"),
        ([{"ChannelName": "a"}], "InputDataConfig[0].DataSource: is missing"),
        ([{}], "InputDataConfig[0].ChannelName: is missing"),
        ([{**CHANNEL, "InputMode": "Fast"}], "InputDataConfig[0].InputMode: 'Fast' is none of its values"),
        (
            [
                {
                    "ChannelName": "efs",
                    "DataSource": {
                        "FileSystemDataSource": {
                            "FileSystemId": "fs-0123456789abcdef0",
                            "FileSystemType": "EFS",
                            "FileSystemAccessMode": "ro",
                            "DirectoryPath": "/data",
                        }
                    },
                }
            ],
            "VpcConfig: is missing: InputDataConfig[0] is a file system",
        ),
    ],
)
def test_channels_that_cannot_be(said: list[Any], what: str) -> None:
    assert what in refused({"InputDataConfig": said}).detail


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("s3://b/c", f"s3://b/c/{RUN}"),
        ("s3://b/c/", f"s3://b/c/{RUN}"),
        ("s3://b", f"s3://b/{RUN}"),
        (f"s3://b/{RUN}/c", f"s3://b/{RUN}/c"),
        (f"s3://b/run-{RUN}", f"s3://b/run-{RUN}"),
        (f"s3://b/x{RUN}", f"s3://b/x{RUN}/{RUN}"),
    ],
)
def test_attempts_of_one_run_share_checkpoints(url: str, wanted: str) -> None:
    queue = {"CheckpointConfig": {"S3Uri": url, "LocalPath": "/c"}}
    for attempt in (1, 2):
        made = body(queue, attempt=attempt, attempt_id=f"{RUN}-{attempt}")
        assert made["CheckpointConfig"] == {"S3Uri": wanted, "LocalPath": "/c"}


def test_two_runs_share_checkpoints_when_the_queue_says_so_only() -> None:
    queue = {"CheckpointConfig": {"S3Uri": "s3://b/c"}}
    assert body(queue, run_id="r1")["CheckpointConfig"] != body(queue, run_id="r11")["CheckpointConfig"]
    shared = {**queue, "checkpoints": "shared"}
    assert body(shared, run_id="r1")["CheckpointConfig"] == {"S3Uri": "s3://b/c"}


def test_hyperparameters_are_text() -> None:
    said = {"lr": 0.001, "epochs": 3, "fast": False, "name": "x", "none": ""}
    made = body({"HyperParameters": said})
    assert made["HyperParameters"] == {"lr": "0.001", "epochs": "3", "fast": "false", "name": "x", "none": ""}
    assert "HyperParameters.lr: expected text, got a list" in refused({"HyperParameters": {"lr": [1]}}).detail


# -- everything together ----------------------------------------------------------------------


def test_mistakes_of_run_and_queue_are_told_together() -> None:
    error = refused({"RoleArn": "x"}, env={"A-B": ""}, limits=Limits(memory_bytes=2**30))
    assert error.fault is Fault.INFRASTRUCTURE
    for what in ("RoleArn: ", "Environment: 'A-B'", "memory of its instances"):
        assert what in error.detail
    assert refused(env={"A-B": ""}).fault is Fault.USER


def test_the_message_has_an_end() -> None:
    error = refused({"Tags": [{"Key": "", "Value": "x"}] * 100})
    assert "more" in error.detail
    assert len(error.detail) < 10_000


def test_a_queue_has_to_say_its_instances_and_nothing_else() -> None:
    assert TrainingJob().body() == {}
    assert refused({"ResourceConfig": None}).detail == (
        "this training job cannot be: ResourceConfig: is missing"
    )

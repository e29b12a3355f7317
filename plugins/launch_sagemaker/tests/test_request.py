"""From a plan to a CreateTrainingJob request: what is asked for, and what is refused before AWS does it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from launch_sagemaker import names, shapes
from launch_sagemaker.bundle import ENTRYPOINT
from launch_sagemaker.settings import Settings, TrainingJob, members
from launch_sagemaker.testing.samples import (
    AGENT,
    IMAGE,
    NAME,
    OWNER,
    ROLE,
    RUN,
    WITH_STORE,
    config,
    ordered,
    plan,
    secret,
)

from launchcore.host.settings import SettingsError
from launchcore.plugin import (
    OWNER_LABEL,
    EnvVar,
    Fault,
    Given,
    Label,
    LaunchError,
    Limits,
    Reason,
    Secret,
    SecretFile,
)

CHANNEL = {
    "ChannelName": "train",
    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/data"}},
}
VPC = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}


def body(queue: dict[str, Any] | None = None, **over: Any) -> dict[str, Any]:
    return ordered(queue, **over).body


def tags_of(made: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in made["Tags"]}


def refused(queue: dict[str, Any] | None = None, **over: Any) -> LaunchError:
    with pytest.raises(LaunchError) as caught:
        ordered(queue, **over)
    assert caught.value.reason is Reason.CONFIG_ERROR
    assert caught.value.detail.isprintable()
    return caught.value


# -- what is asked for ----------------------------------------------------------------------------


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
    known = set(shapes._shapes()[shapes.REQUEST]["members"])
    assert {member for _, member in members()} <= known
    assert len(members()) >= 28


def test_members_of_a_newer_api_have_names_only() -> None:
    newer = attrs.evolve(config(), members={"Tomorrow": {"a": 1}})
    with pytest.raises(LaunchError, match="Tomorrow: is nothing that the agent's boto3 knows"):
        ordered({"members": {"Tomorrow": {"a": 1}}})
    assert newer.body()["Tomorrow"] == {"a": 1}
    with pytest.raises(SettingsError, match=r"config.members: has RoleArn, which is a key by itself"):
        config(members={"RoleArn": ROLE})


@pytest.mark.parametrize(
    ("key", "hint"), [("role_arn", "RoleArn"), ("Resource-Config", "ResourceConfig"), ("Tag", "Tags")]
)
def test_a_key_that_is_nearly_right_gets_a_hint(key: str, hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        config(**{key: "x"})
    assert f"use {hint!r}" in str(caught.value.hint)


def test_keys_that_cannot_be_say_why() -> None:
    with pytest.raises(SettingsError, match=r"TrainingJobName: is launchcore's to say: each attempt has"):
        config(TrainingJobName="x")
    with pytest.raises(SettingsError, match="a serverless job has no image"):
        config(ServerlessJobConfig={"JobType": "FineTuning"})


def test_nothing_is_nothing() -> None:
    assert body({"VpcConfig": None, "Tags": [], "HyperParameters": {}}) == body()


# -- role, output, instances ----------------------------------------------------------------------


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


def test_groups_of_instances_and_preferences_stand_for_a_type() -> None:
    groups = [{"InstanceType": "ml.m5.large", "InstanceCount": 1, "InstanceGroupName": "data"}]
    assert body({"ResourceConfig": {"InstanceGroups": groups}})["ResourceConfig"] == {
        "InstanceGroups": groups,
        "VolumeSizeInGB": 30,
    }
    preferred = [{"InstanceType": "ml.g5.xlarge"}, {"InstanceType": "ml.g6.xlarge"}]
    made = body({"ResourceConfig": {"InstancePreferences": preferred, "InstanceCount": 1}})
    assert made["ResourceConfig"]["InstancePreferences"] == preferred


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


# -- how long -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "limit", "wanted"),
    [
        (None, None, 86400),
        (None, 0.2, 1),
        (None, 99.5, 100),
        (3600, None, 3600),
        (3600, 60.0, 60),
        (60, 3600.0, 60),
        (60, 40 * 86400.0, 60),
        ("3600", None, 3600),
    ],
)
def test_a_run_may_take_the_least_that_anybody_says(said: Any, limit: float | None, wanted: int) -> None:
    queue = {"StoppingCondition": {"MaxRuntimeInSeconds": said}} if said else {}
    made = body(queue, limits=Limits(run_seconds=limit))
    assert made["StoppingCondition"] == {"MaxRuntimeInSeconds": wanted}


def test_no_training_job_takes_more_than_28_days() -> None:
    error = refused(limits=Limits(run_seconds=29 * 86400.0))
    assert "more than 28 days" in error.detail
    assert error.fault is Fault.USER
    error = refused({"StoppingCondition": {"MaxRuntimeInSeconds": 29 * 86400}})
    assert error.fault is Fault.INFRASTRUCTURE


@pytest.mark.parametrize(
    ("said", "limits", "run", "wait"),
    [
        ({}, Limits(), 86400, 172800),
        ({}, Limits(run_seconds=3600.0), 3600, 7200),
        ({}, Limits(run_seconds=3600.0, start_seconds=600.0), 3600, 4200),
        ({"MaxWaitTimeInSeconds": 9000}, Limits(run_seconds=3600.0), 3600, 9000),
        ({"MaxWaitTimeInSeconds": 9000}, Limits(), 9000, 9000),
        ({"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}, Limits(), 60, 60),
    ],
)
def test_spot_waits_as_long_as_it_may(said: dict[str, int], limits: Limits, run: int, wait: int) -> None:
    made = body({"EnableManagedSpotTraining": True, "StoppingCondition": said}, limits=limits)
    assert made["StoppingCondition"] == {"MaxRuntimeInSeconds": run, "MaxWaitTimeInSeconds": wait}


def test_waiting_counts_running_too() -> None:
    queue = {"EnableManagedSpotTraining": True, "StoppingCondition": {"MaxWaitTimeInSeconds": 60}}
    assert (
        "60 is less than MaxRuntimeInSeconds (3600)"
        in refused(queue, limits=Limits(run_seconds=3600.0)).detail
    )


@pytest.mark.parametrize("spot", [None, False])
def test_waiting_is_for_spot_only(spot: bool | None) -> None:
    queue = {"EnableManagedSpotTraining": spot, "StoppingCondition": {"MaxWaitTimeInSeconds": 99999}}
    assert "is for spot instances only" in refused(queue).detail


@pytest.mark.parametrize(
    ("start", "said", "wanted"),
    [
        (None, None, None),
        (60.0, None, None),
        (1800.0, None, 1800),
        (7200.0, None, 7200),
        (7200.0, 3600, 3600),
        (3600.0, 7200, 3600),
        (60.0, 7200, 7200),
        (29 * 86400.0, None, None),
    ],
)
def test_the_limit_for_starting_is_the_services_where_it_can_keep_it(
    start: float | None, said: int | None, wanted: int | None
) -> None:
    queue = {"StoppingCondition": {"MaxPendingTimeInSeconds": said}} if said else {}
    made = body(queue, limits=Limits(start_seconds=start))
    assert made["StoppingCondition"].get("MaxPendingTimeInSeconds") == wanted


@pytest.mark.parametrize("said", ["soon", [1], True, None])
def test_a_time_that_is_none_is_told(said: Any) -> None:
    for limits in (Limits(), Limits(run_seconds=60.0)):
        queue = {"StoppingCondition": {"MaxRuntimeInSeconds": said}}
        assert "StoppingCondition.MaxRuntimeInSeconds: expected" in refused(queue, limits=limits).detail


# -- the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("queue", "command", "entrypoint", "arguments"),
    [
        ({}, ("a", "b"), None, ["a", "b"]),
        ({}, (), None, None),
        ({"command": ["own"]}, (), None, ["own"]),
        ({"command": ["own"]}, ("a",), None, ["a"]),
        ({"AlgorithmSpecification": {"ContainerArguments": ["--n", 3]}}, (), None, ["--n", "3"]),
        ({"AlgorithmSpecification": {"ContainerArguments": ["x"]}}, ("a",), None, ["a"]),
        ({"AlgorithmSpecification": {"ContainerEntrypoint": ["tini", "--"]}}, ("a",), ["tini", "--"], ["a"]),
        ({"AlgorithmSpecification": {"ContainerEntrypoint": ["x"]}}, (), ["x"], None),
        ({"AlgorithmSpecification": {"ContainerArguments": []}}, (), None, None),
    ],
)
def test_what_is_executed(
    queue: dict[str, Any], command: tuple[str, ...], entrypoint: Any, arguments: Any
) -> None:
    found = body(queue, command=command)["AlgorithmSpecification"]
    assert (found.get("ContainerEntrypoint"), found.get("ContainerArguments")) == (entrypoint, arguments)


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (("python", "-c", "a\nb"), "has more than one line"),
        (("x" * 257,), "has 257 characters, and 256 fit"),
        (("x",) * 101, "the command has 101 words, and 100 fit"),
        (("🙂" * 129,), "has 258 characters"),
    ],
)
def test_a_command_that_does_not_fit_waits_in_the_store(command: tuple[str, ...], what: str) -> None:
    error = refused(command=command)
    assert what in error.detail
    assert "plugins.sagemaker.store" in str(error.hint)
    assert error.fault is Fault.USER
    made = ordered(command=command, settings=WITH_STORE)
    assert made.body["AlgorithmSpecification"]["ContainerEntrypoint"] == [*ENTRYPOINT]
    assert "ContainerArguments" not in made.body["AlgorithmSpecification"]
    assert made.bundle is not None
    assert command[-1] in made.bundle.files["start"].reveal()


def test_a_command_that_just_fits_does() -> None:
    command = ("x" * 256, *("y",) * 99)
    made = ordered(command=command)
    assert made.bundle is None
    assert made.body["AlgorithmSpecification"]["ContainerArguments"] == [*command]


def test_a_command_of_the_queue_that_does_not_fit_is_the_queues_mistake() -> None:
    assert refused({"command": ["a\nb"]}, command=()).fault is Fault.INFRASTRUCTURE


@pytest.mark.parametrize("command", [("a\0b",), ("a", "\0"), ("\ud800",)])
def test_a_zero_byte_is_refused(command: tuple[str, ...]) -> None:
    for settings in (AGENT, WITH_STORE):
        assert "zero byte" in refused(command=command, settings=settings).detail


@pytest.mark.parametrize("words", ["train", [["a"]], {"a": 1}, 7])
def test_an_entry_point_that_is_none_is_told(words: Any) -> None:
    queue = {"AlgorithmSpecification": {"ContainerEntrypoint": words}}
    assert "AlgorithmSpecification.ContainerEntrypoint" in refused(queue).detail


# -- variables ------------------------------------------------------------------------------------


def test_whose_variables_win() -> None:
    given = Given(env=(EnvVar(name="B", value="plugin"), EnvVar(name="C", value="plugin")))
    made = body(
        {"Environment": {"A": "queue", "B": "queue", "C": "queue", "N": 1, "T": True, "LAUNCH_QUEUE": "x"}},
        given=given,
        env={"C": "run", "D": "run"},
    )
    assert made["Environment"] == {
        "A": "queue",
        "B": "plugin",
        "C": "run",
        "D": "run",
        "N": "1",
        "T": "true",
        "LAUNCH_RUN_ID": RUN,
        "LAUNCH_ATTEMPT_ID": f"{RUN}-1",
        "LAUNCH_QUEUE": "gpu",
    }


@pytest.mark.parametrize("name", ["A-B", "1A", "", "A B", "é", "A\nB", "A=B"])
def test_a_name_that_no_variable_has(name: str) -> None:
    assert refused(env={name: "x"}).fault is Fault.USER
    assert refused({"Environment": {name: "x"}}).fault is Fault.INFRASTRUCTURE
    error = refused(given=Given(env=(EnvVar(name=name, value="x"),), origin={f"env:{name}": "launch-x 1.0"}))
    assert "launch-x 1.0" in str(error.hint)


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_a_value_that_no_variable_has(value: str) -> None:
    assert "in its value" in refused(env={"A": value}).detail
    assert "in its value" in refused(given=secret("A", value), settings=WITH_STORE).detail


@pytest.mark.parametrize("value", [["x"], {"a": 1}, None])
def test_a_variable_of_the_queue_that_is_no_text(value: Any) -> None:
    assert "Environment.A: expected text" in refused({"Environment": {"A": value}}).detail


def test_a_long_value_waits_in_the_store() -> None:
    env = {"LONG": "x" * 513, "SHORT": "y" * 512}
    error = refused(env=env)
    assert "LONG has 513 characters, and 512 fit" in error.detail
    assert error.fault is Fault.USER
    made = ordered(env=env, settings=WITH_STORE)
    assert made.body["Environment"]["SHORT"] == "y" * 512
    assert "LONG" not in made.body["Environment"]
    assert made.bundle is not None
    assert f"export LONG={'x' * 513}" in made.bundle.files["start"].reveal()


def test_more_than_a_hundred_variables() -> None:
    env = {f"V{n}": "" for n in range(98)}
    error = refused(env=env)
    assert "there are 101 variables with launchcore's own, and 100 fit" in error.detail
    made = ordered(env=env, settings=WITH_STORE)
    assert len(made.body["Environment"]) == 100
    assert made.bundle is not None
    assert made.bundle.files["start"].reveal().count("export ") == 1
    del env["V0"]
    assert ordered(env=env).bundle is None


# -- secrets --------------------------------------------------------------------------------------


def test_a_secret_is_never_in_the_request() -> None:
    given = Given(
        env=(EnvVar(name="TOKEN", value=Secret("canary")),),
        files=(SecretFile(name="key.json", content=Secret("canary"), path_env="KEY"),),
    )
    made = ordered({"Environment": {"TOKEN": "of the queue"}}, given=given, settings=WITH_STORE)
    assert "canary" not in json.dumps(made.body)
    assert "canary" not in repr(made)
    assert "TOKEN" not in made.body["Environment"]
    assert made.body["AlgorithmSpecification"]["ContainerEntrypoint"] == [*ENTRYPOINT]
    assert made.bundle_url == f"s3://bucket/launch/{OWNER}/{RUN}-1/"
    assert made.body["InputDataConfig"] == [
        {
            "ChannelName": "launch",
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": made.bundle_url,
                    "S3DataDistributionType": "FullyReplicated",
                }
            },
            "InputMode": "File",
        }
    ]
    assert made.bundle is not None
    assert set(made.bundle.files) == {"start", "files/key.json"}
    start = made.bundle.files["start"].reveal()
    assert "export TOKEN=canary\n" in start
    assert f"export KEY={names.CHANNEL_FOLDER}/files/key.json\n" in start
    assert start.endswith("\nexec python train.py\n")


def test_without_a_store_a_secret_is_refused() -> None:
    error = refused(given=secret("TOKEN"))
    assert "the secret TOKEN would stand in the request" in error.detail
    assert "plugins.sagemaker.store" in str(error.hint)
    assert "canary" not in f"{error.detail} {error.hint}"
    file = Given(files=(SecretFile(name="key", content=Secret("canary")),))
    assert "the secret file key would stand" in refused(given=file).detail


def test_an_optional_secret_is_left_out() -> None:
    given = attrs.evolve(
        secret("TOKEN", optional=True),
        files=(SecretFile(name="f", content=Secret("canary"), path_env="F", optional=True),),
    )
    assert ordered(given=given) == ordered()
    with_it = ordered(given=given, settings=WITH_STORE)
    assert with_it.bundle is not None


def test_a_secret_needs_a_command() -> None:
    error = refused(given=secret("TOKEN"), settings=WITH_STORE, command=())
    assert "there is no command, and the secret TOKEN needs one" in error.detail
    assert error.fault is Fault.USER
    for command in (("--epochs", "3"), ("",)):
        error = refused(given=secret("TOKEN"), settings=WITH_STORE, command=command)
        assert f"begins with no program, but with {command[0]!r}" in error.detail
        assert "ContainerEntrypoint" in str(error.hint)
        assert ordered(command=command).bundle is None
    entry = {"AlgorithmSpecification": {"ContainerEntrypoint": ["tini", "--"]}}
    made = ordered(entry, given=secret("TOKEN"), settings=WITH_STORE, command=())
    assert made.bundle is not None
    assert made.bundle.files["start"].reveal().endswith("exec tini --\n")
    made = ordered(entry, given=secret("TOKEN"), settings=WITH_STORE)
    assert made.bundle is not None
    assert made.bundle.files["start"].reveal().endswith("exec tini -- python train.py\n")


def test_the_runs_own_variable_comes_before_a_secret() -> None:
    made = ordered(given=secret("TOKEN"), env={"TOKEN": "own"}, settings=WITH_STORE)
    assert made.bundle is None
    assert made.body["Environment"]["TOKEN"] == "own"


@pytest.mark.parametrize("name", ["A B", "a;rm -rf /", "$(id)", "UID", "SHELLOPTS", "", "1"])
def test_a_secret_that_no_shell_can_set(name: str) -> None:
    refused(given=secret(name), settings=WITH_STORE)


def test_two_files_of_one_name_are_refused() -> None:
    files = tuple(SecretFile(name=name, content=Secret("")) for name in ("a b", "a/b"))
    assert (
        "two secret files are called 'a_b'" in refused(given=Given(files=files), settings=WITH_STORE).detail
    )


def test_what_is_too_large_for_the_store_is_refused() -> None:
    large = Secret("x" * (1024 * 1024 + 1))
    files = (SecretFile(name="large", content=large),)
    assert (
        "files/large would have more than 1024 KiB"
        in refused(given=Given(files=files), settings=WITH_STORE).detail
    )


# -- channels, checkpoints, hyperparameters -------------------------------------------------------


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


# -- tags -----------------------------------------------------------------------------------------


def test_tags_of_all() -> None:
    given = Given(labels=(Label(name="cost", value="a;b"), Label(name="team", value="plugin")))
    made = body({"Tags": [{"Key": "team", "Value": "queue"}, {"Key": "n", "Value": 5}]}, given=given)
    found = tags_of(made)
    assert found["team"] == "plugin"
    assert found["n"] == "5"
    assert found["cost"].startswith("a-b-")
    assert {key: found[key] for key in names.TAGS.values()} == tags_of(body())


@pytest.mark.parametrize(
    "key", [*names.TAGS.values(), "launchcore.owner", "LaunchCore-owner", "aws:x", "AWS:x"]
)
def test_nobody_sets_our_tags(key: str) -> None:
    assert "Tags[0]: " in refused({"Tags": [{"Key": key, "Value": "x"}]}).detail
    label = Label(name=key, value="x")
    assert "Tags: " in refused(given=Given(labels=(label,))).detail
    assert body(given=Given(labels=(attrs.evolve(label, optional=True),))) == body()
    labels = {**plan().labels, key: "x", OWNER_LABEL: "somebody else"}
    assert body(labels=labels) == body()


def test_no_more_than_fifty() -> None:
    many = [{"Key": f"k{n}", "Value": ""} for n in range(47)]
    assert "there are 51 with launchcore's four" in refused({"Tags": many}).detail
    assert len(body({"Tags": many[1:]})["Tags"]) == 50


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ([{"Key": "a;b", "Value": ""}], "does not match"),
        ([{"Key": "a"}], "Tags[0].Value: is missing"),
        ([{"Key": "a", "Value": "", "Other": 1}], "Tags[0].Other: is nothing"),
        ([{"Key": "a", "Value": ""}, {"Key": "a", "Value": ""}], "Tags[1]: 'a' is there twice"),
        ([{"Key": "a", "Value": "x" * 257}], "has 257 characters, and 256 fit"),
    ],
)
def test_tags_of_a_queue_that_cannot_be(said: list[Any], what: str) -> None:
    assert what in refused({"Tags": said}).detail


@pytest.mark.parametrize("name", ["a;b", "a\nb", "x" * 300, "🙂", "é", "", "{{}}", "a\0", "\ud800", "aws:x"])
def test_names_of_strangers_become_tags(name: str) -> None:
    made = body(owner=name)
    text = tags_of(made)["launchcore-owner"]
    assert list(shapes.problems(made)) == []
    assert len(text) <= 256
    assert tags_of(body(owner=f"{name}!"))["launchcore-owner"] != text  # no two owners become one


# -- everything together --------------------------------------------------------------------------


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

"""What the agent's configuration and a queue's owner may say. A run can set none of it."""

from __future__ import annotations

import re
from typing import Any, Final, Literal

import attrs
from launch_aws.names import ROLE

from launchcore.plugin import Json, setting

_S3: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[\w!.*'()/=@:+,-]*)?", re.ASCII)


def _positive(_: Any, attribute: Any, value: Any) -> None:
    if value is not None and value <= 0:
        raise ValueError(f"'{attribute.name}' must be more than 0")


def _role(_: Any, attribute: Any, value: Any) -> None:
    if value is not None and not ROLE.fullmatch(value):
        raise ValueError(f"'{attribute.name}' must be the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME")


def _s3(_: Any, attribute: Any, value: Any) -> None:
    if value is not None and not _S3.fullmatch(value):
        raise ValueError(f"'{attribute.name}' must be s3://BUCKET/PREFIX")


@attrs.frozen(kw_only=True)
class Settings:
    """The agent's settings: ``plugins.sagemaker``. Account, credentials and region are the environment's."""

    role_arn: str | None = setting(
        "The role that training jobs work as, where a queue names none (RoleArn).",
        default=None,
        validator=_role,
    )
    output_path: str | None = setting(
        "Where training jobs leave what they made, where a queue says nothing "
        "(OutputDataConfig.S3OutputPath).",
        default=None,
        validator=_s3,
    )
    store: str | None = setting(
        "s3://BUCKET/PREFIX in which secrets, files and long commands wait for a run, and are removed after "
        "it. Without it, runs with secrets are refused: whoever may describe a training job sees its "
        "variables.",
        default=None,
        validator=_s3,
    )
    store_kms_key: str | None = setting(
        "The KMS key that encrypts what is put there; without it, the bucket's own encryption.", default=None
    )
    registry_hosts: tuple[str, ...] = setting(
        "Hosts of further registries that training jobs can pull from, besides ECR in their region: an "
        "endpoint of ECR with a name of its own, or a registry in the VPC of `VpcConfig`.",
        default=(),
    )
    requests_per_second: float = setting(
        "The most looks at training jobs a second, over all runs of a region.",
        default=2.0,
        validator=_positive,
    )
    log_requests_per_second: float = setting(
        "The most requests for logs a second, over all runs of a region.", default=10.0, validator=_positive
    )
    look_seconds: float = setting(
        "Seconds between two looks at one training job in which nothing changes, as far as "
        "`requests_per_second` allows.",
        default=5.0,
        validator=_positive,
    )
    appear_seconds: float = setting(
        "Seconds for which a training job that was just made may be unknown to SageMaker.",
        default=60.0,
        validator=_positive,
    )
    log_settle_seconds: float = setting(
        "Seconds after the end of a training job in which the rest of its log may still come.",
        default=10.0,
        validator=_positive,
    )
    events_queue: str | None = setting(
        "The URL of an SQS queue of the agent's own to which EventBridge sends the state changes of training "
        "jobs: they are seen at once, and looked for less often.",
        default=None,
    )
    sweep: bool = setting("Stop training jobs that agents of this queue service left behind.", default=True)


def _name(_: Any, attribute: Any, value: Any) -> None:
    if value is not None:
        raise ValueError(
            f"'{attribute.name}' is launchcore's to say: each attempt has a name of its own, by which it is "
            "found"
        )


def _serverless(_: Any, attribute: Any, value: Any) -> None:
    if value is not None:
        raise ValueError(f"'{attribute.name}' cannot be: a serverless job has no image, and a run is one")


def _members(_: Any, attribute: Any, value: Any) -> None:
    known = {member for _, member in members()}
    for name in value:
        if name in known:
            raise ValueError(f"'{attribute.name}' has {name}, which is a key by itself: write it beside them")


@attrs.frozen(kw_only=True)
class TrainingJob:
    """A queue's ``config``: a CreateTrainingJob body, with what is launchcore's own in small letters.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
    """

    command: tuple[str, ...] = setting("The command of runs that bring none.", default=())
    checkpoints: Literal["per-run", "shared"] = setting(
        "Where checkpoints go: in a folder of the run below CheckpointConfig.S3Uri, for all of its attempts, "
        "or just there, for all runs.",
        default="per-run",
    )
    members: dict[str, Json] = setting(
        "Further members of the request, by their names: for an API that is newer than this list.",
        factory=dict,
        validator=_members,
    )
    role_arn: str | None = setting(
        "The role that the job works as; without it, the agent's `role_arn`.", default=None, key="RoleArn"
    )
    resource_config: dict[str, Json] | None = setting(
        "The instances: {InstanceType: ml.g5.xlarge}, with InstanceCount (1), VolumeSizeInGB (30), "
        "KeepAlivePeriodInSeconds (a warm pool) …, or InstanceGroups, or InstancePreferences.",
        default=None,
        key="ResourceConfig",
    )
    algorithm_specification: dict[str, Json] | None = setting(
        "TrainingInputMode (File), MetricDefinitions, ContainerEntrypoint (what is started instead of the "
        "image's entry point), TrainingImageConfig … The image is the run's.",
        default=None,
        key="AlgorithmSpecification",
    )
    hyper_parameters: dict[str, Json] | None = setting(
        "Hyperparameters; numbers and booleans become text.", default=None, key="HyperParameters"
    )
    environment: dict[str, Json] | None = setting(
        "Variables of every run, in clear; numbers and booleans become text.", default=None, key="Environment"
    )
    input_data_config: tuple[dict[str, Json], ...] | None = setting(
        "Input channels, from S3, EFS or FSx for Lustre. `launch` is a channel of launchcore's own.",
        default=None,
        key="InputDataConfig",
    )
    output_data_config: dict[str, Json] | None = setting(
        "Where results go: {S3OutputPath: s3://…}; without it, the agent's `output_path`.",
        default=None,
        key="OutputDataConfig",
    )
    stopping_condition: dict[str, Json] | None = setting(
        "MaxRuntimeInSeconds (a day, or the run's limit where that is less), MaxWaitTimeInSeconds (with "
        "spot), MaxPendingTimeInSeconds.",
        default=None,
        key="StoppingCondition",
    )
    managed_spot: bool | None = setting(
        "Spot instances, which AWS may take back; see `CheckpointConfig`.",
        default=None,
        key="EnableManagedSpotTraining",
    )
    checkpoint_config: dict[str, Json] | None = setting(
        "{S3Uri: s3://…}: what is in /opt/ml/checkpoints (or LocalPath) is kept there, and is there again "
        "when the run goes on. See `checkpoints`.",
        default=None,
        key="CheckpointConfig",
    )
    vpc_config: dict[str, Json] | None = setting(
        "{SecurityGroupIds: […], Subnets: […]}: the VPC that the job works in.", default=None, key="VpcConfig"
    )
    network_isolation: bool | None = setting(
        "No network for the container; input and output go on.", default=None, key="EnableNetworkIsolation"
    )
    traffic_encryption: bool | None = setting(
        "Encrypt what instances of one job send each other.",
        default=None,
        key="EnableInterContainerTrafficEncryption",
    )
    tags: tuple[dict[str, Json], ...] | None = setting(
        "Tags beside launchcore's own: [{Key: team, Value: vision}].", default=None, key="Tags"
    )
    retry_strategy: dict[str, Json] | None = setting(
        "{MaximumRetryAttempts: 2}: how often SageMaker itself tries again after an internal error of its "
        "own, within one attempt of the run.",
        default=None,
        key="RetryStrategy",
    )
    debug_hook_config: dict[str, Json] | None = setting(
        "What the Debugger saves, and where: {S3OutputPath: s3://…}.", default=None, key="DebugHookConfig"
    )
    debug_rules: tuple[dict[str, Json], ...] | None = setting(
        "Rules that the Debugger applies to what it saves.", default=None, key="DebugRuleConfigurations"
    )
    tensor_board: dict[str, Json] | None = setting(
        "Where TensorBoard's data goes: {S3OutputPath: s3://…}.", default=None, key="TensorBoardOutputConfig"
    )
    profiler_config: dict[str, Json] | None = setting(
        "What the profiler measures, and where that goes.", default=None, key="ProfilerConfig"
    )
    profiler_rules: tuple[dict[str, Json], ...] | None = setting(
        "Rules that the profiler applies.", default=None, key="ProfilerRuleConfigurations"
    )
    experiment_config: dict[str, Json] | None = setting(
        "The experiment and trial that the job belongs to.", default=None, key="ExperimentConfig"
    )
    mlflow_config: dict[str, Json] | None = setting(
        "The MLflow tracking server that the job reports to.", default=None, key="MlflowConfig"
    )
    model_package_config: dict[str, Json] | None = setting(
        "The model package group that the model is registered in.", default=None, key="ModelPackageConfig"
    )
    remote_debug_config: dict[str, Json] | None = setting(
        "{EnableRemoteDebug: true}: a shell in the container through Systems Manager.",
        default=None,
        key="RemoteDebugConfig",
    )
    infra_check_config: dict[str, Json] | None = setting(
        "{EnableInfraCheck: true}: a health check of the instances before the training.",
        default=None,
        key="InfraCheckConfig",
    )
    session_chaining_config: dict[str, Json] | None = setting(
        "{EnableSessionTagChaining: true}: tags as session tags of the role.",
        default=None,
        key="SessionChainingConfig",
    )
    serverless_job_config: dict[str, Json] | None = setting(
        "Refused: a serverless job has no image, and a run is one.",
        default=None,
        key="ServerlessJobConfig",
        validator=_serverless,
    )
    training_job_name: str | None = setting(
        "Refused: each attempt has a name of its own, by which it is found.",
        default=None,
        key="TrainingJobName",
        validator=_name,
    )

    def body(self) -> dict[str, Json]:
        """What the queue says of the request, by the API's names."""
        said = {member: getattr(self, name) for name, member in members()}
        return {**self.members, **{member: value for member, value in said.items() if value is not None}}


def members() -> tuple[tuple[str, str], ...]:
    """(field, member of the request), in the order of :class:`TrainingJob`."""
    every = attrs.fields(TrainingJob)
    return tuple((each.name, each.metadata["key"]) for each in every if each.metadata.get("key"))

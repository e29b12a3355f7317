"""What the agent's configuration and a queue's owner may say. A run can set none of it."""

from __future__ import annotations

import re
from typing import Any, Final

import attrs

from launchcore.plugin import setting

_ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,512}", re.ASCII)
_S3: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[\w!.*'()/=@:+,-]*)?", re.ASCII)


def _positive(_: Any, attribute: Any, value: Any) -> None:
    if value is not None and value <= 0:
        raise ValueError(f"'{attribute.name}' must be more than 0")


def _role(_: Any, attribute: Any, value: Any) -> None:
    if value is not None and not _ROLE.fullmatch(value):
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
        "The most requests for logs a second, over all runs of a region.", default=5.0, validator=_positive
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


@attrs.frozen(kw_only=True)
class TrainingJob:
    """A queue's ``config``: a CreateTrainingJob body, with what is launchcore's own in small letters."""

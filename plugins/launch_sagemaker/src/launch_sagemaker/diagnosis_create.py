"""What CreateTrainingJob's refusals mean: whose fault, what to do. Pure."""

from __future__ import annotations

import re
from typing import Final

from launch_aws.diagnosis import ACTION, DENIED, scrubbed

from launch_sagemaker.diagnosis_ended import QUOTA, TRUST
from launchcore.plugin import Fault, LaunchError, Reason

AWAY: Final = frozenset(
    {
        *("InternalFailure", "InternalServerError", "InternalServerException", "InternalError"),
        *("ServiceUnavailable", "ServiceUnavailableException", "ServiceException", "RequestTimeout"),
    }
)
NO_SERVICE: Final = frozenset({"UnknownOperationException", "InvalidAction", "RegionDisabledException"})
_PASS_ROLE: Final = re.compile(r"iam:PassRole", re.ASCII)
_ON: Final = re.compile(r"on resource: ?(arn:\S+)", re.ASCII)
_DENIED_BY: Final = re.compile(r"explicit deny in an? ([\w -]{3,40}policy|[\w -]{3,40}boundary)", re.ASCII)
_NONE: Final = re.compile(r"\bis 0 Instances", re.ASCII)
_PATH: Final = re.compile(r"at '([\w.-]{1,120})' failed to satisfy constraint: ?(.{0,400})", re.DOTALL)


def refusal(code: str, message: str, *, region: str | None = None, status: int = 0) -> LaunchError:
    """Why SageMaker made no training job.

    :param code: the error's own word, like ``ValidationException``.
    :param message: what it says.
    :param status: the HTTP status of the answer, where it is known.
    """
    where = f" in {region}" if region else ""
    if code == "ResourceLimitExceeded":
        never = bool(_NONE.search(message))
        return LaunchError(
            f"a quota of the account is full{where}: {scrubbed(message)}",
            reason=Reason.UNSCHEDULABLE,
            hint="the account has no quota of this instance type at all: ask for one (Service Quotas, Amazon "
            "SageMaker), or choose another InstanceType"
            if never
            else QUOTA,
            retryable=not never,
        )
    if code in DENIED or ACTION.search(message):
        return _denied(message)
    if code in NO_SERVICE:
        return _config(
            f"there is no SageMaker for the account{where}: {scrubbed(message, 160)}",
            "choose an environment.region that has it, or turn it on",
        )
    if code in AWAY or status >= 500:
        return LaunchError(
            f"SageMaker did not make the training job{where}: {scrubbed(code, 60)}: {scrubbed(message, 160)}",
            reason=Reason.INFRASTRUCTURE,
            hint="look at the AWS Health Dashboard",
            retryable=True,
        )
    return _invalid(code, message, where)


def _denied(message: str) -> LaunchError:
    action, place, by = ACTION.search(message), _ON.search(message), _DENIED_BY.search(message)
    on = f" on {scrubbed(place[1], 200)}" if place else ""
    if _PASS_ROLE.search(message):
        return _config(
            f"the agent may not give the training job its role: iam:PassRole is not allowed{on}",
            "allow iam:PassRole on it to the agent's user or role, with iam:PassedToService "
            "sagemaker.amazonaws.com",
        )
    name = action[1] if action else "sagemaker:CreateTrainingJob"
    hint = f"allow {name} to the agent's user or role"
    if by:
        hint = f"an explicit deny in a {by[1]} forbids it: whoever owns that can allow it"
    return _config(f"the agent may not start training jobs: {name} is not allowed{on}", hint)


def _invalid(code: str, message: str, where: str) -> LaunchError:
    """It understood, and does not want that."""
    for pattern, detail, hint, reason in _INVALID:
        if pattern.search(message):
            return LaunchError(
                f"{detail}{where}: {scrubbed(message)}", reason=reason, fault=Fault.INFRASTRUCTURE, hint=hint
            )
    if found := _PATH.search(message):
        return _config(
            f"SageMaker does not take `{found[1]}`: {scrubbed(found[2], 240)}",
            "look at the queue's config, and at the variables that the run fills in",
        )
    return _config(
        f"SageMaker does not take the training job{where}: {scrubbed(code, 60)}: {scrubbed(message)}",
        "look at the queue's config",
    )


_S3: Final = (
    "look at the bucket's name and region, and at what RoleArn may do there (s3:ListBucket, s3:GetObject)"
)
_INVALID: Final = tuple(
    (re.compile(words, re.IGNORECASE | re.DOTALL), detail, hint, reason)
    for words, detail, hint, reason in (
        (
            r"assume role|trust (?:policy|relationship)|invalid role"
            r"|\brole .{0,200}(?:not exist|cannot be found)",
            "SageMaker may not work as the queue's role",
            f"does the role exist? {TRUST}",
            Reason.CONFIG_ERROR,
        ),
        (
            r"\brepository\b|registry id|\becr\b|training ?image|image uri|requested image"
            r"|\bimage\b.{0,200}not (?:found|exist)",
            "SageMaker cannot use the image",
            "it must be in ECR, in the region of the job, and RoleArn must be allowed to pull it",
            Reason.IMAGE_PULL,
        ),
        (
            r"no s3 objects|\bbucket\b"
            r"|\bs3\b.{0,400}(?:denied|not exist|forbidden|not found|region|invalid|unable)",
            "SageMaker cannot use what the queue names in S3",
            _S3,
            Reason.CONFIG_ERROR,
        ),
        (
            r"\bkms\b",
            "SageMaker cannot use the KMS key",
            "look at the key's policy and region: RoleArn needs kms:Decrypt, kms:GenerateDataKey and "
            "kms:CreateGrant",
            Reason.CONFIG_ERROR,
        ),
        (
            r"subnet|security ?group|\bvpc\b",
            "SageMaker cannot use the network",
            "look at VpcConfig: subnets and security groups of one VPC, in the region of the job",
            Reason.CONFIG_ERROR,
        ),
        (
            r"instance ?type.{0,200}(?:not (?:supported|available)|unsupported|invalid)"
            r"|'resourceConfig[\w.]*instanceType'",
            "SageMaker has no such instances",
            "look at ResourceConfig.InstanceType: not every region has every type",
            Reason.CONFIG_ERROR,
        ),
    )
)  # fmt: skip
"""What stands in a ValidationException, the first that fits; the fault is the queue's, not the run's."""


def _config(detail: str, hint: str) -> LaunchError:
    return LaunchError(detail, reason=Reason.CONFIG_ERROR, fault=Fault.INFRASTRUCTURE, hint=hint)

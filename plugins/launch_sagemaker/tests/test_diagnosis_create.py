"""Why SageMaker refuses to make a training job: whose fault it is, what to do. The texts are SageMaker's."""

from __future__ import annotations

import pytest
from launch_sagemaker.diagnosis import refusal

from launchcore.plugin import Fault, LaunchError, Reason

INFRA = Fault.INFRASTRUCTURE
ROLE = "arn:aws:iam::123456789012:role/training"
USER_ARN = "arn:aws:sts::123456789012:assumed-role/agent/launchcore"
JOB_ARN = "arn:aws:sagemaker:us-east-1:123456789012:training-job/launch-1-1"
KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


DENIED = (
    f"User: {USER_ARN} is not authorized to perform: {{}} on resource: {{}} because no identity-based policy"
)
ENUM = (
    "1 validation error detected: Value 'ml.p9.large' at 'resourceConfig.instanceType' failed to satisfy "
    "constraint: Member must satisfy enum value set: [ml.m5.large, ml.m5.xlarge]"
)


@pytest.mark.parametrize(
    ("code", "message", "kind", "says", "advice"),
    [
        (
            "ResourceLimitExceeded",
            "The account-level service limit 'ml.p3.2xlarge for training job usage' is 2 Instances, "
            "with current "
            "utilization of 2 Instances and a request delta of 1 Instances. Please use AWS Service Quotas to "
            "request an increase for this quota.",
            (Reason.UNSCHEDULABLE, True),
            "a quota of the account is full in us-east-1",
            "max_running",
        ),
        (
            "ResourceLimitExceeded",
            "The account-level service limit 'ml.p3.2xlarge for training job usage' is 0 Instances, "
            "with current "
            "utilization of 0 Instances and a request delta of 1 Instances.",
            (Reason.UNSCHEDULABLE, False),
            "quota",
            "no quota of this instance type at all",
        ),
        (
            "ValidationException",
            f"Could not assume role {ROLE}. Please ensure that the role exists and allows principal "
            "'sagemaker.amazonaws.com' to assume the role.",
            (Reason.CONFIG_ERROR, False),
            "the queue's role",
            "trust policy",
        ),
        (
            "AccessDeniedException",
            DENIED.format("iam:PassRole", ROLE),
            (Reason.CONFIG_ERROR, False),
            f"iam:PassRole is not allowed on {ROLE}",
            "iam:PassedToService",
        ),
        (
            "AccessDeniedException",
            DENIED.format("sagemaker:CreateTrainingJob", JOB_ARN),
            (Reason.CONFIG_ERROR, False),
            f"sagemaker:CreateTrainingJob is not allowed on {JOB_ARN}",
            "allow sagemaker:CreateTrainingJob",
        ),
        (
            "AccessDeniedException",
            DENIED.format("sagemaker:AddTags", JOB_ARN),
            (Reason.CONFIG_ERROR, False),
            "sagemaker:AddTags",
            "allow sagemaker:AddTags",
        ),
        (
            "AccessDeniedException",
            f"User: {USER_ARN} is not authorized to perform: sagemaker:CreateTrainingJob on resource: "
            f"{JOB_ARN} "
            "with an explicit deny in a service control policy",
            (Reason.CONFIG_ERROR, False),
            "sagemaker:CreateTrainingJob",
            "explicit deny in a service control policy",
        ),
        (
            "AccessDeniedException",
            "no",
            (Reason.CONFIG_ERROR, False),
            "not allowed",
            "sagemaker:CreateTrainingJob",
        ),
        (
            "ValidationException",
            "Cannot find repository: x in registry ID: 123456789012. Please check if your ECR "
            "repository exists "
            f"and role {ROLE} has proper pull permissions for SageMaker: ecr:BatchCheckLayerAvailability",
            (Reason.IMAGE_PULL, False),
            "cannot use the image",
            "ECR",
        ),
        (
            "ValidationException",
            'No S3 objects found under S3 URL "s3://b/train/" given in input data source. Please '
            "ensure that the "
            "bucket exists in the selected region (us-east-1), that objects exist under that S3 "
            "prefix, and that "
            f'the role "{ROLE}" has "s3:ListBucket" permissions on bucket "b".',
            (Reason.CONFIG_ERROR, False),
            "what the queue names in S3",
            "s3:ListBucket",
        ),
        (
            "ValidationException",
            "The subnet ID 'subnet-1' does not exist",
            (Reason.CONFIG_ERROR, False),
            "cannot use the network",
            "VpcConfig",
        ),
        (
            "ValidationException",
            "Access denied to KMS key arn:aws:kms:us-east-1:123456789012:key/x",
            (Reason.CONFIG_ERROR, False),
            "KMS key",
            "kms:Decrypt",
        ),
        ("ValidationException", ENUM, (Reason.CONFIG_ERROR, False), "no such instances", "InstanceType"),
        (
            "ValidationException",
            "1 validation error detected: Value '0' at 'stoppingCondition.maxRuntimeInSeconds' "
            "failed to satisfy "
            "constraint: Member must have value greater than or equal to 1",
            (Reason.CONFIG_ERROR, False),
            "`stoppingCondition.maxRuntimeInSeconds`: Member must have value",
            "the queue's config",
        ),
        (
            "ValidationException",
            "Something new",
            (Reason.CONFIG_ERROR, False),
            "Something new",
            "the queue's",
        ),
        ("ResourceNotFound", "Experiment x", (Reason.CONFIG_ERROR, False), "ResourceNotFound", "the queue's"),
        ("UnknownOperationException", "", (Reason.CONFIG_ERROR, False), "no SageMaker", "environment.region"),
        ("InternalFailure", "oops", (Reason.INFRASTRUCTURE, True), "InternalFailure: oops", "Health"),
        ("ServiceUnavailable", "", (Reason.INFRASTRUCTURE, True), "ServiceUnavailable", "Health"),
    ],
)
def test_a_refused_training_job_says_what_to_do(
    code: str, message: str, kind: tuple[Reason, bool], says: str, advice: str
) -> None:
    found = refusal(code, message, region="us-east-1")

    assert isinstance(found, LaunchError)
    assert ((found.reason, found.retryable), found.fault) == (kind, INFRA), found.detail
    assert says in found.detail
    assert advice in (found.hint or "")


def test_an_answer_of_500_is_no_refusal_of_ours() -> None:
    found = refusal("Whatever", "oops", status=503)

    assert (found.reason, found.retryable) == (Reason.INFRASTRUCTURE, True)


def test_a_refusal_repeats_no_keys() -> None:
    found = refusal("ValidationException", f"bad \n {KEY_ID} {SECRET}")

    assert KEY_ID not in found.detail
    assert SECRET not in found.detail
    assert "\n" not in found.detail

"""What SageMaker gives as a reason → one line, whose fault, what to do. Pure; the texts are SageMaker's."""

from __future__ import annotations

from typing import Any

import pytest
from launch_sagemaker.diagnosis import ending_of, failure_of

from launchcore.plugin import Failure, Fault, Reason

USER, INFRA = Fault.USER, Fault.INFRASTRUCTURE
ROLE = "arn:aws:iam::123456789012:role/training"
USER_ARN = "arn:aws:sts::123456789012:assumed-role/agent/launchcore"
JOB_ARN = "arn:aws:sagemaker:us-east-1:123456789012:training-job/launch-1-1"
KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
NO_TRAIN = 'exec: "train": executable file not found in $PATH: unknown'
TRACEBACK = (
    "AlgorithmError: Framework Error: \nTraceback (most recent call last):\n"
    '  File "/opt/conda/lib/python3.10/site-packages/sagemaker_training/trainer.py", line 88, in train\n'
    "    entrypoint()\n"
    "ModuleNotFoundError: No module named 'flash_attn'\n, exit code: 1"
)
SCRIPT = (
    'AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "{}"\n'
    'Command "/opt/conda/bin/python3.10 train.py --epochs 10", exit code: 1'
)


def failed(reason: str | None, **more: Any) -> dict[str, Any]:
    found = {"TrainingJobStatus": "Failed", "SecondaryStatus": "Failed", **more}
    return found if reason is None else {**found, "FailureReason": reason}


def why(described: dict[str, Any]) -> Failure:
    found = failure_of(described)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("reason", "expected", "fault", "says", "advice"),
    [
        # its own program
        ("AlgorithmError: , exit code: 7", Reason.USER_ERROR, USER, "exit code 7", "launch logs"),
        ("AlgorithmError: Exit Code: 1", Reason.USER_ERROR, USER, "exit code 1", "launch logs"),
        ("AlgorithmError: Exit Code: 139", Reason.USER_ERROR, USER, "signal 11 (SIGSEGV)", "native code"),
        ("AlgorithmError: , exit code: 127", Reason.USER_ERROR, USER, "127: a command was not", "PATH"),
        ("AlgorithmError: , exit code: 126", Reason.USER_ERROR, USER, "could not be executed", "platform"),
        ("AlgorithmError: , exit code: 137", Reason.OUT_OF_MEMORY, USER, "signal 9", "InstanceType"),
        (
            "AlgorithmError: See job logs for more information",
            Reason.USER_ERROR,
            USER,
            "See job logs",
            "logs",
        ),
        ("AlgorithmError:", Reason.USER_ERROR, USER, "says nothing", "launch logs"),
        (TRACEBACK, Reason.USER_ERROR, USER, "exit code 1: ModuleNotFoundError: No module named 'fl", "logs"),
        (
            SCRIPT.format("ValueError: learning rate must be > 0"),
            Reason.USER_ERROR,
            USER,
            "exit code 1: ValueError: learning rate must be > 0",
            "launch logs",
        ),
        (
            SCRIPT.format("RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 15.78 GiB)"),
            Reason.OUT_OF_MEMORY,
            USER,
            "its GPU ran out of memory: RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB",
            "smaller batch",
        ),
        (
            SCRIPT.format("torch.cuda.OutOfMemoryError: CUDA out of memory."),
            Reason.OUT_OF_MEMORY,
            USER,
            "GPU",
            "GPUs",
        ),
        (
            SCRIPT.format("MemoryError: Unable to allocate 5 GiB"),
            Reason.OUT_OF_MEMORY,
            USER,
            "instance",
            "more",
        ),
        (
            "AlgorithmError: Please use an instance type with more memory, or reduce the size of "
            "training data "
            "processed on an instance, exit code: 137",
            Reason.OUT_OF_MEMORY,
            USER,
            "ran out of memory",
            "InstanceType",
        ),
        (
            SCRIPT.format("OSError: [Errno 28] No space left on device"),
            Reason.USER_ERROR,
            USER,
            "its disk is full: OSError",
            "VolumeSizeInGB",
        ),
        (
            SCRIPT.format(
                "RuntimeError: DataLoader worker (pid 50) is killed by signal: Bus error. It is "
                "possible that "
                "dataloader's workers are out of shared memory. Please try to raise your shared "
                "memory limit: "
                "insufficient shared memory (shm)"
            ),
            Reason.USER_ERROR,
            USER,
            "shared memory",
            "fewer workers",
        ),
        # what was to be started
        (
            f"AlgorithmError: {NO_TRAIN}, exit code: 127",
            Reason.USER_ERROR,
            USER,
            "no program `train`",
            "`--`",
        ),
        (
            "ClientError: Artifact upload failed:API error (400): OCI runtime create failed: "
            "container_linux.go:"
            f"380: starting container process caused: {NO_TRAIN}",
            Reason.USER_ERROR,
            USER,
            "no program `train`",
            "command",
        ),
        (
            'AlgorithmError: exec: "python4": executable file not found in $PATH, exit code: 127',
            Reason.USER_ERROR,
            USER,
            "'python4' was not found in the image",
            "PATH",
        ),
        (
            "AlgorithmError: exec train failed: Permission denied, exit code: 126",
            Reason.USER_ERROR,
            USER,
            "'train' could not be executed",
            "executable",
        ),
        (
            "AlgorithmError: OCI runtime create failed: exec /usr/bin/python3: exec format error",
            Reason.USER_ERROR,
            USER,
            "another platform",
            "linux/amd64",
        ),
        (
            "AlgorithmError: CannotStartContainerError. Please make sure the container can be run "
            "with 'docker "
            "run <image> train'. Please refer SageMaker documentation for details.",
            Reason.USER_ERROR,
            USER,
            "could not be started",
            "ENTRYPOINT",
        ),
        # what SageMaker could not do for it
        (
            "ClientError: Cannot pull algorithm container. Either the image does not exist or its "
            "permissions "
            "are incorrect.",
            Reason.IMAGE_PULL,
            USER,
            "could not be pulled",
            "ecr:BatchGetImage",
        ),
        (
            "ClientError: CannotPullContainerError: manifest for "
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/"
            "x:1 not found",
            Reason.IMAGE_PULL,
            USER,
            "could not be pulled",
            "is it there",
        ),
        (
            "ClientError: Data download failed:S3 key: "
            "s3://bucket/image-classification/repository/train matched "
            "no files on s3",
            Reason.CONFIG_ERROR,
            USER,
            "its input data is not there",
            "InputDataConfig",
        ),
        (
            "ClientError: Data download failed:NoSuchBucket (404): The specified bucket does not exist",
            Reason.CONFIG_ERROR,
            USER,
            "not there",
            "variables",
        ),
        (
            "ClientError: Data download failed:AccessDenied (403): Access Denied",
            Reason.CONFIG_ERROR,
            INFRA,
            "role is denied",
            "s3:GetObject",
        ),
        (
            f"ClientError: Data download failed:User: {ROLE} is not authorized to perform: s3:ListBucket",
            Reason.CONFIG_ERROR,
            INFRA,
            "denied",
            "allow s3:ListBucket to it",
        ),
        (
            "ClientError: Data download failed:Insufficient disk space",
            Reason.CONFIG_ERROR,
            INFRA,
            "volume is too small",
            "VolumeSizeInGB",
        ),
        (
            "ClientError: Artifact upload failed:Insufficient disk space",
            Reason.CONFIG_ERROR,
            INFRA,
            "volume is too small",
            "VolumeSizeInGB",
        ),
        (
            "ClientError: Artifact upload failed:Error 7: The credentials received have been expired",
            Reason.CONFIG_ERROR,
            INFRA,
            "could not be stored",
            "OutputDataConfig",
        ),
        (
            "ClientError: Data download failed:Failed to download data. Please check your s3 objects",
            Reason.CONFIG_ERROR,
            INFRA,
            "could not be read",
            "InputDataConfig",
        ),
        (
            "ClientError: Data download failed:Please ensure that the subnet's route table has a "
            "route to an S3 "
            "VPC endpoint or a NAT device, and both the security groups and the subnet's network ACL allow "
            "outbound traffic to S3.",
            Reason.CONFIG_ERROR,
            INFRA,
            "network",
            "VpcConfig",
        ),
        (
            "ClientError: The subnets do not have enough free addresses to launch 4 instances",
            Reason.UNSCHEDULABLE,
            INFRA,
            "free addresses",
            "subnets",
        ),
        (
            f"ClientError: SageMaker was unable to assume the role '{ROLE}'",
            Reason.CONFIG_ERROR,
            INFRA,
            "the queue's role",
            "sagemaker.amazonaws.com",
        ),
        (
            "ClientError: Please use an instance type with more memory, or reduce the size of job data",
            Reason.OUT_OF_MEMORY,
            USER,
            "ran out of memory",
            "InstanceType",
        ),
        ("ClientError: Something new", Reason.CONFIG_ERROR, USER, "Something new", "configuration"),
        # nobody's fault
        (
            "CapacityError: Unable to provision requested ML compute capacity. Please retry using a "
            "different ML "
            "instance type.",
            Reason.UNSCHEDULABLE,
            INFRA,
            "no such instances at the moment",
            "another InstanceType",
        ),
        (
            "InternalServerError: We encountered an internal error.  Please try again.",
            Reason.INFRASTRUCTURE,
            INFRA,
            "an error of its own",
            "retry policy",
        ),
        (
            "ResourceLimitExceeded: The account-level service limit 'ml.p4d.24xlarge for training "
            "job usage' is 1",
            Reason.UNSCHEDULABLE,
            INFRA,
            "a quota of the account is full",
            "max_running",
        ),
        (
            "ClientError: ResourceLimitExceeded: the account-level service limit was reached.",
            Reason.UNSCHEDULABLE,
            INFRA,
            "a quota of the account is full",
            "Service Quotas",
        ),
        (
            "Training job failed because Spot instances were interrupted",
            Reason.UNSCHEDULABLE,
            INFRA,
            "taken back",
            "MaxWaitTimeInSeconds",
        ),
        ("Unhealthy instance", Reason.INFRASTRUCTURE, INFRA, "Unhealthy instance", "launch retry"),
        ("", Reason.INFRASTRUCTURE, INFRA, "no reason", "launch retry"),
    ],
)
def test_a_reason_of_sagemakers_says_whose_fault_it_is_and_what_to_do(
    reason: str, expected: Reason, fault: Fault, says: str, advice: str
) -> None:
    found = why(failed(reason))

    assert (found.reason, found.fault) == (expected, fault), found
    assert says in found.detail
    assert advice in (found.hint or "")
    assert "\n" not in found.detail


@pytest.mark.parametrize("reason", [None, 7, ["x"], "   "])
def test_a_failure_without_words_is_one_too(reason: Any) -> None:
    described = failed(None) if reason is None else {**failed(None), "FailureReason": reason}

    assert why(described).reason is Reason.INFRASTRUCTURE


@pytest.mark.parametrize(
    ("reason", "ending"),
    [
        ("AlgorithmError: , exit code: 7", {"exit_code": 7}),
        ("AlgorithmError: Exit Code: 139", {"signal": 11}),
        ("AlgorithmError: , exit code: 137", {"signal": 9}),
        ("AlgorithmError: ExecuteUserScriptError:\nExitCode -9", {"signal": 9}),
        (SCRIPT.format("it said exit code: 99 itself"), {"exit_code": 1}),
        ("AlgorithmError: , exit code: 0", {}),
        ("AlgorithmError: , exit code: 999", {}),
        ("ClientError: Data download failed", {}),
    ],
)
def test_the_exit_code_is_the_one_that_sagemaker_adds(reason: str, ending: dict[str, int]) -> None:
    assert ending_of(failed(reason)) == ending


def test_a_program_cannot_pose_as_sagemaker() -> None:
    for claim in ("InternalServerError: sorry", "CapacityError: none", "Spot instances were interrupted"):
        assert why(failed(f"AlgorithmError: {claim}, exit code: 3")).reason is Reason.USER_ERROR


def test_hostile_words_become_one_line_without_keys() -> None:
    evil = f"boom \x1b[31m\x07\r\n\u2028{KEY_ID} {SECRET} " + "x" * 5000
    for reason in (f"AlgorithmError: {evil}", f"ClientError: {evil}", evil, SCRIPT.format(evil)):
        found = why(failed(reason))
        assert KEY_ID not in found.detail
        assert SECRET not in found.detail
        assert found.detail.isprintable()
        assert len(found.detail) <= 400

"""A ``FailureReason`` of SageMaker → reason, whose fault, what to do. Pure.

The word before the colon is SageMaker's own, and decides what may be said at all: what follows
``AlgorithmError`` comes from the run's own program (``/opt/ml/output/failure``), which may claim anything.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import Final

from launch_aws.diagnosis import ACTION, scrubbed

from launch_sagemaker.diagnosis_words import (
    configured,
    ending,
    ending_words,
    exit_code,
    failure,
    last_words,
)
from launchcore.plugin import Failure, Fault, Reason

AGAIN: Final = "`launch retry` runs it again, and so does a queue's retry policy"
PRINTED: Final = "`launch logs` shows what it printed"
VOLUME: Final = "raise ResourceConfig.VolumeSizeInGB in the queue, or write less to /opt/ml and /tmp"

_KIND: Final = re.compile(r"\s*([A-Za-z]+(?:Error|Exceeded|Exception|Failure|Found|InUse)):?\s*", re.ASCII)
_GPU: Final = re.compile(
    r"CUDA(?: error:)? out of memory|CUDA_ERROR_OUT_OF_MEMORY|cuda\.OutOfMemoryError"
    r"|CUBLAS_STATUS_ALLOC_FAILED|HIP out of memory|OOM when allocating tensor"
)
_MEMORY: Final = re.compile(
    r"instance type with more memory|\bMemoryError\b|Cannot allocate memory|std::bad_alloc|out of memory",
    re.IGNORECASE,
)
_DISK: Final = re.compile(r"no space left|insufficient disk space|disk quota exceeded", re.IGNORECASE)
_SHARED: Final = re.compile(r"insufficient shared memory|/dev/shm", re.IGNORECASE)
_START: Final = re.compile(
    r"CannotStartContainerError|OCI runtime|\bexec:|exec \S+ failed|executable file not found"
)
_NAME: Final = re.compile(r'exec:?\s*\\?"?([^"\\:\s]{1,60})\\?"?(?=:| failed)', re.ASCII)
_SPOT: Final = re.compile(r"\bspot\b.*\b(?:interrupt|reclaim|terminat)", re.IGNORECASE | re.DOTALL)


def explain(reason: str, *, trained: bool, interrupted: bool) -> Failure:
    """What a job's ``FailureReason`` means.

    :param trained: it has run at all.
    :param interrupted: its spot instances were taken back on the way.
    """
    found = _KIND.match(reason)
    kind, text = (found[1], reason[found.end() :]) if found else ("", reason)
    if kind == "AlgorithmError":
        return _program(text, exit_code(reason))
    if kind == "CapacityError":
        return _capacity(text, interrupted=interrupted)
    if kind in ("InternalServerError", "InternalFailure", "ServiceError"):
        return failure(Reason.INFRASTRUCTURE, f"SageMaker had an error of its own: {scrubbed(text)}", AGAIN)
    if kind == "ResourceLimitExceeded":
        return _quota(text)
    if kind == "ClientError":
        return _client(text)
    if _SPOT.search(reason):
        why = Reason.PREEMPTED if trained else Reason.UNSCHEDULABLE
        return failure(why, f"its spot instances were taken back: {scrubbed(reason)}", SPOT)
    if (code := exit_code(reason)) is not None:
        return _program(text, code)
    said = scrubbed(reason, 300) or "it gives no reason"
    return failure(Reason.INFRASTRUCTURE, f"SageMaker says that it failed: {said}", AGAIN)


QUOTA: Final = (
    "ask for a higher quota of this instance type (Service Quotas, Amazon SageMaker), or give the queue a "
    "`max_running` that it allows"
)
SPOT: Final = (
    "let the queue's retry policy run it again; with CheckpointConfig it goes on where it was, and a larger "
    "StoppingCondition.MaxWaitTimeInSeconds waits longer for instances"
)


# -- its own program ------------------------------------------------------------------------------


def _program(text: str, code: int | None) -> Failure:
    if _START.search(text) and (code in (None, 126, 127, 128)):
        return start_failure(text)
    said = last_words(text)
    more = f": {said}" if said else ""
    if _GPU.search(text):
        return failure(
            Reason.OUT_OF_MEMORY,
            f"its GPU ran out of memory{more}",
            "use less at a time (a smaller batch, mixed precision), or instances whose GPUs have more memory",
        )
    if code == 128 + signal.SIGKILL or _MEMORY.search(text):
        likely = "" if _MEMORY.search(text) else "it was killed (signal 9), most likely because "
        return failure(
            Reason.OUT_OF_MEMORY,
            f"{likely}its instance ran out of memory{more}",
            "use less memory, or give the queue a ResourceConfig.InstanceType that has more",
        )
    if _DISK.search(text):
        return failure(Reason.USER_ERROR, f"its disk is full{more}", VOLUME)
    if _SHARED.search(text):
        return failure(
            Reason.USER_ERROR, f"it needs more shared memory than there is{more}", "use fewer workers"
        )
    return _exit(code, more)


def _exit(code: int | None, more: str) -> Failure:
    if code is None:
        return failure(Reason.USER_ERROR, f"its program failed{more or ', and says nothing'}", PRINTED)
    if code == 127:
        hint = "is the command in the image, and on its PATH?"
        return failure(Reason.USER_ERROR, f"exit code 127: a command was not found{more}", hint)
    if code == 126:
        hint = "is the command executable, and for the instances' platform?"
        return failure(Reason.USER_ERROR, f"exit code 126: a command could not be executed{more}", hint)
    number = ending(code).get("signal")
    crash = "; a crash in native code" if number in (signal.SIGSEGV, signal.SIGILL, signal.SIGABRT) else ""
    words = f"killed by {ending_words(code)}" if number else ending_words(code)
    return failure(Reason.USER_ERROR, f"{words}{more}", f"{PRINTED}{crash}")


def start_failure(text: str) -> Failure:
    """The container could not be started: with ``train``, where nobody said what to start."""
    low, name = text.lower(), _NAME.search(text)
    what = f"{name[1]!r}" if name else "the command"
    if name and name[1] == "train" and ("not found" in low or "no such file" in low):
        return failure(
            Reason.USER_ERROR,
            "the image has no program `train`, which is what SageMaker starts where a run has no command",
            "put the command after `--` when you submit, or give the image a `train` on its PATH",
        )
    if "permission denied" in low:
        hint = "is it executable, for the image's user?"
        return failure(Reason.USER_ERROR, f"{what} could not be executed: permission denied", hint)
    if "exec format error" in low:
        hint = "build it for the instances' platform (linux/amd64; linux/arm64 for Graviton)"
        return failure(Reason.USER_ERROR, "the image is for another platform: exec format error", hint)
    if "not found" in low or "no such file" in low:
        hint = "is it in the image, and on its PATH?"
        return failure(Reason.USER_ERROR, f"{what} was not found in the image", hint)
    return failure(
        Reason.USER_ERROR,
        f"the container could not be started: {scrubbed(text, 240)}",
        "look at the image's ENTRYPOINT, and put the command after `--` when you submit",
    )


# -- what SageMaker did for it --------------------------------------------------------------------


def _capacity(text: str, *, interrupted: bool) -> Failure:
    said = scrubbed(text, 240)
    if interrupted:
        return failure(
            Reason.PREEMPTED, f"its spot instances were taken back, and there are no others: {said}", SPOT
        )
    return failure(
        Reason.UNSCHEDULABLE,
        f"AWS has no such instances at the moment: {said}",
        f"{AGAIN}; or give the queue another InstanceType, further subnets, or another region",
    )


def _client(text: str) -> Failure:
    """SageMaker calls a ``ClientError`` what it was not allowed, or could not find."""
    if _START.search(text):
        return start_failure(text)
    for pattern, make in _CLIENT:
        if pattern.search(text):
            return make(text)
    return failure(
        Reason.CONFIG_ERROR,
        f"SageMaker could not do what it was asked: {scrubbed(text)}",
        "look at the queue's configuration",
    )


def _quota(text: str) -> Failure:
    return failure(Reason.UNSCHEDULABLE, f"a quota of the account is full: {scrubbed(text)}", QUOTA)


def _memory(text: str) -> Failure:
    return failure(
        Reason.OUT_OF_MEMORY,
        f"its instance ran out of memory: {scrubbed(text)}",
        "use less memory, or give the queue a ResourceConfig.InstanceType that has more",
    )


def _image(text: str) -> Failure:
    return failure(
        Reason.IMAGE_PULL,
        f"the image could not be pulled: {scrubbed(text)}",
        "is it there, in ECR of the job's region, may the queue's RoleArn pull it (ecr:BatchGetImage, "
        "ecr:GetDownloadUrlForLayer, ecr:GetAuthorizationToken), and does it fit on the volume?",
    )


def _role(text: str) -> Failure:
    return configured(f"SageMaker may not work as the queue's role: {scrubbed(text)}", TRUST)


TRUST: Final = "the role's trust policy must allow sts:AssumeRole to the service sagemaker.amazonaws.com"


def _network(text: str) -> Failure:
    return configured(
        f"its network does not let it through: {scrubbed(text)}",
        "look at VpcConfig: the subnets need a route to S3 (a gateway endpoint, or NAT), and the security "
        "groups must allow it",
    )


def _addresses(text: str) -> Failure:
    return failure(
        Reason.UNSCHEDULABLE,
        f"its subnets have no free addresses: {scrubbed(text)}",
        "give VpcConfig more, or larger, subnets",
    )


def _denied(text: str) -> Failure:
    action = ACTION.search(text)
    allow = f"allow {action[1]} to it" if action else "allow s3:ListBucket and s3:GetObject, or s3:PutObject"
    return configured(
        f"the queue's role is denied something: {scrubbed(text)}",
        f"look at the policies of RoleArn, and of the bucket and its key: {allow}",
    )


def _missing(text: str) -> Failure:
    return failure(
        Reason.CONFIG_ERROR,
        f"its input data is not there: {scrubbed(text)}",
        "look at InputDataConfig in the queue, and at the variables that the run fills in",
        Fault.USER,
    )


def _full(text: str) -> Failure:
    return configured(f"its volume is too small: {scrubbed(text)}", VOLUME)


def _output(text: str) -> Failure:
    return configured(
        f"what it made could not be stored: {scrubbed(text)}",
        "look at OutputDataConfig, and at what RoleArn may do there (s3:PutObject, kms:GenerateDataKey)",
    )


def _input(text: str) -> Failure:
    return configured(f"its input data could not be read: {scrubbed(text)}", "look at InputDataConfig")


_NO_DATA: Final = r"\A(?!data download|artifact upload).*?"
_CLIENT: Final[tuple[tuple[re.Pattern[str], Callable[[str], Failure]], ...]] = tuple(
    (re.compile(words, re.IGNORECASE | re.DOTALL), make)
    for words, make in (
        (r"ResourceLimitExceeded|service limit|\bquota", _quota),
        (r"more memory", _memory),
        (r"insufficient disk space|no space left", _full),
        (r"assume the role|AssumeRole|trust relationship", _role),
        (rf"{_NO_DATA}(?:\bCannotPull|\bpull\b.*\b(?:container|image)\b|\brepository\b|\becr:)", _image),
        (rf"{_NO_DATA}\bimage\b.*(?:not (?:exist|found)|unknown)", _image),
        (r"free addresses|free ip|insufficient .*\baddress|network interface limit", _addresses),
        (r"subnet|security group|route table|vpc endpoint|connect timeout|timed? ?out", _network),
        (r"no s3 objects|matched no files", _missing),
        (r"access ?denied|forbidden|\b403\b|not authorized|permission|\bkms\b", _denied),
        (r"no ?such ?(?:key|bucket)|not (?:exist|found)|\b404\b", _missing),
        (r"upload failed", _output),
        (r"download failed", _input),
    )
)  # fmt: skip
"""What stands in a ClientError, the first that fits."""

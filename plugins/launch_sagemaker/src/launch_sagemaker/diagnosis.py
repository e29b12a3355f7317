"""Why a training job has failed or was refused: whose fault it is, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from launch_sagemaker.diagnosis_create import refusal
from launch_sagemaker.diagnosis_ended import SPOT, explain
from launch_sagemaker.diagnosis_words import ending, exit_code, failure, limit_words
from launchcore.plugin import Failure, Reason

__all__ = ["ending_of", "failure_of", "refusal", "was_interrupted", "was_trained"]

RAN: Final = frozenset({"Training", "Uploading"})
"""Secondary statuses that say that its program has been started, or is about to."""
_LONGEST: Final = 4096
"""Letters of a reason that are looked at; SageMaker's own bound is 1024."""


def failure_of(described: Mapping[str, Any]) -> Failure | None:
    """Why a job ended as it did, by DescribeTrainingJob's answer. ``None``: it has not failed."""
    status, secondary = described.get("TrainingJobStatus"), described.get("SecondaryStatus")
    if status == "Failed":
        reason = described.get("FailureReason")
        return explain(
            reason[:_LONGEST] if isinstance(reason, str) else "",
            trained=was_trained(described),
            interrupted=was_interrupted(described),
        )
    if status != "Stopped":
        return None
    if secondary == "MaxRuntimeExceeded":
        return failure(
            Reason.RUN_TIMEOUT,
            f"it did not end within {limit_words(described, 'MaxRuntimeInSeconds')}",
            "give the run a longer --timeout, within the queue's limit",
        )
    if secondary == "MaxWaitTimeExceeded":
        within = limit_words(described, "MaxWaitTimeInSeconds")
        if was_trained(described):
            return failure(
                Reason.PREEMPTED,
                f"its spot instances were taken back, and it did not end within {within}",
                SPOT,
            )
        return failure(Reason.UNSCHEDULABLE, f"there were no spot instances within {within}", SPOT)
    return failure(
        Reason.CANCELLED,
        "somebody stopped its training job (StopTrainingJob)",
        "CloudTrail says who; `launch retry` runs it again",
    )


def ending_of(described: Mapping[str, Any]) -> dict[str, int]:
    """``{"exit_code": …}`` or ``{"signal": …}`` of a job that ended; nothing where SageMaker says none."""
    status, reason = described.get("TrainingJobStatus"), described.get("FailureReason")
    if status == "Completed":
        return {"exit_code": 0}
    return ending(exit_code(reason[:_LONGEST])) if status == "Failed" and isinstance(reason, str) else {}


def was_trained(described: Mapping[str, Any]) -> bool:
    """It has come to its own program."""
    return not RAN.isdisjoint([str(described.get("SecondaryStatus")), *_statuses(described)])


def was_interrupted(described: Mapping[str, Any]) -> bool:
    """Its spot instances were taken back at least once."""
    return "Interrupted" in _statuses(described)


def _statuses(described: Mapping[str, Any]) -> list[str]:
    found = described.get("SecondaryStatusTransitions")
    steps = [each for each in found if isinstance(each, Mapping)] if isinstance(found, list | tuple) else []
    return [str(each.get("Status")) for each in steps]

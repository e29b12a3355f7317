"""A training job that was stopped, or has not failed at all: why. Pure."""

from __future__ import annotations

from typing import Any

import pytest
from launch_sagemaker.diagnosis import failure_of

from launchcore.plugin import Failure, Fault, Reason

USER, INFRA = Fault.USER, Fault.INFRASTRUCTURE


def failed(reason: str | None, **more: Any) -> dict[str, Any]:
    found = {"TrainingJobStatus": "Failed", "SecondaryStatus": "Failed", **more}
    return found if reason is None else {**found, "FailureReason": reason}


def why(described: dict[str, Any]) -> Failure:
    found = failure_of(described)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("secondary", "steps", "expected", "fault", "says"),
    [
        ("MaxRuntimeExceeded", ["Training"], Reason.RUN_TIMEOUT, USER, "MaxRuntimeInSeconds of 60 s"),
        ("MaxWaitTimeExceeded", ["Training", "Interrupted"], Reason.PREEMPTED, INFRA, "taken back"),
        ("MaxWaitTimeExceeded", ["Starting"], Reason.UNSCHEDULABLE, INFRA, "no spot instances within"),
        ("Stopped", ["Training"], Reason.CANCELLED, USER, "somebody stopped"),
        ("Stopped", [], Reason.CANCELLED, USER, "StopTrainingJob"),
        ("SomethingNew", [], Reason.CANCELLED, USER, "somebody stopped"),
    ],
)
def test_a_job_that_was_stopped_says_by_what(
    secondary: str, steps: list[str], expected: Reason, fault: Fault, says: str
) -> None:
    found = why(
        {
            "TrainingJobStatus": "Stopped",
            "SecondaryStatus": secondary,
            "SecondaryStatusTransitions": [{"Status": each} for each in steps],
            "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 90},
        }
    )

    assert (found.reason, found.fault) == (expected, fault)
    assert says in found.detail


def test_no_capacity_after_an_interruption_is_a_preemption() -> None:
    steps = [{"Status": each} for each in ("Training", "Interrupted", "Starting")]
    described = failed("CapacityError: Unable to provision", SecondaryStatusTransitions=steps)

    assert why(described).reason is Reason.PREEMPTED


@pytest.mark.parametrize("status", ["InProgress", "Completed", "Stopping", "SomethingNew", None])
def test_what_has_not_failed_has_no_failure(status: str | None) -> None:
    assert failure_of({"TrainingJobStatus": status, "FailureReason": "x"}) is None

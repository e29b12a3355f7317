"""How long a training job may take: what the queue says, within the limits of the run."""

from __future__ import annotations

from typing import Any

import pytest
from launch_sagemaker.testing.samples import (
    body,
    refused,
)

from launchcore.plugin import (
    Fault,
    Limits,
)


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
        (7200.0, None, 7200),
        (9000.0, 8000, 8000),
        (8000.0, 9000, 8000),
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

"""DescribeTrainingJob's answer → how a run is. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch_sagemaker.status import sight_of, status_of

from launchcore.plugin import Phase, Reason

BEGIN = 1_700_000_000.0
CAPACITY = "Insufficient capacity error from EC2 while launching instances, retrying!"


def at(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(BEGIN + seconds, tz=datetime.UTC)


def described(primary: str, *steps: tuple[str, str] | str, **more: Any) -> dict[str, Any]:
    """A job that went through these secondary statuses, ten seconds in each."""
    named = [each if isinstance(each, tuple) else (each, "") for each in steps]
    transitions = [
        {"Status": status, "StatusMessage": said, "StartTime": at(10 * n), "EndTime": at(10 * n + 10)}
        for n, (status, said) in enumerate(named)
    ]
    return {
        "TrainingJobStatus": primary,
        "SecondaryStatus": named[-1][0] if named else "",
        "SecondaryStatusTransitions": transitions,
        **more,
    }


def test_before_its_program_runs_it_is_pending_and_says_how_far_it_is() -> None:
    found = status_of(
        described(
            "InProgress",
            ("Starting", "Preparing the instances for training"),
            ("Downloading", "Downloading data"),
        )
    )

    assert (found.phase, found.progress) == (Phase.PENDING, "Downloading: Downloading data")
    assert found.started_at is None
    assert found.message is None


@pytest.mark.parametrize("now", ["Training", "Uploading", "Interrupted", "Starting", "Restarting", "New"])
def test_once_its_program_ran_it_is_running_whatever_comes_between(now: str) -> None:
    found = status_of(described("InProgress", "Starting", "Training", now))

    assert found.phase is Phase.RUNNING
    assert found.started_at == BEGIN + 10
    assert found.progress == now


@pytest.mark.parametrize(
    "now", ["Starting", "Pending", "LaunchingMLInstances", "Updating", "New", "", None, 7]
)
def test_words_that_are_not_known_are_shown_and_decide_nothing(now: Any) -> None:
    found = status_of({"TrainingJobStatus": "InProgress", "SecondaryStatus": now})

    assert found.phase is Phase.PENDING
    assert found.failure is None


def test_a_job_that_is_stopping_has_not_ended() -> None:
    assert status_of(described("Stopping", "Starting", "Stopping")).phase is Phase.PENDING
    assert status_of(described("Stopping", "Training", "Stopping")).phase is Phase.RUNNING


def test_a_warning_says_that_there_are_no_instances() -> None:
    found = status_of(described("InProgress", ("Starting", CAPACITY)))

    assert (found.phase, found.message) == (Phase.PENDING, CAPACITY)


def test_interruptions_are_counted_and_say_where_it_goes_on() -> None:
    steps = ("Training", "Interrupted", "Starting", "Training", "Interrupted")
    with_it = status_of(described("InProgress", *steps, CheckpointConfig={"S3Uri": "s3://b/c"}))
    without = status_of(described("InProgress", *steps[:2]))

    assert with_it.message == "its spot instances were taken back 2 times, and it goes on at its checkpoint"
    assert without.message == "its spot instances were taken back once, and it goes on from its beginning"


def test_a_success_has_its_times_and_what_it_cost() -> None:
    found = status_of(
        described(
            "Completed",
            "Starting",
            "Training",
            "Completed",
            TrainingEndTime=at(99),
            BillableTimeInSeconds=40,
            TrainingTimeInSeconds=60,
        )
    )

    assert (found.phase, found.exit_code, found.failure, found.progress) == (Phase.SUCCEEDED, 0, None, None)
    assert (found.started_at, found.finished_at) == (BEGIN + 10, BEGIN + 99)
    assert found.usage == {"billed_seconds": 40.0, "training_seconds": 60.0}


def test_a_failure_has_its_exit_code_and_reason() -> None:
    found = status_of(
        described("Failed", "Training", "Failed", FailureReason="AlgorithmError: , exit code: 7")
    )

    assert (found.phase, found.exit_code, found.signal) == (Phase.FAILED, 7, None)
    assert found.failure is not None
    assert found.failure.reason is Reason.USER_ERROR


def test_a_killed_program_has_a_signal_and_no_exit_code() -> None:
    found = status_of(described("Failed", "Training", FailureReason="AlgorithmError: , exit code: 137"))

    assert (found.exit_code, found.signal) == (None, 9)


def test_a_job_that_never_had_instances_has_an_end_too() -> None:
    job = described("Failed", "Starting", "Failed", FailureReason="CapacityError: none")

    assert status_of(job).started_at is None
    assert status_of(job).finished_at == BEGIN + 20
    assert sight_of(job).ended_at == BEGIN + 20
    del job["SecondaryStatusTransitions"]
    assert sight_of(job).ended_at is not None


def test_an_end_is_never_before_its_beginning() -> None:
    found = status_of(described("Stopped", "Starting", "Training", "Stopped", TrainingEndTime=at(5)))

    assert found.started_at == found.finished_at == BEGIN + 5


@pytest.mark.parametrize(
    ("last", "phase"),
    [("Completed", Phase.SUCCEEDED), ("Failed", Phase.FAILED), ("MaxRuntimeExceeded", Phase.FAILED)],
)
def test_a_record_that_is_being_deleted_still_says_how_it_ended(last: str, phase: Phase) -> None:
    same = {**described("Deleting", "Training", last), "SecondaryStatus": "Deleting"}

    assert status_of(same).phase is phase
    assert status_of(described("Deleting", "Training")).phase is Phase.UNKNOWN


@pytest.mark.parametrize("primary", ["Paused", "", None, 7, ["InProgress"]])
def test_a_primary_status_that_is_not_known_is_no_end(primary: Any) -> None:
    found = status_of({"TrainingJobStatus": primary, "SecondaryStatus": "Completed"})

    assert found.phase is Phase.UNKNOWN
    assert "do not understand" in (found.message or "")


@pytest.mark.parametrize(
    ("config", "instances"),
    [
        ({"InstanceCount": 3}, 3),
        ({"InstanceGroups": [{"InstanceCount": 2}, {"InstanceCount": 4}]}, 6),
        ({"InstanceGroups": "odd", "InstanceCount": "odd"}, 1),
        (None, 1),
    ],
)
def test_logs_know_how_many_instances_there_are(config: Any, instances: int) -> None:
    assert sight_of(described("InProgress", "Training", ResourceConfig=config)).instances == instances


def test_logs_know_whether_there_will_be_any() -> None:
    assert not sight_of(described("InProgress", "Downloading")).trained
    assert sight_of(described("Failed", "Training", "Failed")).trained
    assert sight_of(described("InProgress", "Training")).ended_at is None


def test_hostile_words_are_one_line() -> None:
    found = status_of(described("InProgress", ("Training", "a\n\x1b[2Jb capacity\r" + "c" * 900)))

    for text in (found.progress, found.message):
        assert text is not None
        assert text.isprintable()
        assert len(text) < 300


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = (
    *(
        "SecondaryStatus",
        "SecondaryStatusTransitions",
        "FailureReason",
        "StoppingCondition",
        "ResourceConfig",
    ),
    *("TrainingEndTime", "CreationTime", "BillableTimeInSeconds", "TrainingStartTime", "CheckpointConfig"),
)
steps = st.lists(
    st.dictionaries(st.sampled_from(["Status", "StartTime", "EndTime", "StatusMessage"]), odd) | odd,
    max_size=4,
)


@given(
    primary=st.sampled_from(["InProgress", "Completed", "Failed", "Stopping", "Stopped", "Deleting"]) | odd,
    answer=st.dictionaries(st.sampled_from(KEYS), odd),
    transitions=steps,
)
def test_no_answer_is_so_odd_that_it_fails_or_ends_a_run_that_goes_on(
    primary: Any, answer: Mapping[str, Any], transitions: list[Any]
) -> None:
    job = {**answer, "TrainingJobStatus": primary, "SecondaryStatusTransitions": transitions}
    found = sight_of(job)

    assert found == sight_of(job)
    assert found.status.phase.final == (found.ended_at is not None)
    if primary not in ("Completed", "Failed", "Stopped", "Deleting"):
        assert not found.status.phase.final

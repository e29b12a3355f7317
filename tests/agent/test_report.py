"""What an ended attempt means: every way to end, as a table."""

from __future__ import annotations

import pytest

from launchcore.plugin import (
    Failure,
    Fault,
    LaunchError,
    Phase,
    Reason,
    RunStatus,
    Stage,
    Stop,
    Verdict,
)
from launchcore.stages.s5_report import outcome_of
from launchcore.stages.work import describe

EVICTED = Failure(
    reason=Reason.EVICTED, fault=Fault.INFRASTRUCTURE, stage=Stage.EXECUTE, detail="node drained"
)
CANCEL = Stop(attempt_id="r-1", reason=Reason.CANCELLED, detail="cancelled by ada")
TIMEOUT = Stop(attempt_id="r-1", reason=Reason.RUN_TIMEOUT, detail="ran longer than 60 s")


@pytest.mark.parametrize(
    ("status", "stop", "verdict", "reason"),
    [
        (RunStatus(phase=Phase.SUCCEEDED, exit_code=0), None, Verdict.SUCCEEDED, None),
        (RunStatus(phase=Phase.FAILED, exit_code=3), None, Verdict.FAILED, Reason.USER_ERROR),
        (RunStatus(phase=Phase.FAILED, signal=11), None, Verdict.FAILED, Reason.USER_ERROR),
        (RunStatus(phase=Phase.FAILED, failure=EVICTED), None, Verdict.FAILED, Reason.EVICTED),
        (RunStatus(phase=Phase.GONE), None, Verdict.FAILED, Reason.LOST),
        (RunStatus(phase=Phase.FAILED, signal=15), CANCEL, Verdict.CANCELLED, Reason.CANCELLED),
        (RunStatus(phase=Phase.SUCCEEDED, exit_code=0), CANCEL, Verdict.CANCELLED, Reason.CANCELLED),
        (RunStatus(phase=Phase.FAILED, signal=15), TIMEOUT, Verdict.FAILED, Reason.RUN_TIMEOUT),
        (RunStatus(phase=Phase.GONE), CANCEL, Verdict.CANCELLED, Reason.CANCELLED),
    ],
)
def test_outcome(status: RunStatus, stop: Stop | None, verdict: Verdict, reason: Reason | None) -> None:
    outcome = outcome_of(status, stop, plugin="launchcore 1.0")

    assert outcome.verdict is verdict
    assert (outcome.failure.reason if outcome.failure else None) is reason


def test_a_signal_is_named() -> None:
    outcome = outcome_of(RunStatus(phase=Phase.FAILED, signal=11), None, plugin="launchcore 1.0")

    assert outcome.failure is not None
    assert outcome.failure.detail == "killed by signal 11 (SIGSEGV)"


def test_a_preempted_attempt_may_be_tried_again() -> None:
    assert outcome_of(RunStatus(phase=Phase.FAILED, failure=EVICTED), None, plugin="p 1").retryable


def test_a_launch_error_speaks_for_itself() -> None:
    error = LaunchError("no such ref 'mian'", reason=Reason.SOURCE_FAILED, hint="write 'main'")

    failed = describe(error, Stage.SOURCE, "launchcore 1.0")

    assert failed.failure.one_line() == (
        "source_failed (source, launchcore 1.0; fault: user): no such ref 'mian' Try: write 'main'"
    )


def test_anything_else_is_the_plugins_fault_and_says_nothing_of_its_text() -> None:
    """An unexpected exception's text may hold anything, secrets included: it stays in the agent's log."""
    failed = describe(ValueError("password=hunter2"), Stage.BUILD, "launch-x 2.1")

    assert failed.failure.reason is Reason.PLUGIN_ERROR
    assert failed.failure.fault is Fault.PLUGIN
    assert failed.failure.plugin == "launch-x 2.1"
    assert "hunter2" not in failed.failure.one_line()
    assert "ValueError" in failed.failure.detail

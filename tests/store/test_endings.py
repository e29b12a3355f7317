"""What becomes of a run when its attempt has ended: pure, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from launchcore.plugin import Outcome, Reason, RetryPolicy, RunState, Stage, Verdict
from launchcore.store.endings import Standing, after, after_release
from tests.store.rig import failure

RETRIES = RetryPolicy(max_lost=3, reasons=(Reason.OUT_OF_MEMORY,), max_retries=2, delay_seconds=5.0)


def standing(**parts: Any) -> Standing:
    given = {
        "attempt": 1,
        "policy": RETRIES,
        "lost": 0,
        "retries": 0,
        "cancel_requested": False,
        "cancelled_by": "",
    }
    return Standing(**{**given, **parts})


FAILED = Outcome(verdict=Verdict.FAILED, failure=failure())
OOM = Outcome(verdict=Verdict.FAILED, failure=failure(Reason.OUT_OF_MEMORY))
AGAIN = Outcome(verdict=Verdict.FAILED, failure=failure(Reason.INFRASTRUCTURE), retryable=True)
LOST = Outcome(verdict=Verdict.LOST, failure=failure(Reason.LOST))
CANCELLED = Outcome(verdict=Verdict.CANCELLED, failure=failure(Reason.CANCELLED))
SUCCEEDED = Outcome(verdict=Verdict.SUCCEEDED)

Q, S, F, C = RunState.QUEUED, RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED


@pytest.mark.parametrize(
    ("outcome", "given", "state", "retry_in"),
    [
        (SUCCEEDED, {}, S, None),
        (SUCCEEDED, {"cancel_requested": True}, S, None),
        (FAILED, {}, F, None),
        (OOM, {}, Q, 5.0),
        (OOM, {"retries": 1}, Q, 10.0),
        (OOM, {"retries": 2}, F, None),
        (OOM, {"cancel_requested": True}, C, None),
        (AGAIN, {}, Q, 5.0),
        (AGAIN, {"policy": RetryPolicy()}, F, None),
        (LOST, {}, Q, None),
        (LOST, {"lost": 1}, Q, None),
        (LOST, {"lost": 2}, F, None),
        (LOST, {"policy": RetryPolicy(max_lost=0)}, F, None),
        (LOST, {"cancel_requested": True}, C, None),
        (CANCELLED, {}, C, None),
        (Outcome(verdict=Verdict.FAILED), {}, F, None),
        (Outcome(verdict=Verdict.LOST), {"lost": 9}, F, None),
        (Outcome(verdict=Verdict.CANCELLED), {}, C, None),
    ],
)
def test_what_a_run_becomes(
    outcome: Outcome, given: dict[str, Any], state: RunState, retry_in: float | None
) -> None:
    following = after(outcome, standing(**given), now=100.0)

    assert following.state is state
    assert following.retry_at == (None if retry_in is None else 100.0 + retry_in)
    assert (following.failure is not None) == (state in (F, C))
    assert bool(following.note) == (state is Q)


def test_the_delay_has_an_end() -> None:
    policy = RetryPolicy(
        reasons=(Reason.OUT_OF_MEMORY,), max_retries=10_000, delay_seconds=1e300, max_delay_seconds=1e300
    )
    following = after(OOM, standing(policy=policy, retries=9_000), now=0.0)
    assert following.retry_at == 86400.0


def test_a_quarantine_names_the_agents() -> None:
    following = after(LOST, standing(lost=2, agents=("a", "b", "a")), now=0.0)
    assert following.failure is not None
    assert "3 attempts were lost (agents: a, b)" in following.failure.detail
    assert following.failure.reason is Reason.LOST


def test_a_cancel_says_who_and_keeps_the_stage() -> None:
    following = after(FAILED, standing(cancel_requested=True, cancelled_by="ann"), now=0.0)
    assert following.failure is not None
    assert (following.failure.detail, following.failure.stage) == ("cancelled by ann", Stage.EXECUTE)


def test_a_released_attempt_counts_for_nothing() -> None:
    following = after_release(standing(lost=2, retries=1), "drains")
    assert (following.state, following.lost, following.retries) == (Q, 2, 1)
    assert after_release(standing(cancel_requested=True), "drains").state is C

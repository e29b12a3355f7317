"""What becomes of a run when an attempt of it has ended. Pure: values in, a value out."""

from __future__ import annotations

import attrs

from launchcore.plugin import Failure, Fault, Outcome, Reason, RetryPolicy, RunState, Stage, Verdict

_LONGEST_DELAY = 24 * 3600.0


@attrs.frozen(kw_only=True)
class Standing:
    """What counts for the decision, besides the outcome itself."""

    attempt: int
    policy: RetryPolicy
    lost: int
    """Attempts lost before this one."""
    retries: int
    """Failed attempts that were tried again, before this one."""
    cancel_requested: bool
    cancelled_by: str
    agents: tuple[str, ...] = ()
    """The agents of the lost attempts, this one included; for the text of a quarantine."""


@attrs.frozen(kw_only=True)
class Next:
    """What the run becomes. ``note`` is for the time-line; ``retry_at``: not before this time."""

    state: RunState
    lost: int
    retries: int
    failure: Failure | None = None
    retry_at: float | None = None
    note: str = ""


def after(outcome: Outcome, standing: Standing, *, now: float) -> Next:
    """What a run becomes after an attempt with this outcome.

    A run whose cancel was requested is never queued again, and ends as cancelled unless it succeeded.
    """
    lost = standing.lost + (outcome.verdict is Verdict.LOST)
    retries = standing.retries
    if outcome.verdict is Verdict.SUCCEEDED:
        return Next(state=RunState.SUCCEEDED, lost=lost, retries=retries)
    if standing.cancel_requested:
        failure = cancelled(standing.cancelled_by, outcome.failure)
        return Next(state=RunState.CANCELLED, lost=lost, retries=retries, failure=failure)
    if outcome.verdict is Verdict.CANCELLED:
        failure = outcome.failure or cancelled("", None)
        return Next(state=RunState.CANCELLED, lost=lost, retries=retries, failure=failure)
    if outcome.verdict is Verdict.LOST:
        return _after_loss(outcome, standing, lost)
    return _after_failure(outcome, standing, now)


def after_release(standing: Standing, detail: str) -> Next:
    """What a run becomes when its attempt is given back: it started nothing, and nobody is to blame."""
    if standing.cancel_requested:
        return Next(
            state=RunState.CANCELLED,
            lost=standing.lost,
            retries=standing.retries,
            failure=cancelled(standing.cancelled_by, None),
        )
    return Next(state=RunState.QUEUED, lost=standing.lost, retries=standing.retries, note=detail)


def cancelled(by: str, failure: Failure | None) -> Failure:
    """The failure of a cancelled run. ``failure``: how its attempt ended, if one was live."""
    return Failure(
        reason=Reason.CANCELLED,
        fault=Fault.USER,
        stage=failure.stage if failure else Stage.CLAIM,
        detail=f"cancelled by {by}" if by else "cancelled",
    )


def lost(detail: str, *, stage: Stage = Stage.EXECUTE, hint: str | None = None) -> Failure:
    """The failure of an attempt that nobody heard of any more."""
    return Failure(reason=Reason.LOST, fault=Fault.INFRASTRUCTURE, stage=stage, detail=detail, hint=hint)


def _after_loss(outcome: Outcome, standing: Standing, count: int) -> Next:
    failure = outcome.failure or lost("the attempt was lost")
    if count < standing.policy.max_lost:
        return Next(
            state=RunState.QUEUED,
            lost=count,
            retries=standing.retries,
            note=f"attempt {standing.attempt} was lost: queued again",
        )
    who = f" (agents: {', '.join(dict.fromkeys(standing.agents))})" if standing.agents else ""
    times = "1 attempt was lost" if count == 1 else f"{count} attempts were lost"
    quarantined = Failure(
        reason=Reason.LOST,
        fault=Fault.INFRASTRUCTURE,
        stage=failure.stage,
        detail=f"{times}{who}, so it is not tried again: {failure.detail}",
        hint="see whether this run brings its agents or machines down (memory, disk), then `launch retry` it",
    )
    return Next(state=RunState.FAILED, lost=count, retries=standing.retries, failure=quarantined)


def _after_failure(outcome: Outcome, standing: Standing, now: float) -> Next:
    policy = standing.policy
    failure = outcome.failure or Failure(
        reason=Reason.PLUGIN_ERROR,
        fault=Fault.CORE,
        stage=Stage.REPORT,
        detail="the attempt failed, and no reason was given",
    )
    again = outcome.retryable or failure.reason in policy.reasons
    if not again or standing.retries >= policy.max_retries:
        return Next(state=RunState.FAILED, lost=standing.lost, retries=standing.retries, failure=failure)
    delay = min(_LONGEST_DELAY, max(0.0, policy.delay_seconds) * 2.0 ** min(standing.retries, 60))
    return Next(
        state=RunState.QUEUED,
        lost=standing.lost,
        retries=standing.retries + 1,
        retry_at=now + delay,
        note=f"attempt {standing.attempt} failed ({failure.reason.value}): queued again, in {delay:g} s",
    )

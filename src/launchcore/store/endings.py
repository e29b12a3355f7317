"""What becomes of a run when an attempt of it has ended. Pure: values in, a value out."""

from __future__ import annotations

from typing import Any

import attrs

from launchcore.plugin import Failure, Fault, Outcome, Reason, RetryPolicy, RunState, Stage, Verdict

_LONGEST_DELAY = 24 * 3600.0
_RESUMED = frozenset({Reason.PREEMPTED, Reason.EVICTED})


@attrs.frozen(kw_only=True)
class Standing:
    """What counts for the decision, besides the outcome itself."""

    attempt: int
    policy: RetryPolicy
    lost: int
    """Attempts lost before this one."""
    retries: int
    """Failed attempts that were tried again, before this one."""
    preempted: int = 0
    """Attempts that were preempted or evicted, before this one."""
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
    preempted: int = 0
    quarantined: bool = False
    failure: Failure | None = None
    retry_at: float | None = None
    note: str = ""


def after(outcome: Outcome, standing: Standing, *, now: float, chance: float = 0.0) -> Next:
    """What a run becomes after an attempt with this outcome.

    A run whose cancel was requested is never queued again, and ends as cancelled unless it succeeded.

    :param chance: a number from 0 to 1, for the jitter.
    """
    if outcome.verdict is Verdict.SUCCEEDED:
        return _next(standing, RunState.SUCCEEDED)
    if standing.cancel_requested or outcome.verdict is Verdict.CANCELLED:
        asked = standing.cancel_requested or outcome.failure is None
        failure = cancelled(standing.cancelled_by, outcome.failure) if asked else outcome.failure
        lost = standing.lost + (outcome.verdict is Verdict.LOST)
        return _next(standing, RunState.CANCELLED, lost=lost, failure=failure)
    if outcome.verdict is Verdict.LOST:
        return _after_loss(outcome, standing)
    return _after_failure(outcome, standing, now, chance)


def after_release(standing: Standing, detail: str) -> Next:
    """What a run becomes when its attempt is given back: it started nothing, and nobody is to blame."""
    if standing.cancel_requested:
        return _next(standing, RunState.CANCELLED, failure=cancelled(standing.cancelled_by, None))
    return _next(standing, RunState.QUEUED, note=detail)


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


def overdue(waited: float) -> Failure:
    """The failure of a run that waited in its queue for longer than it may, in seconds."""
    return Failure(
        reason=Reason.UNSCHEDULABLE,
        fault=Fault.INFRASTRUCTURE,
        stage=Stage.CLAIM,
        detail=f"no agent took it within {waited:g} s, the longest that it may wait (limits.queue_seconds)",
        hint="see `launch queue show` (paused, full?) and `launch agents`, then `launch retry` it",
    )


def _next(standing: Standing, state: RunState, **changed: Any) -> Next:
    """What does not change stays as it was."""
    kept = {"lost": standing.lost, "retries": standing.retries, "preempted": standing.preempted}
    return Next(state=state, **{**kept, **changed})


def _after_loss(outcome: Outcome, standing: Standing) -> Next:
    failure, count = outcome.failure or lost("the attempt was lost"), standing.lost + 1
    if count < standing.policy.max_lost:
        note = f"attempt {standing.attempt} was lost: queued again"
        return _next(standing, RunState.QUEUED, lost=count, note=note)
    who = f" (agents: {', '.join(dict.fromkeys(standing.agents))})" if standing.agents else ""
    times = "1 attempt was lost" if count == 1 else f"{count} attempts were lost"
    quarantined = Failure(
        reason=Reason.LOST,
        fault=Fault.INFRASTRUCTURE,
        stage=failure.stage,
        detail=f"quarantined: {times}{who}, so it is not tried again: {failure.detail}",
        hint="see whether this run brings its agents or machines down (memory, disk), then `launch retry` it",
    )
    return _next(standing, RunState.FAILED, lost=count, failure=quarantined, quarantined=True)


def _after_failure(outcome: Outcome, standing: Standing, now: float, chance: float) -> Next:
    policy, retries = standing.policy, standing.retries
    failure = outcome.failure or Failure(
        reason=Reason.PLUGIN_ERROR,
        fault=Fault.CORE,
        stage=Stage.REPORT,
        detail="the attempt failed, and no reason was given",
    )
    what = f"attempt {standing.attempt} failed ({failure.reason.value})"
    if failure.reason in _RESUMED:
        what = f"attempt {standing.attempt} was {failure.reason.value}"
        if standing.preempted < policy.max_preempted:
            count = standing.preempted + 1
            note = f"{what}: queued again ({count} of at most {policy.max_preempted} times)"
            return _next(standing, RunState.QUEUED, preempted=count, note=note)
        if standing.preempted:
            detail = f"{failure.detail} (it was resumed {standing.preempted} times before, and is not again)"
            failure = attrs.evolve(failure, detail=detail)
    again = outcome.retryable or failure.reason in policy.reasons
    if not again or retries >= policy.max_retries:
        return _next(standing, RunState.FAILED, failure=failure)
    wait = delay(policy, retries, chance)
    note = f"{what}: queued again, in {wait:.3g} s (retry {retries + 1} of {policy.max_retries})"
    return _next(standing, RunState.QUEUED, retries=retries + 1, retry_at=now + wait, note=note)


def delay(policy: RetryPolicy, retries: int, chance: float) -> float:
    """Seconds before the next retry, after so many: they double, have a bound, and differ by chance."""
    longest = min(_LONGEST_DELAY, max(0.0, policy.max_delay_seconds))
    wait = min(longest, max(0.0, policy.delay_seconds) * 2.0 ** min(retries, 60))
    return wait * (1.0 - min(1.0, max(0.0, policy.jitter)) * chance)

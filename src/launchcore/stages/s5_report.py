"""RunStatus → Outcome: what an ended attempt means to its run."""

from __future__ import annotations

import signal as signals

import attrs

from launchcore.host.host import Host
from launchcore.plugin import (
    Failure,
    Fault,
    Outcome,
    Phase,
    Reason,
    RunStatus,
    Stage,
    Stop,
    Verdict,
)

_RETRYABLE = frozenset({Reason.PREEMPTED, Reason.EVICTED})


def outcome_of(status: RunStatus, stop: Stop | None, *, plugin: str) -> Outcome:
    """Pure. ``stop``: the runner was asked to stop it before it ended, and why."""
    usage = dict(status.usage)
    if stop is not None:
        verdict = Verdict.CANCELLED if stop.reason is Reason.CANCELLED else Verdict.FAILED
        return Outcome(
            verdict=verdict,
            failure=stopped(stop, Stage.EXECUTE),
            exit_code=status.exit_code,
            signal=status.signal,
            usage=usage,
        )
    if status.phase is Phase.SUCCEEDED:
        return Outcome(verdict=Verdict.SUCCEEDED, exit_code=status.exit_code or 0, usage=usage)
    failure = status.failure or _default_failure(status)
    return Outcome(
        verdict=Verdict.FAILED,
        failure=attrs.evolve(failure, plugin=failure.plugin or plugin),
        exit_code=status.exit_code,
        signal=status.signal,
        retryable=failure.reason in _RETRYABLE,
        usage=usage,
    )


def stopped(stop: Stop, where: Stage) -> Failure:
    """The failure of an attempt that was stopped: by a person, or by a deadline."""
    if stop.reason is Reason.CANCELLED:
        return Failure(
            reason=Reason.CANCELLED, fault=Fault.USER, stage=where, detail=stop.detail or "cancelled"
        )
    hint = {
        Reason.RUN_TIMEOUT: "give the run a longer --timeout, within the queue's limit",
        Reason.START_TIMEOUT: "look at the queue's capacity, or raise its limits.start_seconds",
    }.get(stop.reason)
    fault = Fault.USER if stop.reason is Reason.RUN_TIMEOUT else Fault.INFRASTRUCTURE
    return Failure(
        reason=stop.reason, fault=fault, stage=where, detail=stop.detail or stop.reason.value, hint=hint
    )


def _default_failure(status: RunStatus) -> Failure:
    """For a runner that gives no diagnosis of its own."""
    if status.phase is Phase.GONE:
        return Failure(
            reason=Reason.LOST,
            fault=Fault.INFRASTRUCTURE,
            stage=Stage.EXECUTE,
            detail=status.message or "what was started has disappeared without a result",
            hint="`launch retry` runs it again, if it may run twice",
        )
    if status.signal is not None:
        name = signals.Signals(status.signal).name if status.signal in set(signals.Signals) else "?"
        detail = f"killed by signal {status.signal} ({name})"
    else:
        detail = f"exit code {status.exit_code}"
    return Failure(
        reason=Reason.USER_ERROR,
        fault=Fault.USER,
        stage=Stage.EXECUTE,
        detail=detail,
        hint="`launch logs` shows what it printed",
    )


def explained(host: Host, outcome: Outcome) -> Outcome:
    """The outcome with the hints of all plugins added to its failure's own."""
    if outcome.failure is None or outcome.failure.reason is Reason.CANCELLED:
        return outcome
    texts = [hint.text for hint in host.calls.explain_failure(outcome.failure)]
    if outcome.failure.hint:
        texts.insert(0, outcome.failure.hint)
    hint = "; ".join(dict.fromkeys(texts)) or None
    return attrs.evolve(outcome, failure=attrs.evolve(outcome.failure, hint=hint))

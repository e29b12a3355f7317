"""Ending an attempt, and carrying out what :mod:`launchcore.store.endings` says of its run."""

from __future__ import annotations

import random
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from launchcore.plugin import Failure, Outcome, RunState, Stage, Verdict
from launchcore.queues.retries import policy_of
from launchcore.store import codec, endings, quarantine, timeline
from launchcore.store.lookup import ATTEMPT_OF_RUN, config_of, is_of_run
from launchcore.store.prepared import Prepared
from launchcore.store.tables import attempts, queues, run_specs, runs
from launchcore.store.writer import Transaction

RELEASED = "released"
"""The verdict of an attempt that was given back."""

ENDED: dict[str, Any] = {
    "state": bindparam("p_final"),
    "verdict": bindparam("p_verdict"),
    "ended_at": bindparam("p_now", type_=sa.Float),
    "failure": bindparam("p_failure"),
    "exit_code": bindparam("p_exit_code"),
    "signal": bindparam("p_signal"),
    "usage": bindparam("p_usage"),
    "stop_at": sa.null(),
    "adoptable_since": sa.null(),
}
"""The columns that end an attempt."""

_END_OTHERWISE = (
    attempts.update()
    .where(attempts.c.id == bindparam("p_id"), attempts.c.ended_at.is_(None))
    .values({**ENDED, "lease_token": bindparam("p_token")})
)
_SETTLE = (
    runs.update()
    .where(runs.c.seq == bindparam("p_seq"))
    .values(
        state=bindparam("p_state"),
        ended_at=bindparam("p_ended", type_=sa.Float),
        failure=bindparam("p_failure"),
        exit_code=bindparam("p_exit_code"),
        signal=bindparam("p_signal"),
        retry_at=bindparam("p_retry_at", type_=sa.Float),
        lost=bindparam("p_lost"),
        retries=bindparam("p_retries"),
        preempted=bindparam("p_preempted"),
        quarantined=bindparam("p_quarantined"),
        queue_until=bindparam("p_waits_from", type_=sa.Float) + runs.c.queue_seconds,
        changes=runs.c.changes + 1,
    )
)
_SUCCEED = Prepared(
    runs.update()
    .where(runs.c.seq == bindparam("p_seq"))
    .values(
        state=RunState.SUCCEEDED.value,
        ended_at=bindparam("p_ended", type_=sa.Float),
        exit_code=bindparam("p_exit_code"),
        failure=sa.null(),
        signal=sa.null(),
        changes=runs.c.changes + 1,
    )
    .returning(
        sa.select(queues.c.name)
        .where(queues.c.id == runs.c.queue_id)
        .correlate(runs)
        .scalar_subquery()
        .label("queue"),
        sa.select(queues.c.max_running)
        .where(queues.c.id == runs.c.queue_id)
        .correlate(runs)
        .scalar_subquery()
        .label("max_running"),
        runs.c.lane,
        quarantine.COUNT.label("quarantined"),
    )
)
_QUEUE = sa.select(queues.c.name).where(queues.c.id == bindparam("queue"))
_SPEC = sa.select(run_specs.c.spec).where(run_specs.c.seq == bindparam("seq"))
_LOST_AGENTS = (
    sa.select(attempts.c.agent)
    .where(is_of_run("seq"), attempts.c.verdict == Verdict.LOST.value)
    .order_by(attempts.c.number)
)
_FINAL = {
    Verdict.SUCCEEDED: RunState.SUCCEEDED,
    Verdict.FAILED: RunState.FAILED,
    Verdict.CANCELLED: RunState.CANCELLED,
    Verdict.LOST: RunState.FAILED,
}


def values_of(outcome: Outcome) -> dict[str, Any]:
    """The parameters of :data:`ENDED`."""
    return {
        "p_final": _FINAL[outcome.verdict].value,
        "p_verdict": outcome.verdict.value,
        "p_failure": codec.optional(outcome.failure),
        "p_exit_code": outcome.exit_code,
        "p_signal": outcome.signal,
        "p_usage": codec.encode_usage(outcome.usage) if outcome.usage else None,
    }


def settle(transaction: Transaction, run_id: str, number: int, run_seq: int, outcome: Outcome) -> None:
    """Say what becomes of the run of an attempt that its holder has just ended."""
    if outcome.verdict is Verdict.SUCCEEDED:
        values = {"p_seq": run_seq, "p_ended": transaction.now, "p_exit_code": outcome.exit_code}
        run = _SUCCEED.first(transaction.connection, values)
        if run.max_running is not None or run.lane:
            transaction.ring(f"queue:{run.queue}")  # a slot is free
        if run.quarantined is not None:
            quarantine.forget(transaction, run_seq)
        return
    row = transaction.execute(ATTEMPT_OF_RUN, {"run": run_id, "number": number}).one()
    _settle(
        transaction,
        row,
        endings.after(outcome, _standing(transaction, row), now=transaction.now, chance=random.random()),
        outcome,
    )


def lose(transaction: Transaction, row: Any, failure: Failure, *, again: bool) -> None:
    """End an attempt whose lease nobody renews any more, and fence its holder off for good.

    :param again: it never started anything, so the run may be queued again.
    """
    verdict = Verdict.LOST if again else Verdict.FAILED
    outcome = Outcome(verdict=verdict, failure=failure)
    _end(transaction, row, outcome, verdict=Verdict.LOST.value, token="")
    standing = _standing(transaction, row)
    _settle(transaction, row, endings.after(outcome, standing, now=transaction.now), outcome)


def release(transaction: Transaction, row: Any, detail: str, *, fence: bool = False) -> None:
    """End an attempt as given back. ``fence``: not by its holder, whose token counts no more."""
    detail = codec.text(detail)
    failure = endings.lost(detail, stage=Stage.CLAIM)
    outcome = Outcome(verdict=Verdict.LOST, failure=failure)
    _end(transaction, row, outcome, verdict=RELEASED, token="" if fence else row.lease_token)
    _settle(transaction, row, endings.after_release(_standing(transaction, row), detail), outcome)


def _end(transaction: Transaction, row: Any, outcome: Outcome, *, verdict: str, token: str) -> None:
    values = values_of(outcome) | {
        "p_id": row.id,
        "p_now": transaction.now,
        "p_verdict": verdict,
        "p_token": token,
    }
    transaction.execute(_END_OTHERWISE, values)


def _standing(transaction: Transaction, row: Any) -> endings.Standing:
    lost_agents = transaction.execute(_LOST_AGENTS, {"seq": row.run_seq}).scalars().all()
    config = config_of(transaction.connection, transaction.configs, row.queue_id, row.revision)
    spec = codec.decode_spec(transaction.execute(_SPEC, {"seq": row.run_seq}).scalar_one())
    return endings.Standing(
        attempt=row.number,
        policy=policy_of(config.retry, spec.retry),
        lost=row.lost,
        retries=row.retries,
        preempted=row.preempted,
        cancel_requested=row.cancel_requested_at is not None,
        cancelled_by=row.cancelled_by or "",
        agents=tuple(lost_agents),
    )


def _settle(transaction: Transaction, row: Any, following: endings.Next, outcome: Outcome) -> None:
    final = following.state.final
    values = {
        "p_seq": row.run_seq,
        "p_state": following.state.value,
        "p_ended": transaction.now if final else None,
        "p_failure": codec.optional(following.failure),
        "p_exit_code": outcome.exit_code if final else None,
        "p_signal": outcome.signal if final else None,
        "p_retry_at": following.retry_at,
        "p_lost": following.lost,
        "p_retries": following.retries,
        "p_preempted": following.preempted,
        "p_quarantined": following.quarantined,
        "p_waits_from": None if final else following.retry_at or transaction.now,
    }
    transaction.execute(_SETTLE, values)
    if following.quarantined:
        quarantine.note(transaction, row)
    if following.note:
        timeline.note(transaction, row.run_seq, 0, Stage.REPORT, following.note)
    queue = transaction.execute(_QUEUE, {"queue": row.queue_id}).scalar_one()
    transaction.ring(f"queue:{queue}")
    transaction.ring(f"run:{row.run_id}")

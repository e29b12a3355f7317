"""Ending an attempt, and carrying out what :mod:`launchcore.store.endings` says of its run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import attrs
import sqlalchemy as sa
from sqlalchemy import bindparam

from launchcore.plugin import Failure, Outcome, RunState, Stage, Verdict
from launchcore.queues.retries import policy_of
from launchcore.store import codec, endings, quarantine, timeline
from launchcore.store.lookup import ATTEMPT_OF_RUN, config_of, is_of_run
from launchcore.store.sets import Given, Many, parameter
from launchcore.store.tables import BigInt, attempts, queues, run_specs, runs
from launchcore.store.writer import Transaction

RELEASED = "released"
"""The verdict of an attempt that was given back."""


def ended(given: Given) -> dict[str, Any]:
    """The columns that end an attempt."""
    return {
        "state": given("p_final"),
        "verdict": given("p_verdict"),
        "ended_at": given("p_now", sa.Float),
        "failure": given("p_failure"),
        "exit_code": given("p_exit_code", BigInt),
        "signal": given("p_signal", sa.Integer),
        "usage": given("p_usage"),
        "stop_at": sa.null(),
        "adoptable_since": sa.null(),
    }


_END_OTHERWISE = (
    attempts.update()
    .where(attempts.c.id == bindparam("p_id"), attempts.c.ended_at.is_(None))
    .values({**ended(parameter), "lease_token": bindparam("p_token")})
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


def _of_queue(column: Any) -> Any:
    """A column of the queue of a run."""
    found = sa.select(column).where(queues.c.id == runs.c.queue_id).correlate(runs).scalar_subquery()
    return found.label(column.name)


def _succeed(given: Given) -> Any:
    return (
        runs.update()
        .where(runs.c.seq == given("p_seq", BigInt))
        .values(
            state=RunState.SUCCEEDED.value,
            ended_at=given("p_ended", sa.Float),
            exit_code=given("p_exit_code", BigInt),
            failure=sa.null(),
            signal=sa.null(),
            changes=runs.c.changes + 1,
        )
        .returning(
            runs.c.seq,
            runs.c.lane,
            _of_queue(queues.c.name),
            _of_queue(queues.c.max_running),
            quarantine.COUNT.label("quarantined"),
        )
    )


_SUCCEED = Many(_succeed)
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
    """The parameters of :func:`ended`, without the time."""
    return {
        "p_final": _FINAL[outcome.verdict].value,
        "p_verdict": outcome.verdict.value,
        "p_failure": codec.optional(outcome.failure),
        "p_exit_code": outcome.exit_code,
        "p_signal": outcome.signal,
        "p_usage": codec.encode_usage(outcome.usage) if outcome.usage else None,
    }


@attrs.frozen
class End:
    """An attempt that its holder has just ended."""

    run_id: str
    number: int
    run_seq: int
    outcome: Outcome


def settle(transaction: Transaction, ends: Sequence[End]) -> None:
    """Say what becomes of the runs of attempts that have ended."""
    succeeded = [end for end in ends if end.outcome.verdict is Verdict.SUCCEEDED]
    values = [
        {"p_seq": end.run_seq, "p_ended": transaction.now, "p_exit_code": end.outcome.exit_code}
        for end in succeeded
    ]
    for _, run in _SUCCEED.rows(transaction.connection, values):
        if run.max_running is not None or run.lane:
            transaction.ring(f"queue:{run.name}")  # a slot is free
        if run.quarantined is not None:
            quarantine.forget(transaction, run.seq)
    for end in ends:
        if end.outcome.verdict is not Verdict.SUCCEEDED:
            _settle_otherwise(transaction, end)


def _settle_otherwise(transaction: Transaction, end: End) -> None:
    row = transaction.execute(ATTEMPT_OF_RUN, {"run": end.run_id, "number": end.number}).one()
    standing = _standing(transaction, row)
    following = endings.after(end.outcome, standing, now=transaction.now, chance=random.random())
    _settle(transaction, row, following, end.outcome)


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

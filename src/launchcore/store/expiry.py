"""What time alone brings: leases that nobody renews, deadlines, retries that are due, waits that are over.

Part of each claim for its queue, and of a sweep for all of them; each row is seen once.

An attempt that may have started something is kept for an agent that can adopt it, and is given up
after ``lost_after`` seconds; one that never started anything goes back to its queue at once.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from launchcore.plugin import Failure, Fault, Reason, RunState, Stage
from launchcore.store import codec, endings, outcomes, timeline
from launchcore.store.lookup import ATTEMPT
from launchcore.store.tables import QUEUED, attempts, queues, run_specs, runs
from launchcore.store.writer import Transaction

_AT_ONCE = 500
"""Rows of one sweep: a claim never holds the others up for long."""
_AFTER_DEADLINE = 60.0
"""Seconds after deadline and grace when the store ends what no agent looks after."""

DUE = (
    sa.select(*ATTEMPT, queues.c.name.label("queue"))
    .join(runs, runs.c.seq == attempts.c.run_seq)
    .join(queues, queues.c.id == attempts.c.queue_id)
    .where(attempts.c.ended_at.is_(None), attempts.c.due_at <= bindparam("now", type_=sa.Float))
    .order_by(attempts.c.due_at)
    .limit(_AT_ONCE)
    .with_for_update(skip_locked=True, of=[attempts, runs])
)
DUE_IN_QUEUE = DUE.where(attempts.c.queue_id == bindparam("queue"))
_ORPHAN = (
    attempts.update()
    .where(attempts.c.id == bindparam("p_id"))
    .values(
        adoptable_since=sa.func.coalesce(attempts.c.adoptable_since, attempts.c.lease_expires_at),
        due_at=bindparam("p_due", type_=sa.Float),
    )
)
_retried = runs.alias("retried")
RETRY_DUE = (
    runs.update()
    .where(
        runs.c.seq.in_(
            sa.select(_retried.c.seq)
            .where(
                _retried.c.queue_id == bindparam("p_queue"),
                _retried.c.retry_at <= bindparam("p_now", type_=sa.Float),
                _retried.c.state == QUEUED,
            )
            .with_for_update(skip_locked=True)
        )
    )
    .values(retry_at=sa.null(), changes=runs.c.changes + 1)
)
OVERDUE = (
    sa.select(runs.c.seq, runs.c.id, runs.c.queue_until, runs.c.queue_seconds, queues.c.name.label("queue"))
    .join(queues, queues.c.id == runs.c.queue_id)
    .where(
        runs.c.queue_id == bindparam("queue"),
        runs.c.state == QUEUED,
        runs.c.queue_until.is_not(None),
        runs.c.queue_until <= bindparam("now", type_=sa.Float),
    )
    .order_by(runs.c.queue_until)
    .limit(_AT_ONCE)
    .with_for_update(skip_locked=True, of=runs)
)
_END = (
    runs.update()
    .where(runs.c.seq == bindparam("p_seq"), runs.c.state == QUEUED)
    .values(
        state=RunState.FAILED.value,
        ended_at=bindparam("p_now", type_=sa.Float),
        failure=bindparam("p_failure"),
        retry_at=sa.null(),
        changes=runs.c.changes + 1,
    )
)
_retried_at = (
    sa.select(sa.func.min(runs.c.retry_at))
    .where(runs.c.queue_id == queues.c.id, runs.c.retry_at.is_not(None))
    .correlate(queues)
    .scalar_subquery()
)
_overdue_at = (
    sa.select(sa.func.min(runs.c.queue_until))
    .where(runs.c.queue_id == queues.c.id, runs.c.state == QUEUED, runs.c.queue_until.is_not(None))
    .correlate(queues)
    .scalar_subquery()
)
DUE_QUEUES = (
    sa.select(queues.c.id, queues.c.name)
    .where(
        queues.c.deleted_at.is_(None),
        sa.or_(
            _retried_at <= bindparam("now", type_=sa.Float), _overdue_at <= bindparam("now", type_=sa.Float)
        ),
    )
    .order_by(queues.c.id)
)
_SPEC = sa.select(run_specs.c.spec).where(run_specs.c.seq == bindparam("seq"))


def may_have_started(row: Any) -> bool:
    """Whether there may be an object of this attempt somewhere."""
    return row.handle is not None or row.state in (RunState.STARTING.value, RunState.RUNNING.value)


def sweep(transaction: Transaction, queue_id: int | None, *, lost_after: float) -> None:
    """Look at every attempt of a queue (``None``: of all queues) that is due."""
    statement = DUE if queue_id is None else DUE_IN_QUEUE
    for row in transaction.execute(statement, {"now": transaction.now, "queue": queue_id}).all():
        look(transaction, row, lost_after=lost_after)


def everything(transaction: Transaction, *, lost_after: float) -> None:
    """All that time alone brings, in all queues: whether an agent lives or not.

    Leases that are over, deadlines of what nobody looks after, retries that are due, and what has waited
    for too long.
    """
    sweep(transaction, None, lost_after=lost_after)
    for queue in transaction.execute(DUE_QUEUES, {"now": transaction.now}).all():
        if retry(transaction, queue.id):
            transaction.ring(f"queue:{queue.name}")
        end_overdue(transaction, queue.id)


def look(transaction: Transaction, row: Any, *, lost_after: float) -> None:
    """Decide about one attempt whose lease has expired."""
    gone = max(0.0, transaction.now - row.lease_expires_at)
    if not may_have_started(row):
        stage = Stage.CLAIM if row.state == RunState.CLAIMED.value else Stage.SOURCE
        failure = endings.lost(
            f"agent {row.agent} on {row.host} was not heard of, {gone:.0f} s after its lease", stage=stage
        )
        outcomes.lose(transaction, row, failure, again=True)
    elif (over := _deadline_of(transaction, row)) is not None and over <= transaction.now:
        _end_at_deadline(transaction, row)
    elif row.lease_expires_at + lost_after <= transaction.now:
        failure = endings.lost(
            f"agent {row.agent} on {row.host} was not heard of for {gone:.0f} s, and nobody adopted the run",
            hint=f"see what became of {row.host}; start an agent there to look after what it left",
        )
        outcomes.lose(transaction, row, failure, again=False)
    else:
        given_up = row.lease_expires_at + lost_after
        values = {"p_id": row.id, "p_due": given_up if over is None else min(over, given_up)}
        transaction.execute(_ORPHAN, values)
        if row.adoptable_since is None:
            detail = f"agent {row.agent} on {row.host} is not heard of; waiting for one that can adopt it"
            timeline.note(transaction, row.run_seq, row.number, Stage.EXECUTE, detail)
            transaction.ring(f"queue:{row.queue}")
            transaction.ring(f"adopt:{row.queue}")  # not every agent can: all are to look
            transaction.ring(f"run:{row.run_id}")


def retry(transaction: Transaction, queue_id: int) -> bool:
    """Make the runs of a queue claimable whose time of retry has come. Whether there were any."""
    found = transaction.execute(RETRY_DUE, {"p_queue": queue_id, "p_now": transaction.now})
    return found.rowcount > 0


def end_overdue(transaction: Transaction, queue_id: int) -> None:
    """End the runs of a queue that have waited for longer than they may."""
    asked = {"queue": queue_id, "now": transaction.now}
    for row in transaction.execute(OVERDUE, asked).all():
        failure = endings.overdue(row.queue_seconds)
        values = {"p_seq": row.seq, "p_now": transaction.now, "p_failure": codec.encode(failure)}
        transaction.execute(_END, values)
        timeline.note(transaction, row.seq, 0, Stage.CLAIM, failure.detail)
        transaction.ring(f"run:{row.id}")


def _deadline_of(transaction: Transaction, row: Any) -> float | None:
    """When an attempt without an agent has to be over, if it has a deadline.

    Its runner was told the deadline, and stops it by itself; that gets its grace, and some time.
    """
    if row.stop_at is None or row.cancel_requested_at is not None:
        return None
    spec = codec.decode_spec(transaction.execute(_SPEC, {"seq": row.run_seq}).scalar_one())
    return float(row.stop_at) + spec.limits.grace_seconds + _AFTER_DEADLINE


def _end_at_deadline(transaction: Transaction, row: Any) -> None:
    running = row.running_since is not None
    failure = Failure(
        reason=Reason.RUN_TIMEOUT if running else Reason.START_TIMEOUT,
        fault=Fault.USER if running else Fault.INFRASTRUCTURE,
        stage=Stage.EXECUTE,
        detail=f"its time was over, and agent {row.agent} on {row.host} was not heard of to stop it",
        hint=f"see what became of {row.host}; an agent there removes what is left of the run",
    )
    outcomes.lose(transaction, row, failure, again=False)

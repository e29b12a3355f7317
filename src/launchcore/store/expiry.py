"""Leases that nobody renews, and retries that are due. Part of each claim; each row is seen once.

An attempt that may have started something is kept for an agent that can adopt it, and is given up
after ``lost_after`` seconds; one that never started anything goes back to its queue at once.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from launchcore.plugin import RunState, Stage
from launchcore.store import endings, outcomes, timeline
from launchcore.store.lookup import ATTEMPT
from launchcore.store.tables import QUEUED, attempts, queues, runs
from launchcore.store.writer import Transaction

_AT_ONCE = 500
"""Rows of one sweep: a claim never holds the others up for long."""

DUE = (
    sa.select(*ATTEMPT, queues.c.name.label("queue"))
    .join(runs, runs.c.seq == attempts.c.run_seq)
    .join(queues, queues.c.id == attempts.c.queue_id)
    .where(attempts.c.ended_at.is_(None), attempts.c.due_at <= bindparam("now", type_=sa.Float))
    .order_by(attempts.c.due_at)
    .limit(_AT_ONCE)
    .with_for_update(skip_locked=True, of=attempts)
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
RETRY_DUE = (
    runs.update()
    .where(
        runs.c.queue_id == bindparam("p_queue"),
        runs.c.retry_at <= bindparam("p_now", type_=sa.Float),
        runs.c.state == QUEUED,
    )
    .values(retry_at=sa.null(), changes=runs.c.changes + 1)
)


def may_have_started(row: Any) -> bool:
    """Whether there may be an object of this attempt somewhere."""
    return row.handle is not None or row.state in (RunState.STARTING.value, RunState.RUNNING.value)


def sweep(transaction: Transaction, queue_id: int | None, *, lost_after: float) -> None:
    """Look at every attempt of a queue (``None``: of all queues) that is due."""
    statement = DUE if queue_id is None else DUE_IN_QUEUE
    for row in transaction.execute(statement, {"now": transaction.now, "queue": queue_id}).all():
        look(transaction, row, lost_after=lost_after)


def look(transaction: Transaction, row: Any, *, lost_after: float) -> None:
    """Decide about one attempt whose lease has expired."""
    gone = max(0.0, transaction.now - row.lease_expires_at)
    if not may_have_started(row):
        stage = Stage.CLAIM if row.state == RunState.CLAIMED.value else Stage.SOURCE
        failure = endings.lost(
            f"agent {row.agent} on {row.host} was not heard of, {gone:.0f} s after its lease", stage=stage
        )
        outcomes.lose(transaction, row, failure, again=True)
    elif row.lease_expires_at + lost_after <= transaction.now:
        failure = endings.lost(
            f"agent {row.agent} on {row.host} was not heard of for {gone:.0f} s, and nobody adopted the run",
            hint=f"see what became of {row.host}; start an agent there to look after what it left",
        )
        outcomes.lose(transaction, row, failure, again=False)
    else:
        values = {"p_id": row.id, "p_due": row.lease_expires_at + lost_after}
        transaction.execute(_ORPHAN, values)
        if row.adoptable_since is None:
            detail = f"agent {row.agent} on {row.host} is not heard of; waiting for one that can adopt it"
            timeline.note(transaction, row.run_seq, row.number, Stage.EXECUTE, detail)
            transaction.ring(f"queue:{row.queue}")
            transaction.ring(f"run:{row.run_id}")


def retry(transaction: Transaction, queue_id: int) -> None:
    """Make the runs of a queue claimable whose time of retry has come."""
    transaction.execute(RETRY_DUE, {"p_queue": queue_id, "p_now": transaction.now})

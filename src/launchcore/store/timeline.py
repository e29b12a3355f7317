"""A run's time-line. What the rows say already (submitted, claimed) is not stored a second time."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy import bindparam

from launchcore.plugin import Stage, TimelineEvent
from launchcore.store import codec
from launchcore.store.engine import InsertNew
from launchcore.store.lookup import is_of_run
from launchcore.store.sets import ManyNew
from launchcore.store.tables import attempts, events, queues, runs
from launchcore.store.writer import Transaction

_INSERT = ManyNew(
    InsertNew(events).inline(), "run_seq", "attempt", "at", "stage", "what", "detail", "seconds", "mark"
)
_RUN = (
    sa.select(runs.c.seq, runs.c.submitted_at, runs.c.submitter, queues.c.name.label("queue"))
    .join(queues)
    .where(runs.c.id == bindparam("run"))
)
_CLAIMS = (
    sa.select(attempts.c.number, attempts.c.claimed_at, attempts.c.agent, attempts.c.ended_at)
    .where(is_of_run("seq"))
    .order_by(attempts.c.number)
)
_EVENTS = sa.select(events).where(events.c.run_seq == bindparam("seq")).order_by(events.c.id)


def add(transaction: Transaction, what: Iterable[tuple[int, int, TimelineEvent]]) -> None:
    """Store events, each of a run (its ``seq``) and an attempt (0: of the queue itself). One that is there
    already stays single."""
    _INSERT.insert(transaction.connection, [_row(*each) for each in what])


def note(transaction: Transaction, run_seq: int, attempt: int, stage: Stage, detail: str) -> None:
    """Store a remark of the queue's own."""
    event = TimelineEvent(at=transaction.now, stage=stage, what="note", detail=detail)
    add(transaction, [(run_seq, attempt, event)])


def read(connection: sa.Connection, run_id: str) -> Sequence[tuple[int, TimelineEvent]] | None:
    """(attempt, event) in order of time; ``None``: no such run."""
    run = connection.execute(_RUN, {"run": run_id}).first()
    if run is None:
        return None
    by = f", by {run.submitter}" if run.submitter else ""
    found = [
        (
            0,
            TimelineEvent(
                at=run.submitted_at, stage=Stage.SUBMIT, what="finished", detail=f"to queue {run.queue}{by}"
            ),
        )
    ]
    since = run.submitted_at
    for claim in connection.execute(_CLAIMS, {"seq": run.seq}):
        waited = max(0.0, claim.claimed_at - since)
        found.append(
            (
                claim.number,
                TimelineEvent(
                    at=claim.claimed_at,
                    stage=Stage.CLAIM,
                    what="finished",
                    detail=f"agent {claim.agent}",
                    seconds=waited,
                ),
            )
        )
        since = claim.ended_at or claim.claimed_at
    for row in connection.execute(_EVENTS, {"seq": run.seq}):
        event = TimelineEvent(
            at=row.at, stage=Stage(row.stage), what=row.what, detail=row.detail, seconds=row.seconds
        )
        found.append((row.attempt, event))
    return sorted(found, key=lambda entry: entry[1].at)  # stable: equal times stay as they were written


def _row(run_seq: int, attempt: int, event: TimelineEvent) -> dict[str, object]:
    what, detail = codec.text(event.what, 40), codec.text(event.detail)
    finite = event.seconds is not None and math.isfinite(event.seconds)
    return {
        "run_seq": run_seq,
        "attempt": attempt,
        "at": event.at if math.isfinite(event.at) else 0.0,
        "stage": event.stage.value,
        "what": what,
        "detail": detail,
        "seconds": event.seconds if finite else None,
        "mark": zlib.crc32(f"{event.stage.value}\0{what}\0{detail}".encode()),
    }

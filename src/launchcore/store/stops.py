"""What an agent has to stop: cancelled runs, and attempts whose deadline has passed."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam, func

from launchcore.plugin import Reason, Stop
from launchcore.store.ids import attempt_id
from launchcore.store.tables import attempts, runs

STOPS = (
    sa.select(attempts, runs.c.id.label("run_id"), runs.c.cancelled_by)
    .join(runs, runs.c.seq == attempts.c.run_seq)
    .where(attempts.c.session == bindparam("session"), attempts.c.stop_at <= bindparam("now", type_=sa.Float))
    .order_by(attempts.c.stop_at)
)
NEXT_STOP = sa.select(func.min(attempts.c.stop_at)).where(
    attempts.c.session == bindparam("session"), attempts.c.stop_at > bindparam("now", type_=sa.Float)
)


def find(
    connection: sa.Connection, session: str, known: frozenset[str], *, now: float
) -> tuple[tuple[Stop, ...], float | None]:
    """What this session has to stop now, without what is ``known``; and when the next deadline is."""
    asked = {"session": session, "now": now}
    found = []
    for row in connection.execute(STOPS, asked):
        reason, attempt = reason_of(row, now), attempt_id(row.run_id, row.number)
        if reason is not None and attempt not in known:
            found.append(Stop(attempt_id=attempt, reason=reason, detail=_detail(row, reason)))
    return tuple(found), None if found else connection.execute(NEXT_STOP, asked).scalar()


def reason_of(row: Any, now: float) -> Reason | None:
    """Why an attempt has to be stopped, if it has to be."""
    if row.stop_at is None or row.stop_at > now:
        return None
    if row.cancel_requested_at is not None:
        return Reason.CANCELLED
    return Reason.START_TIMEOUT if row.running_since is None else Reason.RUN_TIMEOUT


def cancel_text(by: str | None) -> str:
    """How a cancel is told."""
    return f"cancelled by {by}" if by else "cancelled"


def _detail(row: Any, reason: Reason) -> str:
    if reason is Reason.CANCELLED:
        return cancel_text(row.cancelled_by)
    if reason is Reason.RUN_TIMEOUT:
        return f"it ran for longer than {row.run_seconds:g} s"
    return f"it did not run within {row.start_seconds:g} s of its start"

"""How busy all queues are: what a monitor asks every few seconds."""

from __future__ import annotations

import attrs
import sqlalchemy as sa
from sqlalchemy import bindparam, func

from launchcore.store.tables import QUEUED, agents, attempts, queues, runs

_WAITING = (
    sa.select(runs.c.queue_id, func.count().label("count"), func.min(runs.c.submitted_at).label("oldest"))
    .where(runs.c.state == QUEUED)
    .group_by(runs.c.queue_id)
)
_LIVE = (
    sa.select(attempts.c.queue_id, func.count().label("count"))
    .where(attempts.c.ended_at.is_(None))
    .group_by(attempts.c.queue_id)
)
_EXPIRED = sa.select(func.count(), func.min(attempts.c.lease_expires_at)).where(
    attempts.c.ended_at.is_(None), attempts.c.lease_expires_at <= bindparam("now", type_=sa.Float)
)
_AGENTS = (
    sa.select(func.count()).select_from(agents).where(agents.c.expires_at > bindparam("now", type_=sa.Float))
)
_NAMES = sa.select(queues.c.id, queues.c.name).where(queues.c.deleted_at.is_(None)).order_by(queues.c.name)


@attrs.frozen(kw_only=True)
class QueueNumbers:
    """One queue: runs that wait, runs that hold a slot, seconds since the oldest waiting one came."""

    name: str
    queued: int
    running: int
    oldest: float


@attrs.frozen(kw_only=True)
class Numbers:
    """All queues; live agents; live attempts whose lease has expired, and for how many seconds at most."""

    queues: tuple[QueueNumbers, ...]
    agents: int
    expired: int
    overdue: float


def numbers(connection: sa.Connection, *, now: float) -> Numbers:
    """How things stand. Reads the indexes of what is alive, whatever the history is."""
    waiting = {row[0]: (row[1], row[2]) for row in connection.execute(_WAITING)}
    live = {row[0]: row[1] for row in connection.execute(_LIVE)}
    expired, since = connection.execute(_EXPIRED, {"now": now}).one()
    return Numbers(
        queues=tuple(
            QueueNumbers(
                name=row.name,
                queued=waiting[row.id][0] if row.id in waiting else 0,
                running=live.get(row.id, 0),
                oldest=max(0.0, now - waiting[row.id][1]) if row.id in waiting else 0.0,
            )
            for row in connection.execute(_NAMES)
        ),
        agents=connection.execute(_AGENTS, {"now": now}).scalar_one(),
        expired=expired,
        overdue=max(0.0, now - since) if since is not None else 0.0,
    )

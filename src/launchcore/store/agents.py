"""Agents' sessions: one live session for each name, which renews its leases with itself."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import bindparam

from launchcore.plugin import AgentInfo, AgentNameTaken, Lease
from launchcore.queues.base import AgentRow
from launchcore.store import codec, expiry, outcomes
from launchcore.store.ids import attempt_id
from launchcore.store.lookup import ATTEMPT, find_queue
from launchcore.store.tables import agents, attempts, queues, runs
from launchcore.store.writer import Transaction

_FORGOTTEN_AFTER = 7 * 86400.0
"""Agents that were not seen for so long are not listed any more."""

_BY_NAME = sa.select(agents).where(agents.c.name == bindparam("name"))
_FORGET = agents.delete().where(agents.c.seen_at < bindparam("before", type_=sa.Float))
_REPLACE = (
    agents.update()
    .where(agents.c.name == bindparam("p_name"))
    .values({column.name: bindparam(f"p_{column.name}") for column in agents.c if column.name != "name"})
)
_INSERT = agents.insert()
_LEAVE = (
    agents.update()
    .where(agents.c.name == bindparam("p_name"), agents.c.session == bindparam("p_session"))
    .values(expires_at=bindparam("p_now"), seen_at=bindparam("p_now"))
)
_RENEW_SESSION = (
    agents.update()
    .where(agents.c.name == bindparam("p_name"), agents.c.session == bindparam("p_session"))
    .values(seen_at=bindparam("p_now"), expires_at=bindparam("p_expires"))
)
_HELD = (
    sa.select(attempts.c.id, attempts.c.number, attempts.c.lease_token, runs.c.id.label("run_id"))
    .join(runs, runs.c.seq == attempts.c.run_seq)
    .where(
        attempts.c.agent == bindparam("agent"),
        attempts.c.session == bindparam("session"),
        attempts.c.ended_at.is_(None),
    )
)
_RENEW = (
    attempts.update()
    .where(attempts.c.id == bindparam("p_id"))
    .values(lease_expires_at=bindparam("p_expires"), due_at=bindparam("p_expires"), adoptable_since=None)
)
_LEFT = (
    sa.select(*ATTEMPT, queues.c.name.label("queue"))
    .join(runs, runs.c.seq == attempts.c.run_seq)
    .join(queues, queues.c.id == attempts.c.queue_id)
    .where(
        attempts.c.agent == bindparam("agent"),
        attempts.c.session == bindparam("session"),
        attempts.c.ended_at.is_(None),
    )
)
_EXPIRE = (
    attempts.update()
    .where(attempts.c.id == bindparam("p_id"))
    .values(lease_expires_at=bindparam("p_now", type_=sa.Float), due_at=bindparam("p_now", type_=sa.Float))
)
_RUNNING = (
    sa.select(sa.func.count())
    .select_from(attempts)
    .where(attempts.c.agent == agents.c.name, attempts.c.ended_at.is_(None))
    .correlate(agents)
    .scalar_subquery()
)
_LIST = sa.select(agents, _RUNNING.label("running")).order_by(agents.c.name)


def register(
    transaction: Transaction, agent: AgentInfo, *, lease_seconds: float, previous_is_dead: bool
) -> None:
    """Begin a session, and fence off the one before it.

    :raises AgentNameTaken: another session of this name is alive.
    :raises NotFound: a queue does not exist.
    """
    if not agent.name or len(agent.name) > 200 or not agent.name.isprintable():
        raise codec.user_error(
            f"{agent.name[:80]!r} is no name for an agent", "use 1 to 200 printable characters"
        )
    for queue in agent.queues:
        find_queue(transaction.connection, queue)
    now = transaction.now
    before = transaction.execute(_BY_NAME, {"name": agent.name}).first()
    alive = before is not None and before.session != agent.session and before.expires_at > now
    if alive and before is not None and not previous_is_dead:
        raise AgentNameTaken(
            f"an agent named {agent.name!r} is alive on {before.host} (process {before.pid}), "
            f"last seen {max(0.0, now - before.seen_at):.0f} s ago: use another name, or stop that one"
        )
    row = {
        "name": agent.name,
        "session": agent.session,
        "host": codec.text(agent.host, 255),
        "pid": agent.pid,
        "version": codec.text(agent.version, 100),
        "queues": codec.encode(agent.queues),
        "max_jobs": agent.max_jobs,
        "registered_at": now,
        "seen_at": now,
        "expires_at": now + lease_seconds,
    }
    if before is None:
        transaction.execute(_FORGET, {"before": now - _FORGOTTEN_AFTER})
        transaction.execute(_INSERT, row)
    else:
        transaction.execute(_REPLACE, {f"p_{name}": value for name, value in row.items()})
    transaction.ring(f"agent:{agent.name}")


def unregister(transaction: Transaction, agent: AgentInfo) -> None:
    """End a session. What it has started can be adopted at once; the rest goes back to its queue."""
    values = {"p_name": agent.name, "p_session": agent.session, "p_now": transaction.now}
    transaction.execute(_LEAVE, values)
    for row in transaction.execute(_LEFT, {"agent": agent.name, "session": agent.session}).all():
        if expiry.may_have_started(row):
            transaction.execute(_EXPIRE, {"p_id": row.id, "p_now": transaction.now})
            transaction.ring(f"queue:{row.queue}")
        else:
            detail = f"agent {agent.name} left before attempt {row.number} started anything"
            outcomes.release(transaction, row, detail, fence=True)


def renew(
    transaction: Transaction, agent: AgentInfo, leases: Sequence[Lease], *, lease_seconds: float
) -> tuple[str, ...]:
    """Renew the session and those of the leases that are still its own; returns the others."""
    now = transaction.now
    values = {
        "p_name": agent.name,
        "p_session": agent.session,
        "p_now": now,
        "p_expires": now + lease_seconds,
    }
    if transaction.execute(_RENEW_SESSION, values).rowcount == 0:
        return tuple(lease.attempt_id for lease in leases)
    if not leases:
        return ()
    rows = transaction.execute(_HELD, {"agent": agent.name, "session": agent.session}).all()
    held = {attempt_id(row.run_id, row.number): row for row in rows}
    lost, kept = [], []
    for lease in leases:
        row = held.get(lease.attempt_id)
        if row is None or row.lease_token != lease.token:
            lost.append(lease.attempt_id)
        else:
            kept.append({"p_id": row.id, "p_expires": now + lease_seconds})
    if kept:
        transaction.execute(_RENEW, kept)
    return tuple(lost)


def listed(connection: sa.Connection, *, now: float) -> tuple[AgentRow, ...]:
    """All agents that were seen lately, by name."""
    return tuple(
        AgentRow(
            name=row.name,
            host=row.host,
            pid=row.pid,
            version=row.version,
            queues=codec.decode_names(row.queues),
            max_jobs=row.max_jobs,
            alive=row.expires_at > now,
            registered_at=row.registered_at,
            seen_at=row.seen_at,
            running=row.running,
        )
        for row in connection.execute(_LIST)
    )

"""Agents' sessions: one live session for each name, which renews its leases with itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from launchcore.plugin import AgentInfo, AgentNameTaken, Lease, RunState
from launchcore.queues.base import AgentRow
from launchcore.store import codec, expiry, outcomes
from launchcore.store.ids import attempt_id, split_attempt_id
from launchcore.store.lookup import ATTEMPT, find_queue, is_attempt
from launchcore.store.prepared import Prepared
from launchcore.store.tables import agents, attempts, queues, runs
from launchcore.store.writer import Transaction

_FORGOTTEN_AFTER = 7 * 86400.0
"""Agents that were not seen for so long are not listed any more."""

_ANSWER_LOST_AFTER = 10.0
"""Seconds: an attempt that its session does not name so long after the claim never arrived there."""

_SESSION = Prepared(
    sa.select(agents.c.session, agents.c.expires_at).where(agents.c.name == bindparam("name"))
)
_BY_NAME = sa.select(agents).where(agents.c.name == bindparam("name")).with_for_update()
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
_IS_HELD = sa.and_(
    is_attempt("p_run", "p_number"),
    attempts.c.lease_token == bindparam("p_token"),
    attempts.c.ended_at.is_(None),
)
_RENEW = Prepared(
    attempts.update()
    .where(_IS_HELD)
    .values(lease_expires_at=bindparam("p_expires"), due_at=bindparam("p_expires"), adoptable_since=sa.null())
)
_HELD = Prepared(sa.select(attempts.c.id).where(_IS_HELD))
LEFT = (
    sa.select(*ATTEMPT, queues.c.name.label("queue"))
    .join(runs, runs.c.seq == attempts.c.run_seq)
    .join(queues, queues.c.id == attempts.c.queue_id)
    .where(
        attempts.c.ended_at.is_(None),
        attempts.c.agent == bindparam("agent"),
        attempts.c.session == bindparam("session"),
    )
    .with_for_update(of=[attempts, runs])
)
_UNSTARTED = LEFT.where(
    attempts.c.handle.is_(None),
    sa.or_(attempts.c.state == RunState.CLAIMED.value, attempts.c.state == RunState.PREPARING.value),
    attempts.c.claimed_at < bindparam("before", type_=sa.Float),
)
_EXPIRE = (
    attempts.update()
    .where(attempts.c.id == bindparam("p_id"))
    .values(lease_expires_at=bindparam("p_now", type_=sa.Float), due_at=bindparam("p_now", type_=sa.Float))
)
_LIST = sa.select(agents).order_by(agents.c.name)
_RUNNING = (
    sa.select(attempts.c.agent, sa.func.count().label("attempts"))
    .where(attempts.c.ended_at.is_(None))
    .group_by(attempts.c.agent)
)


def session_of(connection: sa.Connection, name: str) -> Any:
    """The latest session of a name (``session``, ``expires_at``), or ``None``."""
    return _SESSION.first(connection, {"name": name})


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
    # The caller's proof is a lock of its own machine: it says nothing about another one.
    dead = previous_is_dead and before is not None and before.host == agent.host
    if alive and before is not None and not dead:
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
    for row in transaction.execute(LEFT, {"agent": agent.name, "session": agent.session}).all():
        if expiry.may_have_started(row):
            transaction.execute(_EXPIRE, {"p_id": row.id, "p_now": transaction.now})
            transaction.ring(f"queue:{row.queue}")
            transaction.ring(f"adopt:{row.queue}")  # not every agent can: all are to look
        else:
            detail = f"agent {agent.name} left before attempt {row.number} started anything"
            outcomes.release(transaction, row, detail, fence=True)


def renew(
    transaction: Transaction,
    agent: AgentInfo,
    leases: Sequence[Lease],
    *,
    lease_seconds: float,
    lost_after: float,
    complete: bool = False,
) -> tuple[str, ...]:
    """Renew the session and those of the leases that are still its own; returns the others.

    :param complete: these are all the leases that the session knows of. What it was given some time ago,
        does not name, and has started nothing goes back to its queue: the answer to that claim was lost.

    Sweeps all queues, too: those that nobody claims from must not be forgotten.
    """
    now = transaction.now
    values = {"p_name": agent.name, "p_session": agent.session, "p_now": now}
    values["p_expires"] = now + lease_seconds
    if transaction.execute(_RENEW_SESSION, values).rowcount == 0:
        return tuple(lease.attempt_id for lease in leases)
    asked = {lease.attempt_id: _asked(lease, now + lease_seconds) for lease in leases}
    lost: tuple[str, ...] = ()
    in_order = [asked[attempt] for attempt in sorted(asked)]  # in which everybody locks several attempts
    if asked and _RENEW.run_many(transaction.connection, in_order) < len(asked):
        lost = tuple(
            attempt for attempt, each in asked.items() if _HELD.first(transaction.connection, each) is None
        )
    if complete:
        _take_back(transaction, agent, frozenset(asked))
    expiry.everything(transaction, lost_after=lost_after)
    return lost


def _take_back(transaction: Transaction, agent: AgentInfo, named: frozenset[str]) -> None:
    before = transaction.now - _ANSWER_LOST_AFTER
    values = {"agent": agent.name, "session": agent.session, "before": before}
    for row in transaction.execute(_UNSTARTED, values).all():
        if attempt_id(row.run_id, row.number) not in named:
            detail = f"agent {row.agent} never heard of attempt {row.number}"
            outcomes.release(transaction, row, detail, fence=True)


def listed(connection: sa.Connection, *, now: float) -> tuple[AgentRow, ...]:
    """All agents that were seen lately, by name."""
    running = {row.agent: row.attempts for row in connection.execute(_RUNNING)}
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
            running=running.get(row.name, 0),
        )
        for row in connection.execute(_LIST)
    )


def _asked(lease: Lease, expires: float) -> dict[str, object]:
    run, number = split_attempt_id(lease.attempt_id) or ("", 0)
    return {"p_run": run, "p_number": number, "p_token": lease.token or None, "p_expires": expires}

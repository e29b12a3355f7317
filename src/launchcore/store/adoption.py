"""Adoption: leasing again what other sessions have left behind, with a new token."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from launchcore.plugin import AgentInfo, AgentNameTaken, Claim, Lease, LogPosition, RunState, Stage
from launchcore.store import agents, codec, expiry, members, outcomes, stops, timeline
from launchcore.store.ids import attempt_id, new_token
from launchcore.store.lookup import ATTEMPT_WITH_SPEC, config_of
from launchcore.store.prepared import Prepared
from launchcore.store.tables import attempts, runs
from launchcore.store.writer import Transaction

IS_ADOPTABLE = sa.and_(
    attempts.c.adoptable_since.is_not(None),
    sa.or_(attempts.c.bound_to == "", attempts.c.bound_to == bindparam("host")),
)
"""Its lease has expired, it may have started something, and the agent's host can see that."""

ORPHANS = (
    ATTEMPT_WITH_SPEC.where(attempts.c.queue_id == bindparam("queue"), IS_ADOPTABLE)
    .order_by(attempts.c.adoptable_since)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True, of=[attempts, runs])
)
EARLIER = (
    ATTEMPT_WITH_SPEC.where(
        attempts.c.ended_at.is_(None),
        attempts.c.agent == bindparam("agent"),
        attempts.c.session != bindparam("session"),
    )
    .order_by(attempts.c.claimed_at)
    .with_for_update(of=[attempts, runs])
)

_LEASE_AGAIN = (
    attempts.update()
    .where(attempts.c.id == bindparam("p_id"))
    .values(
        agent=bindparam("p_agent"),
        session=bindparam("p_session"),
        host=bindparam("p_host"),
        lease_token=bindparam("p_token"),
        lease_expires_at=bindparam("p_expires"),
        due_at=bindparam("p_expires"),
        adoptable_since=sa.null(),
        claim_key=bindparam("p_key"),
    )
)
_TOUCH = runs.update().where(runs.c.seq == bindparam("p_seq")).values(changes=runs.c.changes + 1)
AGAIN = Prepared(
    ATTEMPT_WITH_SPEC.where(
        attempts.c.ended_at.is_(None),
        attempts.c.session == bindparam("session"),
        attempts.c.claim_key == bindparam("key"),
    ).order_by(attempts.c.id)
)
_BIND = attempts.update().where(attempts.c.id == bindparam("p_id")).values(bound_to=attempts.c.host)


def adopt(
    transaction: Transaction,
    queue_id: int,
    agent: AgentInfo,
    *,
    limit: int,
    lease_seconds: float,
    host_bound: frozenset[str],
    key: str = "",
) -> list[Claim]:
    """Lease attempts of a queue whose lease has expired. ``key``: of the claim that asks."""
    asked = {"queue": queue_id, "host": agent.host, "limit": limit}
    found = transaction.execute(ORPHANS, asked).all()
    seen = _seen_from(transaction, found, agent, host_bound)
    return _lease_again(transaction, seen, agent, lease_seconds, key)


def again(transaction: Transaction, agent: AgentInfo, key: str) -> list[Claim]:
    """What a claim of this session with this key got, and has not ended: its answer was lost."""
    rows = AGAIN.run(transaction.connection, {"session": agent.session, "key": key})
    return [
        _claim(
            transaction,
            row,
            Lease(
                attempt_id=attempt_id(row.run_id, row.number),
                token=row.lease_token,
                expires_at=row.lease_expires_at,
            ),
            adopted=expiry.may_have_started(row),
        )
        for row in rows
    ]


def reclaim(
    transaction: Transaction, agent: AgentInfo, *, lease_seconds: float, host_bound: frozenset[str]
) -> tuple[Claim, ...]:
    """Lease again what earlier sessions of this name left; give back what had started nothing.

    What is bound to another host is left to an agent there.
    :raises AgentNameTaken: another session of the agent's name has taken its place.
    """
    session = agents.session_of(transaction.connection, agent.name)
    if session is None or session.session != agent.session:
        raise AgentNameTaken(f"agent {agent.name!r} is not registered with this session")
    rows = transaction.execute(EARLIER, {"agent": agent.name, "session": agent.session}).all()
    started = []
    for row in rows:
        if not expiry.may_have_started(row):
            detail = f"agent {row.agent} was restarted before attempt {row.number} started anything"
            outcomes.release(transaction, row, detail, fence=True)
        elif row.bound_to in ("", agent.host):
            started.append(row)
    mine = _seen_from(transaction, started, agent, host_bound)
    return tuple(_lease_again(transaction, mine, agent, lease_seconds))


def _seen_from(
    transaction: Transaction, rows: Iterable[Any], agent: AgentInfo, host_bound: frozenset[str]
) -> list[Any]:
    """Leave out what only another host can see, though its claimer did not know that."""
    mine = []
    for row in rows:
        handle = codec.decode_handle(row.handle)
        config = config_of(transaction.connection, transaction.configs, row.queue_id, row.revision)
        runner = handle.runner if handle else config.type
        if runner in host_bound and row.host != agent.host:
            transaction.execute(_BIND, {"p_id": row.id})
        else:
            mine.append(row)
    return mine


def _lease_again(
    transaction: Transaction, rows: Iterable[Any], agent: AgentInfo, lease_seconds: float, key: str = ""
) -> list[Claim]:
    """Give live attempts to this agent.

    An attempt that this very session still holds keeps its token: the agent may know it already.
    """
    claims, leased = [], []
    expires = transaction.now + lease_seconds
    for row in rows:
        same = row.session == agent.session
        token = row.lease_token if same else new_token()
        leased.append(
            {
                "p_id": row.id,
                "p_agent": agent.name,
                "p_session": agent.session,
                "p_host": agent.host,
                "p_token": token,
                "p_expires": expires,
                "p_key": key or None,
            }
        )
        if not same:
            detail = f"adopted by agent {agent.name} on {agent.host}"
            timeline.note(transaction, row.run_seq, row.number, Stage.EXECUTE, detail)
        transaction.execute(_TOUCH, {"p_seq": row.run_seq})
        transaction.ring(f"run:{row.run_id}")
        lease = Lease(attempt_id=attempt_id(row.run_id, row.number), token=token, expires_at=expires)
        claims.append(_claim(transaction, row, lease, adopted=True))
    if leased:
        transaction.execute(_LEASE_AGAIN, leased)
    return claims


def _claim(transaction: Transaction, row: Any, lease: Lease, *, adopted: bool) -> Claim:
    return Claim(
        lease=lease,
        run_id=row.run_id,
        attempt=row.number,
        queue=row.queue,
        queue_config=config_of(transaction.connection, transaction.configs, row.queue_id, row.revision),
        spec=codec.decode_spec(row.spec),
        state=RunState(row.state),
        adopted=adopted,
        pinned=codec.decode_source(row.pinned),
        image=row.image,
        handle=codec.decode_handle(row.handle),
        log=LogPosition(offset=row.log_bytes, cursor=row.log_cursor),
        submitter=row.submitter,
        submitted_at=row.submitted_at,
        claimed_at=row.claimed_at,
        running_since=row.running_since,
        deadline_at=row.deadline_at,
        stop=stops.reason_of(row, transaction.now),
        resumed=members.ran_before(transaction.connection, row.run_seq, row.number),
        array=members.member_of(transaction.connection, row.array_seq, row.array_index),
    )

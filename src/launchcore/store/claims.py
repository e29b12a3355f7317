"""Claiming: adoptions first, then new runs, one queue after the other; and stops, which end them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import sqlalchemy as sa
from sqlalchemy import bindparam, case, func

from launchcore.plugin import (
    AgentInfo,
    AgentNameTaken,
    Claim,
    Lease,
    LogPosition,
    Reason,
    RunState,
    Stage,
    Stop,
)
from launchcore.store import codec, expiry, outcomes, timeline
from launchcore.store.ids import attempt_id, new_token
from launchcore.store.lookup import ATTEMPT_WITH_SPEC, config_of
from launchcore.store.tables import QUEUED, agents, attempts, queues, run_specs, runs
from launchcore.store.writer import Transaction

_LIVE = (
    sa.select(func.count())
    .select_from(attempts)
    .where(attempts.c.queue_id == queues.c.id, attempts.c.ended_at.is_(None))
    .correlate(queues)
    .scalar_subquery()
)
_ADOPTABLE = (
    sa.select(func.count())
    .select_from(attempts)
    .where(
        attempts.c.adoptable_since.is_not(None),
        attempts.c.queue_id == queues.c.id,
        attempts.c.bound_to.in_(("", bindparam("host"))),
    )
    .correlate(queues)
    .scalar_subquery()
)
_NEXT_DUE = sa.select(func.min(attempts.c.due_at)).where(attempts.c.due_at.is_not(None)).scalar_subquery()
_NEXT_RETRY = sa.select(func.min(runs.c.retry_at)).where(runs.c.retry_at.is_not(None)).scalar_subquery()

HEAD = (
    sa.select(
        queues.c.id,
        queues.c.name,
        queues.c.revision,
        queues.c.paused,
        queues.c.max_running,
        case((queues.c.max_running.is_(None), 0), else_=_LIVE).label("live"),
        _ADOPTABLE.label("adoptable"),
        _NEXT_DUE.label("next_due"),
        _NEXT_RETRY.label("next_retry"),
        sa.select(agents.c.session)
        .where(agents.c.name == bindparam("agent"))
        .scalar_subquery()
        .label("session"),
        sa.select(agents.c.expires_at)
        .where(agents.c.name == bindparam("agent"))
        .scalar_subquery()
        .label("session_until"),
    )
    .where(queues.c.name.in_(bindparam("names", expanding=True)), queues.c.deleted_at.is_(None))
    .with_for_update(of=queues)
)
"""All that a claim has to know before it takes anything, in one statement."""

WAITING = (
    sa.select(
        runs.c.seq,
        runs.c.id,
        runs.c.attempts,
        runs.c.submitted_at,
        runs.c.pinned,
        runs.c.image,
        run_specs.c.spec,
    )
    .join(run_specs, run_specs.c.seq == runs.c.seq)
    .where(runs.c.queue_id == bindparam("queue"), runs.c.state == QUEUED, runs.c.retry_at.is_(None))
    .order_by(runs.c.priority, runs.c.seq)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True, of=runs)
)
"""The next runs of a queue."""

ORPHANS = (
    ATTEMPT_WITH_SPEC.where(
        attempts.c.adoptable_since.is_not(None),
        attempts.c.queue_id.in_(bindparam("queues", expanding=True)),
        attempts.c.bound_to.in_(("", bindparam("host"))),
    )
    .order_by(attempts.c.adoptable_since)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True, of=attempts)
)
_EARLIER = ATTEMPT_WITH_SPEC.where(
    attempts.c.agent == bindparam("agent"),
    attempts.c.session != bindparam("session"),
    attempts.c.ended_at.is_(None),
).order_by(attempts.c.claimed_at)

_TAKE = (
    runs.update()
    .where(runs.c.seq == bindparam("p_seq"))
    .values(state=RunState.CLAIMED.value, attempts=bindparam("p_number"), changes=runs.c.changes + 1)
)
_ATTEMPT = attempts.insert()
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
        adoptable_since=None,
    )
)
_TOUCH = runs.update().where(runs.c.seq == bindparam("p_seq")).values(changes=runs.c.changes + 1)
_BIND = attempts.update().where(attempts.c.id == bindparam("p_id")).values(bound_to=attempts.c.host)

STOPS = (
    sa.select(attempts, runs.c.id.label("run_id"), runs.c.cancelled_by)
    .join(runs, runs.c.seq == attempts.c.run_seq)
    .where(attempts.c.session == bindparam("session"), attempts.c.stop_at <= bindparam("now", type_=sa.Float))
    .order_by(attempts.c.stop_at)
)
_NEXT_STOP = sa.select(func.min(attempts.c.stop_at)).where(
    attempts.c.session == bindparam("session"), attempts.c.stop_at > bindparam("now", type_=sa.Float)
)


@attrs.frozen(kw_only=True)
class Found:
    """What a claim got. ``next_at``: when time alone will bring something (an expiry, a retry)."""

    claims: tuple[Claim, ...] = ()
    next_at: float | None = None


def claim(
    transaction: Transaction,
    agent: AgentInfo,
    names: Sequence[str],
    *,
    limit: int,
    lease_seconds: float,
    lost_after: float,
    host_bound: frozenset[str],
) -> Found:
    """Lease up to ``limit`` attempts of these queues to the agent.

    :param lost_after: seconds after its lease when an attempt that nobody could adopt is given up.
    :param host_bound: names of runners whose objects only an agent of the same host can see.

    :raises AgentNameTaken: another session of the agent's name has taken its place.
    """
    asked = {"names": list(names), "agent": agent.name, "host": agent.host}
    rows = transaction.execute(HEAD, asked).all()
    if not rows:
        return Found()
    first, now = rows[0], transaction.now
    if first.session is not None and first.session != agent.session:
        raise AgentNameTaken(f"another session of agent {agent.name!r} has taken its place")
    if first.session is None or first.session_until <= now or limit <= 0:
        return Found()
    due = first.next_due is not None and first.next_due <= now
    retry = first.next_retry is not None and first.next_retry <= now
    if due:
        expiry.sweep(transaction, lost_after=lost_after)
    if retry:
        expiry.retry(transaction)
    if due or retry:
        rows = transaction.execute(HEAD, asked).all()
        first = rows[0]
    claims: list[Claim] = []
    if any(row.adoptable for row in rows):
        ids = [row.id for row in rows]
        found = transaction.execute(ORPHANS, {"queues": ids, "host": agent.host, "limit": limit}).all()
        mine = _adoptable_here(transaction, found, agent, host_bound)
        claims += _lease_again(transaction, mine, agent, lease_seconds)
    order = {name: place for place, name in enumerate(names)}
    in_turn = _in_turn(transaction, sorted(rows, key=lambda row: order[row.name]), limit - len(claims))
    claims += _lease(transaction, in_turn, agent, lease_seconds, host_bound)
    times = [time for time in (first.next_due, first.next_retry) if time is not None]
    return Found(claims=tuple(claims), next_at=min(times, default=None))


def reclaim(
    transaction: Transaction,
    agent: AgentInfo,
    *,
    lease_seconds: float,
    host_bound: frozenset[str],
) -> tuple[Claim, ...]:
    """Lease again what earlier sessions of this name left; give back what had started nothing.

    What is bound to another host is left to an agent there.
    :raises AgentNameTaken: another session of the agent's name has taken its place.
    """
    session = transaction.execute(sa.select(agents.c.session).where(agents.c.name == agent.name)).scalar()
    if session != agent.session:
        raise AgentNameTaken(f"agent {agent.name!r} is not registered with this session")
    rows = transaction.execute(_EARLIER, {"agent": agent.name, "session": agent.session}).all()
    for row in rows:
        if not expiry.may_have_started(row):
            detail = f"agent {row.agent} was restarted before attempt {row.number} started anything"
            outcomes.release(transaction, row, detail, fence=True)
    started = [row for row in rows if expiry.may_have_started(row) and row.bound_to in ("", agent.host)]
    mine = _adoptable_here(transaction, started, agent, host_bound)
    return tuple(_lease_again(transaction, mine, agent, lease_seconds))


def stops(
    connection: sa.Connection, session: str, known: frozenset[str], *, now: float
) -> tuple[tuple[Stop, ...], float | None]:
    """What this session has to stop now, and when the next deadline is."""
    asked = {"session": session, "now": now}
    found = [
        Stop(attempt_id=attempt_id(row.run_id, row.number), reason=reason, detail=_stop_text(row, reason))
        for row in connection.execute(STOPS, asked)
        if (reason := stop_reason(row, now)) is not None
    ]
    new = tuple(stop for stop in found if stop.attempt_id not in known)
    return new, None if new else connection.execute(_NEXT_STOP, asked).scalar()


def stop_reason(row: Any, now: float) -> Reason | None:
    """Why an attempt has to be stopped, if it has to be."""
    if row.stop_at is None or row.stop_at > now:
        return None
    if row.cancel_requested_at is not None:
        return Reason.CANCELLED
    return Reason.START_TIMEOUT if row.running_since is None else Reason.RUN_TIMEOUT


def _stop_text(row: Any, reason: Reason) -> str:
    if reason is Reason.CANCELLED:
        return outcomes.cancel_text(row.cancelled_by)
    if reason is Reason.RUN_TIMEOUT:
        return f"it ran for longer than {row.run_seconds:g} s"
    return f"it did not run within {row.start_seconds:g} s of its start"


def _in_turn(transaction: Transaction, rows: Iterable[Any], limit: int) -> list[tuple[Any, Any]]:
    """(queue, run): one run of each queue in turn, until there are ``limit`` or no more."""
    waiting: list[tuple[Any, list[Any]]] = []
    room = limit
    for row in rows:
        free = limit if row.max_running is None else min(limit, row.max_running - row.live)
        if room > 0 and free > 0 and not row.paused:
            found = list(transaction.execute(WAITING, {"queue": row.id, "limit": free}))
            waiting.append((row, found))
            room -= bool(found)  # with one from each there is enough: the later queues need no look
    picked: list[tuple[Any, Any]] = []
    for turn in range(limit):
        before = len(picked)
        picked += [(queue, found[turn]) for queue, found in waiting if turn < len(found)]
        if len(picked) >= limit or len(picked) == before:
            break
    return picked[:limit]


def _lease(
    transaction: Transaction,
    picked: list[tuple[Any, Any]],
    agent: AgentInfo,
    lease_seconds: float,
    host_bound: frozenset[str],
) -> list[Claim]:
    """Make a new attempt of each run."""
    now = transaction.now
    expires = now + lease_seconds
    claims, taken, made = [], [], []
    for queue, run in picked:
        config = config_of(transaction.connection, transaction.configs, queue.id, queue.revision)
        spec = codec.decode_spec(run.spec)
        number, token = run.attempts + 1, new_token()
        taken.append({"p_seq": run.seq, "p_number": number})
        made.append(
            {
                "run_seq": run.seq,
                "number": number,
                "queue_id": queue.id,
                "revision": queue.revision,
                "agent": agent.name,
                "session": agent.session,
                "host": agent.host,
                "bound_to": agent.host if config.type in host_bound else "",
                "state": RunState.CLAIMED.value,
                "lease_token": token,
                "lease_expires_at": expires,
                "due_at": expires,
                "claimed_at": now,
                "run_seconds": spec.limits.run_seconds,
                "start_seconds": spec.limits.start_seconds,
            }
        )
        claims.append(
            Claim(
                lease=Lease(attempt_id=attempt_id(run.id, number), token=token, expires_at=expires),
                run_id=run.id,
                attempt=number,
                queue=queue.name,
                queue_config=config,
                spec=spec,
                state=RunState.CLAIMED,
                pinned=codec.decode_source(run.pinned),
                image=run.image,
                submitted_at=run.submitted_at,
                claimed_at=now,
            )
        )
        transaction.ring(f"run:{run.id}")
    if claims:
        transaction.execute(_TAKE, taken)
        transaction.execute(_ATTEMPT, made)
    return claims


def _adoptable_here(
    transaction: Transaction,
    rows: Iterable[Any],
    agent: AgentInfo,
    host_bound: frozenset[str],
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
    transaction: Transaction, rows: Iterable[Any], agent: AgentInfo, lease_seconds: float
) -> list[Claim]:
    """Give live attempts to this agent, with a new token.

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
            }
        )
        if not same:
            detail = f"adopted by agent {agent.name} on {agent.host}"
            timeline.note(transaction, row.run_seq, row.number, Stage.EXECUTE, detail)
        transaction.execute(_TOUCH, {"p_seq": row.run_seq})
        transaction.ring(f"run:{row.run_id}")
        claims.append(
            Claim(
                lease=Lease(attempt_id=attempt_id(row.run_id, row.number), token=token, expires_at=expires),
                run_id=row.run_id,
                attempt=row.number,
                queue=row.queue,
                queue_config=config_of(
                    transaction.connection, transaction.configs, row.queue_id, row.revision
                ),
                spec=codec.decode_spec(row.spec),
                state=RunState(row.state),
                adopted=True,
                pinned=codec.decode_source(row.pinned),
                image=row.image,
                handle=codec.decode_handle(row.handle),
                log=LogPosition(offset=row.log_bytes, cursor=row.log_cursor),
                submitted_at=row.submitted_at,
                claimed_at=row.claimed_at,
                running_since=row.running_since,
                deadline_at=row.deadline_at,
                stop=stop_reason(row, transaction.now),
            )
        )
    if leased:
        transaction.execute(_LEASE_AGAIN, leased)
    return claims

"""Claiming: adoptions first, then new runs, one queue after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import sqlalchemy as sa
from sqlalchemy import bindparam, case, func

from launchcore.plugin import AgentInfo, AgentNameTaken, Claim, Lease, RunState
from launchcore.store import adoption, codec, expiry, lanes, members
from launchcore.store.ids import attempt_id, new_token
from launchcore.store.lookup import attempt_key, config_of
from launchcore.store.prepared import Prepared
from launchcore.store.sets import Many, ManyNew
from launchcore.store.tables import NO_LANE, QUEUED, BigInt, agents, attempts, queues, runs
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
    .where(attempts.c.queue_id == queues.c.id, adoption.IS_ADOPTABLE)
    .correlate(queues)
    .scalar_subquery()
)
_NEXT_DUE = (
    sa.select(func.min(attempts.c.due_at))
    .where(attempts.c.queue_id == queues.c.id, attempts.c.ended_at.is_(None))
    .correlate(queues)
    .scalar_subquery()
)
_NEXT_RETRY = (
    sa.select(func.min(runs.c.retry_at))
    .where(runs.c.queue_id == queues.c.id, runs.c.retry_at.is_not(None))
    .correlate(queues)
    .scalar_subquery()
)
_OTHER_LANES = (
    sa.select(func.min(runs.c.lane))
    .where(
        runs.c.queue_id == queues.c.id,
        runs.c.state == QUEUED,
        runs.c.retry_at.is_(None),
        runs.c.lane > NO_LANE,
    )
    .correlate(queues)
    .scalar_subquery()
)
_NEXT_OVERDUE = (
    sa.select(func.min(runs.c.queue_until))
    .where(runs.c.queue_id == queues.c.id, runs.c.state == QUEUED, runs.c.queue_until.is_not(None))
    .correlate(queues)
    .scalar_subquery()
)

_SESSION = sa.select(agents.c.name).where(agents.c.name == bindparam("agent"))

HEAD = Prepared(
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
        _NEXT_OVERDUE.label("next_overdue"),
        _OTHER_LANES.label("other_lanes"),
        _SESSION.with_only_columns(agents.c.session).scalar_subquery().label("session"),
        _SESSION.with_only_columns(agents.c.expires_at).scalar_subquery().label("session_until"),
    ).where(queues.c.name == bindparam("name"), queues.c.deleted_at.is_(None))
)
"""All that a claim has to know of a queue before it takes anything."""

_LOCK = Prepared(
    sa.select(queues.c.id)
    .where(queues.c.name == bindparam("name"), queues.c.deleted_at.is_(None))
    .with_for_update(key_share=True)
)

_TAKE = Many(
    lambda given: (
        runs.update()
        .where(runs.c.seq == given("p_seq", BigInt))
        .values(
            state=RunState.CLAIMED.value, attempts=given("p_number", sa.Integer), changes=runs.c.changes + 1
        )
    ),
)
_ATTEMPT = ManyNew(
    attempts.insert(),
    "id",
    "run_seq",
    "number",
    "queue_id",
    "revision",
    "agent",
    "session",
    "host",
    "bound_to",
    "state",
    "lease_token",
    "lease_expires_at",
    "due_at",
    "claimed_at",
    "run_seconds",
    "start_seconds",
    "claim_key",
    "lane",
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
    key: str = "",
) -> Found:
    """Lease up to ``limit`` attempts of these queues to the agent. A queue that is gone has none.

    :param lost_after: seconds after its lease when an attempt that nobody could adopt is given up.
    :param host_bound: names of runners whose objects only an agent of the same host can see.
    :param key: the same key again gives the same session the same claims, those that have not ended: the
        answer to the first may have been lost.
    :raises AgentNameTaken: another session of the agent's name has taken its place.
    """
    heads: list[Any] = []
    for head in _heads(transaction, agent, names):
        if head.session is not None and head.session != agent.session:
            raise AgentNameTaken(f"another session of agent {agent.name!r} has taken its place")
        if head.session is None or head.session_until <= transaction.now or limit <= 0:
            return Found()
        if key and not heads and (earlier := adoption.again(transaction, agent, key)):
            return Found(claims=tuple(earlier))
        latest = _brought_up_to_date(transaction, head, agent, lost_after)
        heads += [latest] if latest is not None else []  # deleted meanwhile
    claims: list[Claim] = []
    for head in heads:
        if head.adoptable and len(claims) < limit:
            claims += adoption.adopt(
                transaction,
                head.id,
                agent,
                limit=limit - len(claims),
                lease_seconds=lease_seconds,
                host_bound=host_bound,
                key=key,
            )
    in_turn = _in_turn(transaction, heads, limit - len(claims))
    claims += _lease(transaction, in_turn, agent, lease_seconds=lease_seconds, host_bound=host_bound, key=key)
    times = [
        at for head in heads for at in (head.next_due, head.next_retry, head.next_overdue) if at is not None
    ]
    return Found(claims=tuple(claims), next_at=min(times, default=None))


def _heads(transaction: Transaction, agent: AgentInfo, names: Sequence[str]) -> list[Any]:
    """The queues that there are, in the order that is asked for.

    Those that limit what runs are held: claims of them come one after the other, each counting what those
    before it took. They are read again then: who counts while it waits counts what was there before. And
    they are always held in one order, so that none waits in a ring.
    """
    connection, asked = transaction.connection, {"host": agent.host, "agent": agent.name}
    found = {name: HEAD.first(connection, asked | {"name": name}) for name in dict.fromkeys(names)}
    if transaction.concurrent:
        for name in sorted(found):
            if _limits(found[name]):
                _LOCK.first(connection, {"name": name})
                found[name] = HEAD.first(connection, asked | {"name": name})
    return [head for head in found.values() if head is not None]


def _brought_up_to_date(transaction: Transaction, head: Any, agent: AgentInfo, lost_after: float) -> Any:
    """The state of a queue, after what time has brought to it."""
    due = head.next_due is not None and head.next_due <= transaction.now
    retry = head.next_retry is not None and head.next_retry <= transaction.now
    overdue = head.next_overdue is not None and head.next_overdue <= transaction.now
    if due:
        expiry.sweep(transaction, head.id, lost_after=lost_after)
    if retry:
        expiry.retry(transaction, head.id)
    if overdue:
        expiry.end_overdue(transaction, head.id)
    if not (due or retry or overdue):
        return head
    asked = {"name": head.name, "host": agent.host, "agent": agent.name}
    latest = HEAD.first(transaction.connection, asked)
    if transaction.concurrent and _limits(latest) and not _limits(head):
        _LOCK.first(transaction.connection, asked)  # a retry that has come due brought the first lane
        latest = HEAD.first(transaction.connection, asked)
    return latest


def _limits(head: Any) -> bool:
    """Whether the queue limits what runs, as far as anything waits for it."""
    return head is not None and (head.max_running is not None or head.other_lanes is not None)


def _in_turn(transaction: Transaction, heads: Iterable[Any], limit: int) -> list[tuple[Any, Any]]:
    """(queue, run): one run of each queue in turn, until there are ``limit`` or no more."""
    waiting: list[tuple[Any, list[Any]]] = []
    room = limit
    for head in heads:
        free = limit if head.max_running is None else min(limit, head.max_running - head.live)
        if room > 0 and free > 0 and not head.paused:
            found = _waiting(transaction, head, free)
            waiting.append((head, found))
            room -= bool(found)  # with one from each there is enough: the later queues need no look
    picked: list[tuple[Any, Any]] = []
    for turn in range(limit):
        before = len(picked)
        picked += [(head, found[turn]) for head, found in waiting if turn < len(found)]
        if len(picked) >= limit or len(picked) == before:
            break
    return picked[: max(0, limit)]


def _waiting(transaction: Transaction, head: Any, limit: int) -> list[Any]:
    """The next runs of a queue, in order, that nothing but the queue's own limit keeps waiting."""
    if head.other_lanes is None:
        asked = {"queue": head.id, "lane": "", "limit": limit}
        return lanes.WAITING.run(transaction.connection, asked)
    config = config_of(transaction.connection, transaction.configs, head.id, head.revision)
    return lanes.pick(transaction, head.id, config, limit)


def _lease(
    transaction: Transaction,
    picked: list[tuple[Any, Any]],
    agent: AgentInfo,
    *,
    lease_seconds: float,
    host_bound: frozenset[str],
    key: str,
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
                "id": attempt_key(run.seq, number),
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
                "claim_key": key or None,
                "lane": run.lane,
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
                submitter=run.submitter,
                submitted_at=run.submitted_at,
                claimed_at=now,
                resumed=members.ran_before(transaction.connection, run.seq, number),
                array=members.member_of(transaction.connection, run.array_seq, run.array_index),
            )
        )
        transaction.ring(f"run:{run.id}")
    _TAKE.execute(transaction.connection, taken)
    _ATTEMPT.insert(transaction.connection, made)
    return claims

"""Runs as people see them: one, by whatever they call it, or a page of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import sqlalchemy as sa
from sqlalchemy import bindparam, func

from launchcore.plugin import ArrayMember, Priority, RunState
from launchcore.queues.base import AttemptInfo, NotFound, Page, RunFilter, RunInfo
from launchcore.store import arrays as stored_arrays
from launchcore.store import codec
from launchcore.store.ids import attempt_id
from launchcore.store.lookup import find_queue_ever, is_of_run, unknown
from launchcore.store.prepared import Prepared
from launchcore.store.tables import NO_LANE, QUEUED, arrays, attempts, queues, run_specs, runs

MOST_ON_A_PAGE = 1000

_RUNS = (
    sa.select(
        runs,
        run_specs.c.spec,
        queues.c.name.label("queue"),
        arrays.c.id.label("array_id"),
        arrays.c.size.label("array_size"),
    )
    .join(run_specs, run_specs.c.seq == runs.c.seq)
    .join(queues, queues.c.id == runs.c.queue_id)
    .outerjoin(arrays, arrays.c.seq == runs.c.array_seq)
)
_ONE = _RUNS.where(runs.c.id == bindparam("run"))
_ATTEMPTS = Prepared(sa.select(attempts).where(is_of_run("seq")).order_by(attempts.c.id))
_CHANGES = sa.select(runs.c.changes).where(runs.c.id == bindparam("run"))
_AHEAD = (
    sa.select(func.count())
    .select_from(runs)
    .where(
        runs.c.queue_id == bindparam("queue"),
        runs.c.state == QUEUED,
        runs.c.retry_at.is_(None),
        runs.c.lane >= NO_LANE,
        sa.or_(
            runs.c.priority < bindparam("priority"),
            sa.and_(runs.c.priority == bindparam("priority"), runs.c.seq < bindparam("seq")),
        ),
    )
)
_BEGINNING = (
    sa.select(runs.c.id)
    .where(runs.c.id >= bindparam("low"), runs.c.id < bindparam("high"))
    .order_by(runs.c.id)
    .limit(6)
)
_QUEUES = sa.select(queues.c.id).where(queues.c.deleted_at.is_(None))
_NAMED = sa.select(runs.c.id).where(runs.c.name == bindparam("name")).order_by(runs.c.seq.desc()).limit(1)
_LATEST_IDS = sa.select(runs.c.id).order_by(runs.c.seq.desc()).limit(500)
_LATEST_NAMES = sa.select(runs.c.name).where(runs.c.name.is_not(None)).order_by(runs.c.seq.desc()).limit(500)
_ID_CHARACTERS = re.compile(r"[0-9a-z]{1,12}")


def find(connection: sa.Connection, ref: str) -> str:
    """The id of the run that is meant by an id, by the beginning of one, or by a name (its newest).

    :raises NotFound: there is no such run.
    :raises LaunchError: ``config_error`` (user): several ids begin like that.
    """
    begins: Sequence[str] = ()
    beginning = ref.lower()
    if _ID_CHARACTERS.fullmatch(beginning):
        between = {"low": beginning, "high": beginning + "~"}
        begins = connection.execute(_BEGINNING, between).scalars().all()
    if len(begins) == 1:
        return begins[0]
    named = connection.execute(_NAMED, {"name": ref}).scalar()
    if named is not None:
        return str(named)
    if begins:
        more = " and more" if len(begins) > 5 else ""
        raise codec.user_error(
            f"several runs begin with {ref!r}: {', '.join(begins[:5])}{more}", "give more of the id"
        )
    raise no_run(connection, ref)


def no_run(connection: sa.Connection, ref: str) -> NotFound:
    """The error for a run that is none."""
    known: set[str] = set(connection.execute(_LATEST_IDS).scalars())
    known |= set(connection.execute(_LATEST_NAMES).scalars())
    return unknown("run", ref, sorted(known), otherwise="see `launch runs`")


def one(connection: sa.Connection, run_id: str) -> RunInfo | None:
    """A run with its attempts and, while it is queued, its place."""
    row = connection.execute(_ONE, {"run": run_id}).first()
    if row is None:
        return None
    position = None
    if row.state == RunState.QUEUED.value and row.retry_at is None:
        before = {"queue": row.queue_id, "priority": row.priority, "seq": row.seq}
        position = connection.execute(_AHEAD, before).scalar_one()
    (info,) = _infos(connection, [row], position)
    return info


def known(connection: sa.Connection, run_id: str) -> RunInfo:
    """Like :func:`one`.

    :raises NotFound: there is no run with this id.
    """
    run = one(connection, run_id)
    if run is None:
        raise no_run(connection, run_id)
    return run


def changes(connection: sa.Connection, run_id: str) -> int | None:
    """How often a run has changed."""
    found = connection.execute(_CHANGES, {"run": run_id}).scalar()
    return None if found is None else int(found)


def page(connection: sa.Connection, asked: RunFilter) -> Page:
    """Runs that fit the filter, the newest first.

    Each state is a query of its own, by an index that has only such runs, so that the few failed ones
    among a million are found at once.

    :raises NotFound: there is no such queue.
    :raises LaunchError: ``config_error`` (user): the cursor is none.
    """
    limit = _limit(asked)
    if asked.array is not None:
        return _members(connection, asked, limit)
    queue_id = None if asked.queue is None else find_queue_ever(connection, asked.queue)
    in_queues = connection.execute(_QUEUES).scalars().all() if queue_id is None else (queue_id,)
    found = [row for query in queries(asked, queue_id, in_queues) for row in connection.execute(query)]
    found.sort(key=lambda row: row.seq, reverse=True)
    rows = found[:limit]
    following = f"{rows[-1].seq:d}" if len(found) > limit else None
    return Page(runs=tuple(_infos(connection, rows, None)), next=following)


def _members(connection: sa.Connection, asked: RunFilter, limit: int) -> Page:
    """Members of an array, in its order; the cursor is the index of the last one."""
    assert asked.array is not None
    query = _RUNS.where(runs.c.array_seq == stored_arrays.seq_of(connection, asked.array))
    after = asked.before
    for condition in _conditions(attrs.evolve(asked, before=None)):
        query = query.where(condition)
    if asked.queue is not None:
        query = query.where(runs.c.queue_id == find_queue_ever(connection, asked.queue))
    if asked.states:
        query = query.where(runs.c.state.in_([state.value for state in asked.states]))
    if after is not None:
        query = query.where(runs.c.array_index > _cursor(after))
    found = connection.execute(query.order_by(runs.c.array_index).limit(limit + 1)).all()
    following = f"{found[limit - 1].array_index:d}" if len(found) > limit else None
    return Page(runs=tuple(_infos(connection, found[:limit], None)), next=following)


def queries(asked: RunFilter, queue_id: int | None, in_queues: Sequence[int]) -> list[Any]:
    """The queries whose rows together hold a page, and one run more if there is one.

    What is queued is found queue by queue, by an index that has it in order.

    :param in_queues: the queues in which anything can be queued.
    """
    base = _RUNS.limit(_limit(asked) + 1)
    if queue_id is not None:
        base = base.where(runs.c.queue_id == queue_id)
    for condition in _conditions(asked):
        base = base.where(condition)
    newest_first = base.order_by(runs.c.seq.desc())
    if not asked.states:
        return [newest_first]
    found = [newest_first.where(_in_state(state)) for state in set(asked.states) - {RunState.QUEUED}]
    if RunState.QUEUED in asked.states:
        queued = newest_first.where(runs.c.state == QUEUED)
        found += [queued.where(runs.c.queue_id == each) for each in in_queues]
    return found


def _limit(asked: RunFilter) -> int:
    return max(1, min(asked.limit, MOST_ON_A_PAGE))


def _conditions(asked: RunFilter) -> Iterable[sa.ColumnElement[bool]]:
    if asked.job is not None:
        name, _, version = asked.job.partition(":")
        yield runs.c.job_name == name
        if version:
            yield runs.c.job_version == (int(version) if version.isdecimal() and len(version) < 10 else -1)
    if asked.name is not None:
        yield runs.c.name == asked.name
    if asked.submitter is not None:
        yield runs.c.submitter == asked.submitter
    if asked.since is not None:
        yield runs.c.submitted_at >= asked.since
    if asked.before is not None:
        yield runs.c.seq < _cursor(asked.before)


def _cursor(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise codec.user_error(f"{text[:40]!r} is no page of a listing", "begin with the first page")
    return int(text)


def _in_state(state: RunState) -> sa.ColumnElement[bool]:
    """Runs in one state, said so that the index of such runs fits. Most runs succeed: they need none."""
    if state is RunState.SUCCEEDED:
        return sa.and_(runs.c.state == state.value)
    if state.final:
        return sa.and_(runs.c.state == state.value, runs.c.failure.is_not(None))
    live = sa.select(attempts.c.run_seq).where(attempts.c.ended_at.is_(None))
    return sa.and_(runs.c.seq.in_(live), runs.c.state == state.value)


def _infos(connection: sa.Connection, rows: Sequence[Any], position: int | None) -> list[RunInfo]:
    return [
        _info(row, _ATTEMPTS.run(connection, {"seq": row.seq}) if row.attempts else (), position)
        for row in rows
    ]


def _info(row: Any, tried: Iterable[Any], position: int | None) -> RunInfo:
    return RunInfo(
        id=row.id,
        queue=row.queue,
        state=RunState(row.state),
        priority=Priority(row.priority),
        spec=codec.decode_spec(row.spec),
        submitter=row.submitter,
        submitted_at=row.submitted_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        cancel_requested_at=row.cancel_requested_at,
        retry_at=row.retry_at,
        attempts=tuple(_attempt(row.id, attempt) for attempt in tried),
        failure=codec.decode_failure(row.failure),
        exit_code=row.exit_code,
        signal=row.signal,
        pinned=codec.decode_source(row.pinned),
        image=row.image,
        retry_of=row.retry_of,
        position=position,
        changes=row.changes,
        retries=row.retries,
        preempted=row.preempted,
        quarantined=bool(row.quarantined),
        array=None
        if row.array_id is None
        else ArrayMember(id=row.array_id, index=row.array_index, size=row.array_size),
    )


def _attempt(run_id: str, row: Any) -> AttemptInfo:
    return AttemptInfo(
        id=attempt_id(run_id, row.number),
        number=row.number,
        agent=row.agent,
        state=RunState(row.state),
        claimed_at=row.claimed_at,
        running_since=row.running_since,
        ended_at=row.ended_at,
        lease_expires_at=row.lease_expires_at if row.ended_at is None else None,
        handle=codec.decode_handle(row.handle),
        failure=codec.decode_failure(row.failure),
        exit_code=row.exit_code,
        signal=row.signal,
        log_bytes=row.log_bytes,
        usage=codec.decode_usage(row.usage) if row.usage else {},
    )

"""Run arrays: runs that were submitted together, and are listed and cancelled together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec
import sqlalchemy as sa
from sqlalchemy import bindparam, func

from launchcore.plugin import ArrayMember, Json, RunState
from launchcore.queues.base import ArrayInfo
from launchcore.store import codec, runs_change
from launchcore.store.ids import new_run_id
from launchcore.store.lookup import Lock, find_queue, unknown
from launchcore.store.tables import arrays, queues, runs
from launchcore.store.writer import Transaction

_PREFIX: Final = "a-"
"""An array's id cannot be a run's: those have no hyphen."""
_ID: Final = re.compile(r"a-[0-9a-z]{1,12}")
_decode_axes = msgspec.json.Decoder(dict[str, tuple[Any, ...]]).decode

_KEY = sa.select(arrays.c.id).where(
    arrays.c.queue_id == bindparam("queue"), arrays.c.submit_key == bindparam("key")
)
_INSERT = arrays.insert()
_ARRAYS = sa.select(arrays, queues.c.name.label("queue")).join(queues, queues.c.id == arrays.c.queue_id)
_ONE = _ARRAYS.where(arrays.c.id == bindparam("id"))
_BEGINNING = (
    sa.select(arrays.c.id)
    .where(arrays.c.id >= bindparam("low"), arrays.c.id < bindparam("high"))
    .order_by(arrays.c.id)
    .limit(6)
)
_NAMED = (
    sa.select(arrays.c.id).where(arrays.c.name == bindparam("name")).order_by(arrays.c.seq.desc()).limit(1)
)
_LATEST = sa.select(arrays.c.id, arrays.c.name).order_by(arrays.c.seq.desc()).limit(200)
_COUNTS = (
    sa.select(runs.c.state, func.count().label("runs"))
    .where(runs.c.array_seq == bindparam("seq"))
    .group_by(runs.c.state)
)
_UNENDED = (
    sa.select(runs.c.id)
    .where(
        runs.c.array_seq == bindparam("seq"),
        runs.c.state.not_in([state.value for state in RunState if state.final]),
    )
    .order_by(runs.c.array_index.desc())
)
_SEQ = sa.select(arrays.c.seq).where(arrays.c.id == bindparam("id"))


@attrs.frozen(kw_only=True)
class ArraySubmission:
    """What is to be stored as an array. ``members``: each admitted; all of one queue and submitter."""

    members: Sequence[runs_change.Submission]
    axes: Mapping[str, Sequence[Json]]
    name: str | None
    max_parallel: int | None
    key: str | None


def submit(transaction: Transaction, asked: ArraySubmission) -> str:
    """Store all runs of an array, or none; returns its id, or that of the one with the same key.

    :raises NotFound: there is no such queue.
    :raises LaunchError: ``config_error`` (user): there is no room for so many runs.
    :raises QueueChanged: the admission is out of date.
    """
    first = asked.members[0]
    queue = find_queue(transaction.connection, first.queue, Lock.SHARED)
    if asked.key is not None:
        earlier = transaction.execute(_KEY, {"queue": queue.id, "key": asked.key}).scalar()
        if earlier is not None:
            return str(earlier)
    if queue.revision != first.revision:
        raise runs_change.QueueChanged
    size = len(asked.members)
    runs_change.check(transaction, queue, first, count=size)
    array_id = _PREFIX + new_run_id(transaction.now)
    row = {
        "id": array_id,
        "queue_id": queue.id,
        "name": asked.name,
        "submitter": first.submitter,
        "submit_key": asked.key,
        "submitted_at": transaction.now,
        "axes": codec.encode_asked(asked.axes, "the array"),
        "size": size,
        "max_parallel": asked.max_parallel,
    }
    made = transaction.execute(_INSERT, row).inserted_primary_key
    assert made is not None
    lane = runs_change.lane(transaction, queue, first, array_id, asked.max_parallel)
    for index, member in enumerate(asked.members):
        place = ArrayMember(id=array_id, index=index, size=size)
        runs_change.store(transaction, queue, attrs.evolve(member, lane=lane), array=(made[0], place))
    return array_id


def find(connection: sa.Connection, ref: str) -> str:
    """The id of the array that is meant by an id, by the beginning of one, or by a name (its newest).

    :raises NotFound: there is no such array.
    :raises LaunchError: ``config_error`` (user): several ids begin like that.
    """
    begins: Sequence[str] = ()
    if _ID.fullmatch(ref.lower()):
        between = {"low": ref.lower(), "high": ref.lower() + "~"}
        begins = connection.execute(_BEGINNING, between).scalars().all()
    if len(begins) == 1:
        return begins[0]
    named = connection.execute(_NAMED, {"name": ref}).scalar()
    if named is not None:
        return str(named)
    if begins:
        raise codec.user_error(
            f"several arrays begin with {ref!r}: {', '.join(begins[:5])}", "give more of the id"
        )
    latest = connection.execute(_LATEST).all()
    known = {text for row in latest for text in (row.id, row.name) if text}
    raise unknown("array", ref, sorted(known), otherwise="make one with `launch submit --array`")


def info(connection: sa.Connection, array_id: str) -> ArrayInfo:
    """:raises NotFound: there is no array with this id."""
    row = connection.execute(_ONE, {"id": array_id}).first()
    if row is None:
        return info(connection, find(connection, array_id))
    counts = connection.execute(_COUNTS, {"seq": row.seq}).all()
    found = {each.state: each.runs for each in counts}
    return ArrayInfo(
        id=row.id,
        queue=row.queue,
        name=row.name,
        submitter=row.submitter,
        submitted_at=row.submitted_at,
        axes=_decode_axes(row.axes),
        size=row.size,
        max_parallel=row.max_parallel,
        counts={state.value: found[state.value] for state in RunState if state.value in found},
    )


def seq_of(connection: sa.Connection, array_id: str) -> int:
    """:raises NotFound: there is no array with this id."""
    found = connection.execute(_SEQ, {"id": array_id}).scalar()
    return int(found) if found is not None else seq_of(connection, find(connection, array_id))


def cancel(transaction: Transaction, array_id: str, by: str, *, lost_after: float) -> None:
    """Cancel all members that have not ended, the last first, so that none takes another's place.

    :raises NotFound: there is no array with this id.
    """
    seq = seq_of(transaction.connection, array_id)
    for run_id in transaction.execute(_UNENDED, {"seq": seq}).scalars().all():
        runs_change.cancel(transaction, run_id, by, lost_after=lost_after)

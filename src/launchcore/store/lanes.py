"""Lanes: the runs of a queue that share limits besides the queue's own.

A run that nothing but its queue limits has no lane (``""``). Where the queue limits each submitter, each
submitter has a lane of their own, and so has each run array whose members may not all run at a time. A
claim looks at the head of each lane only, so a lane that is full costs a step, however long it is, and
never holds up another. A lane's name says what limits it: ``submitter 0x1f array/max_parallel``, with both
parts optional.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import attrs
import sqlalchemy as sa
from sqlalchemy import bindparam, func

from launchcore.plugin import QueueConfig
from launchcore.store.prepared import Prepared
from launchcore.store.tables import NO_LANE, QUEUED, arrays, attempts, run_specs, runs
from launchcore.store.writer import Transaction

_AFTER_SUBMITTER: Final = "\x1f"
_BEYOND: Final = "\x20"
"""The character after it: what begins with a submitter's lane is before this."""

_READY = (runs.c.queue_id == bindparam("queue"), runs.c.state == QUEUED, runs.c.retry_at.is_(None))
WAITING = Prepared(
    sa.select(
        runs.c.seq,
        runs.c.id,
        runs.c.priority,
        runs.c.attempts,
        runs.c.submitter,
        runs.c.submitted_at,
        runs.c.pinned,
        runs.c.image,
        runs.c.lane,
        runs.c.array_seq,
        runs.c.array_index,
        run_specs.c.spec,
    )
    .join(run_specs, run_specs.c.seq == runs.c.seq)
    .where(*_READY, runs.c.lane == bindparam("lane"))
    .order_by(runs.c.priority, runs.c.seq)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True, of=runs)
)
"""The next runs of a lane of a queue."""

_head = runs.alias("head")
_lanes = sa.select(func.min(runs.c.lane).label("lane")).where(*_READY).cte("lanes", recursive=True)
_lanes = _lanes.union_all(
    sa.select(
        sa.select(func.min(runs.c.lane))
        .where(*_READY, runs.c.lane > _lanes.c.lane)
        .correlate(_lanes)
        .scalar_subquery()
    ).where(_lanes.c.lane.is_not(None))
)
_IS_HEAD = (
    _head.c.queue_id == bindparam("queue"),
    _head.c.state == QUEUED,
    _head.c.retry_at.is_(None),
    _head.c.lane == _lanes.c.lane,
)
HEADS = Prepared(
    sa.select(
        _lanes.c.lane,
        sa.select(func.min(_head.c.priority)).where(*_IS_HEAD).scalar_subquery().label("priority"),
        sa.select(_head.c.seq)
        .where(*_IS_HEAD)
        .order_by(_head.c.priority, _head.c.seq)
        .limit(1)
        .scalar_subquery()
        .label("seq"),
    ).where(_lanes.c.lane.is_not(None))
)
"""Each lane of a queue, and its next run: as many steps in an index as there are lanes."""

LIVE = Prepared(
    sa.select(attempts.c.lane, func.count().label("live"))
    .where(
        attempts.c.queue_id == bindparam("queue"), attempts.c.ended_at.is_(None), attempts.c.lane != NO_LANE
    )
    .group_by(attempts.c.lane)
)
OF_SUBMITTER = Prepared(
    sa.select(func.count().label("queued")).select_from(
        sa.select(runs.c.seq)
        .where(*_READY, runs.c.lane >= bindparam("first"), runs.c.lane < bindparam("beyond"))
        .limit(bindparam("most"))
        .subquery()
    )
)
"""How many runs of a submitter are ready to be claimed, at most ``most``."""
OF_QUEUE = Prepared(
    sa.select(func.count().label("queued")).select_from(
        # Every lane is: said so that the index of what is ready is read.
        sa.select(runs.c.seq).where(*_READY, runs.c.lane >= NO_LANE).limit(bindparam("most")).subquery()
    )
)

_PREFIX = sa.case(
    (
        bindparam("p_each", type_=sa.Boolean),
        func.replace(runs.c.submitter, _AFTER_SUBMITTER, " ") + _AFTER_SUBMITTER,
    ),
    else_="",
)
_OF_ARRAY = (
    sa.select(arrays.c.id + "/" + sa.cast(arrays.c.max_parallel, sa.Text))
    .where(arrays.c.seq == runs.c.array_seq, arrays.c.max_parallel.is_not(None))
    .correlate(runs)
    .scalar_subquery()
)
_LIVE_RUNS = sa.select(attempts.c.run_seq).where(
    attempts.c.queue_id == bindparam("p_queue"), attempts.c.ended_at.is_(None)
)
_MOVE = (
    runs.update()
    .where(
        runs.c.queue_id == bindparam("p_queue"),
        sa.or_(runs.c.state == QUEUED, runs.c.seq.in_(_LIVE_RUNS)),
    )
    .values(lane=_PREFIX + func.coalesce(_OF_ARRAY, ""))
)
_MOVE_ATTEMPTS = (
    attempts.update()
    .where(attempts.c.queue_id == bindparam("p_queue"), attempts.c.ended_at.is_(None))
    .values(
        lane=sa.select(runs.c.lane)
        .where(runs.c.seq == attempts.c.run_seq)
        .correlate(attempts)
        .scalar_subquery()
    )
)


def limits_submitters(config: QueueConfig) -> bool:
    """Whether each submitter has a lane of their own."""
    return config.max_running_per_submitter is not None or config.max_queued_per_submitter is not None


def lane_of(
    config: QueueConfig, submitter: str, array: str | None = None, max_parallel: int | None = None
) -> str:
    """The lane of a run, by its queue, its submitter and the array that it is a member of."""
    first = _of_submitter(submitter) if limits_submitters(config) else ""
    return first if max_parallel is None else f"{first}{array}/{max_parallel}"


def queued(transaction: Transaction, queue_id: int, *, most: int, submitter: str | None = None) -> int:
    """Runs that are ready to be claimed, of a queue or of a submitter in it; counted up to ``most``."""
    asked: dict[str, Any] = {"queue": queue_id, "most": most}
    statement = OF_QUEUE
    if submitter is not None:
        first = _of_submitter(submitter)
        asked |= {"first": first, "beyond": first[:-1] + _BEYOND}
        statement = OF_SUBMITTER
    return int(statement.first(transaction.connection, asked).queued)


def move(transaction: Transaction, queue_id: int, config: QueueConfig) -> None:
    """The queue limits its submitters now, or no longer: its runs change their lanes."""
    values = {"p_queue": queue_id, "p_each": limits_submitters(config)}
    transaction.execute(_MOVE, values)
    transaction.execute(_MOVE_ATTEMPTS, values)


def pick(transaction: Transaction, queue_id: int, config: QueueConfig, limit: int) -> list[Any]:
    """The next runs of all lanes together, in order, as far as their limits allow."""
    rooms = _Rooms(transaction, queue_id, config)
    heads = HEADS.run(transaction.connection, {"queue": queue_id})
    order = [(head.priority, head.seq, head.lane) for head in heads]
    heapq.heapify(order)
    opened: dict[str, Iterator[Any]] = {}
    following: dict[str, Any] = {}
    picked: list[Any] = []
    while order and len(picked) < limit:
        _, seq, lane = heapq.heappop(order)
        if not rooms.free(lane):
            continue
        if lane not in opened:
            asked = {"queue": queue_id, "lane": lane, "limit": limit - len(picked)}
            opened[lane] = iter(WAITING.run(transaction.connection, asked))
            following[lane] = next(opened[lane], None)
        run = following[lane]
        if run is not None and run.seq == seq:
            picked.append(run)
            rooms.take(lane)
            run = following[lane] = next(opened[lane], None)
        if run is not None:
            heapq.heappush(order, (run.priority, run.seq, lane))
    return picked


@attrs.frozen
class _Lane:
    """What limits the runs of a lane."""

    submitter: str | None
    array: str | None
    max_parallel: int | None


class _Rooms:
    """How much room there is left in each lane, while one claim fills them."""

    def __init__(self, transaction: Transaction, queue_id: int, config: QueueConfig) -> None:
        self._most = config.max_running_per_submitter
        self._submitters: Counter[str | None] = Counter()
        self._arrays: Counter[str | None] = Counter()
        for row in LIVE.run(transaction.connection, {"queue": queue_id}):
            self.take(row.lane, row.live)

    def take(self, lane: str, count: int = 1) -> None:
        limited = _read(lane)
        self._submitters[limited.submitter] += count
        self._arrays[limited.array] += count

    def free(self, lane: str) -> bool:
        limited = _read(lane)
        most = self._most if limited.submitter is not None else None
        if most is not None and self._submitters[limited.submitter] >= most:
            return False
        return limited.max_parallel is None or self._arrays[limited.array] < limited.max_parallel


def _of_submitter(submitter: str) -> str:
    return submitter.replace(_AFTER_SUBMITTER, " ") + _AFTER_SUBMITTER


def _read(lane: str) -> _Lane:
    submitter, separator, rest = lane.rpartition(_AFTER_SUBMITTER)
    array, _, most = rest.partition("/")
    return _Lane(
        submitter=submitter if separator else None,
        array=array or None,
        max_parallel=int(most) if most else None,
    )

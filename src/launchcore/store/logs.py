"""Stored logs: bytes in chunks, appended by offset, read from any offset without a scan."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from launchcore.plugin import RunState
from launchcore.queues.base import LogChunk, NotFound
from launchcore.store.ids import attempt_id
from launchcore.store.lookup import is_of_run
from launchcore.store.prepared import Prepared
from launchcore.store.tables import attempts, log_chunks, runs
from launchcore.store.writer import Transaction

SMALL = 8 * 1024
"""Appends are gathered into one chunk until it has so many bytes: rewriting it costs two pages."""
LARGE = 64 * 1024
"""No chunk has more."""
MOST_READ = 16 << 20

_ADD = Prepared(log_chunks.insert(), "attempt_id", "offset", "data")
_TAIL = Prepared(
    sa.select(log_chunks.c.data).where(
        log_chunks.c.attempt_id == bindparam("p_attempt"), log_chunks.c.offset == bindparam("p_at")
    )
)
_GROW = Prepared(
    log_chunks.update()
    .where(log_chunks.c.attempt_id == bindparam("p_attempt"), log_chunks.c.offset == bindparam("p_at"))
    .values(data=bindparam("p_grown"))
)
_START = (
    sa.select(log_chunks.c.offset)
    .where(log_chunks.c.attempt_id == bindparam("attempt"), log_chunks.c.offset <= bindparam("at"))
    .order_by(log_chunks.c.offset.desc())
    .limit(1)
)
_READ = (
    sa.select(log_chunks.c.offset, log_chunks.c.data)
    .where(
        log_chunks.c.attempt_id == bindparam("attempt"),
        log_chunks.c.offset >= bindparam("start"),
        log_chunks.c.offset < bindparam("end"),
    )
    .order_by(log_chunks.c.offset)
)
_ATTEMPTS = (
    sa.select(attempts.c.id, attempts.c.number, attempts.c.log_bytes, attempts.c.ended_at)
    .where(is_of_run("seq"))
    .order_by(attempts.c.number.desc())
)
_RUN = sa.select(runs.c.seq, runs.c.id, runs.c.state).where(runs.c.id == bindparam("run"))


def last_chunk_offset(offset: int, length: int) -> int:
    """Where the last chunk begins, when ``length`` bytes at ``offset`` make chunks of their own."""
    return offset + (length - 1) // LARGE * LARGE if length else offset


def store(transaction: Transaction, attempt: int, *, offset: int, data: bytes, tail: int) -> None:
    """Store ``data`` at ``offset``, into the chunk that begins at ``tail`` if that is before it."""
    if not data:
        return
    if tail < offset:
        where = {"p_attempt": attempt, "p_at": tail}
        before = _TAIL.first(transaction.connection, where)
        _GROW.run(transaction.connection, where | {"p_grown": before.data + data})
        return
    pieces = [
        {"attempt_id": attempt, "offset": offset + start, "data": data[start : start + LARGE]}
        for start in range(0, len(data), LARGE)
    ]
    _ADD.run_many(transaction.connection, pieces)


def read(
    connection: sa.Connection, run_id: str, *, number: int | None, offset: int, limit: int
) -> LogChunk | None:
    """Some of a run's log; ``None``: no such run.

    :raises NotFound: no such attempt.
    """
    run = connection.execute(_RUN, {"run": run_id}).first()
    if run is None:
        return None
    rows = connection.execute(_ATTEMPTS, {"seq": run.seq}).all()
    row = _choose(rows, number, run_id)
    offset = max(0, offset)
    if row is None:
        return LogChunk(attempt_id="", offset=0, data=b"", next=0, end=RunState(run.state).final)
    limit = max(0, min(limit, MOST_READ, row.log_bytes - offset))
    data = _bytes(connection, row.id, offset, limit) if limit else b""
    reached = offset + len(data)
    return LogChunk(
        attempt_id=attempt_id(run_id, row.number),
        offset=offset,
        data=data,
        next=reached,
        end=row.ended_at is not None and reached >= row.log_bytes,
    )


def _choose(rows: Any, number: int | None, run_id: str) -> Any:
    """The attempt that is meant: the given one, or the newest that has a log, or the newest."""
    if number is None:
        return next((row for row in rows if row.log_bytes), rows[0] if rows else None)
    for row in rows:
        if row.number == number:
            return row
    count = f"it has {len(rows)}" if rows else "it has none yet"
    raise NotFound(f"run {run_id} has no attempt {number}", hint=count)


def _bytes(connection: sa.Connection, attempt: int, offset: int, limit: int) -> bytes:
    start = connection.execute(_START, {"attempt": attempt, "at": offset}).scalar()
    if start is None:
        return b""
    chunks = connection.execute(_READ, {"attempt": attempt, "start": start, "end": offset + limit}).all()
    return b"".join(chunk.data for chunk in chunks)[offset - start : offset - start + limit]

"""Reading what several transactions need, and finding things by the names that people type."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from launchcore.plugin import QueueConfig
from launchcore.queues.base import NotFound
from launchcore.store import codec
from launchcore.store.prepared import Prepared
from launchcore.store.sets import Given, parameter
from launchcore.store.tables import BigInt, attempts, queue_revisions, queues, run_specs, runs, service
from launchcore.store.writer import Configs

ATTEMPT = (
    attempts,
    runs.c.id.label("run_id"),
    runs.c.submitter,
    runs.c.submitted_at,
    runs.c.cancelled_by,
    runs.c.lost,
    runs.c.retries,
    runs.c.preempted,
    runs.c.pinned,
    runs.c.image,
    runs.c.job_name,
    runs.c.job_version,
    runs.c.array_seq,
    runs.c.array_index,
)
"""The columns of an attempt with what its run adds to it."""

_ATTEMPTS_OF_A_RUN = 1 << 20


def attempt_key(run_seq: Any, number: Any) -> Any:
    """An attempt's key: of numbers a number, of SQL expressions an expression."""
    return run_seq * _ATTEMPTS_OF_A_RUN + number


def is_attempt(run: str, number: str, given: Given = parameter) -> sa.ColumnElement[bool]:
    """A condition: it is the attempt with the number in parameter ``number`` of the run in ``run``."""
    of_run = runs.c.id == given(run)
    seq = sa.select(runs.c.seq).where(of_run).correlate_except(runs).scalar_subquery()
    return sa.and_(attempts.c.id == attempt_key(seq, given(number, BigInt)))


def is_of_run(parameter: str) -> sa.ColumnElement[bool]:
    """A condition: it is an attempt of the run whose ``seq`` is in the parameter."""
    seq = bindparam(parameter, type_=sa.Integer)
    return attempts.c.id.between(attempt_key(seq, 0), attempt_key(seq, _ATTEMPTS_OF_A_RUN - 1))


ATTEMPT_OF_RUN = (
    sa.select(*ATTEMPT).join(runs, runs.c.seq == attempts.c.run_seq).where(is_attempt("run", "number"))
)
ATTEMPT_WITH_SPEC = (
    sa.select(*ATTEMPT, run_specs.c.spec, queues.c.name.label("queue"))
    .join(runs, runs.c.seq == attempts.c.run_seq)
    .join(run_specs, run_specs.c.seq == runs.c.seq)
    .join(queues, queues.c.id == attempts.c.queue_id)
)


class Lock(enum.Enum):
    """How a queue is held until the end of a transaction, where several write at a time.

    Of each two transactions that hold a queue, one waits for the other, unless both say ``SHARED``, or one
    does and the other says ``CHANGING``.
    """

    SHARED = "shared"
    """It stays: a run is added to it."""
    CHANGING = "changing"
    """It is changed, or what was counted in it is to stay true."""
    DELETING = "deleting"


_BY_NAME = sa.select(queues).where(queues.c.name == bindparam("name"), queues.c.deleted_at.is_(None))
_QUEUE = {
    None: Prepared(_BY_NAME),
    Lock.SHARED: Prepared(_BY_NAME.with_for_update(read=True, key_share=True)),
    Lock.CHANGING: Prepared(_BY_NAME.with_for_update(key_share=True)),
    Lock.DELETING: Prepared(_BY_NAME.with_for_update()),
}
_QUEUE_EVER = (
    sa.select(queues.c.id)
    .where(queues.c.name == bindparam("name"))
    .order_by(sa.case((queues.c.deleted_at.is_(None), 0), else_=1), queues.c.id.desc())
    .limit(1)
)
_QUEUE_NAMES = sa.select(queues.c.name).where(queues.c.deleted_at.is_(None)).order_by(queues.c.name)
_CONFIG = sa.select(queue_revisions.c.config).where(
    queue_revisions.c.queue_id == bindparam("queue"), queue_revisions.c.revision == bindparam("revision")
)

_IDENTITY = sa.select(service.c.identity)


def find_queue(connection: sa.Connection, name: str, lock: Lock | None = None) -> Any:
    """The row of a queue.

    :param lock: hold it as well, before what is read of it counts.
    :raises NotFound: there is none of that name.
    """
    row = _QUEUE[lock].first(connection, {"name": name})
    if row is None:
        names = connection.execute(_QUEUE_NAMES).scalars().all()
        raise unknown("queue", name, names, otherwise="make it with `launch queue create`")
    return row


def find_queue_ever(connection: sa.Connection, name: str) -> int:
    """The id of a queue, or of the one of that name that was deleted last: its runs are still there.

    :raises NotFound: there was never one of that name.
    """
    found = connection.execute(_QUEUE_EVER, {"name": name}).scalar()
    return int(found) if found is not None else int(find_queue(connection, name).id)


def config_of(connection: sa.Connection, configs: Configs, queue_id: int, revision: int) -> QueueConfig:
    """A queue's configuration in one of its revisions."""
    key = (queue_id, revision)
    if key not in configs:
        stored = connection.execute(_CONFIG, {"queue": queue_id, "revision": revision}).scalar_one()
        configs[key] = codec.decode_config(stored)
    return configs[key]


def unknown(kind: str, name: str, known: Iterable[str], *, otherwise: str | None = None) -> NotFound:
    """The error for a name that is nobody's, with the nearest right ones."""
    choices = list(known)
    near = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    if near:
        hint: str | None = f"did you mean {' or '.join(near)}?"
    elif choices and len(choices) <= 8:
        hint = f"there are: {', '.join(choices)}"
    else:
        hint = otherwise
    return NotFound(f"no {kind} {name[:80]!r}", hint=hint)


def identity(connection: sa.Connection) -> str:
    """What tells this queue service from every other."""
    return str(connection.execute(_IDENTITY).scalar_one())

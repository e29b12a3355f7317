"""Queues: made, edited, paused, deleted, and how busy they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam, func

from launchcore.plugin import QueueConfig
from launchcore.queues.base import QueueInfo
from launchcore.store import codec, lanes, quarantine, runs_change
from launchcore.store.lookup import Lock, config_of, find_queue
from launchcore.store.tables import QUEUED, agents, attempts, queue_revisions, queues, runs
from launchcore.store.writer import Configs, Transaction

_QUEUED = (
    sa.select(func.count())
    .select_from(runs)
    .where(runs.c.queue_id == queues.c.id, runs.c.state == QUEUED)
    .correlate(queues)
    .scalar_subquery()
)
_RUNNING = (
    sa.select(func.count())
    .select_from(attempts)
    .where(attempts.c.queue_id == queues.c.id, attempts.c.ended_at.is_(None))
    .correlate(queues)
    .scalar_subquery()
)
_LIST = (
    sa.select(queues, _QUEUED.label("queued"), _RUNNING.label("running"))
    .where(queues.c.deleted_at.is_(None))
    .order_by(queues.c.name)
)
_ONE = _LIST.where(queues.c.name == bindparam("name"))
_SERVED = sa.select(agents.c.name, agents.c.queues).where(
    agents.c.expires_at > bindparam("now", type_=sa.Float)
)
_EXISTS = sa.select(queues.c.id).where(queues.c.name == bindparam("name"), queues.c.deleted_at.is_(None))
_INSERT = queues.insert()
_REVISE = queue_revisions.insert()
_EDIT = (
    queues.update()
    .where(queues.c.id == bindparam("p_id"))
    .values(
        revision=bindparam("p_revision"),
        max_running=bindparam("p_max_running"),
        paused=bindparam("p_paused"),
        updated_at=bindparam("p_now"),
    )
)
_DELETE = queues.update().where(queues.c.id == bindparam("p_id")).values(deleted_at=bindparam("p_now"))


def create(transaction: Transaction, name: str, config: QueueConfig) -> None:
    """:raises LaunchError: ``config_error`` (user): there is one of that name."""
    if transaction.execute(_EXISTS, {"name": name}).first() is not None:
        raise codec.user_error(f"queue {name!r} exists already", f"change it with `launch queue edit {name}`")
    now = transaction.now
    row = {
        "name": name,
        "revision": 1,
        "max_running": config.max_running,
        "created_at": now,
        "updated_at": now,
    }
    key = transaction.execute(_INSERT, row).inserted_primary_key
    assert key is not None
    _revise(transaction, key[0], 1, config)


def edit(
    transaction: Transaction, name: str, config: QueueConfig, paused: bool | None, release: str | None = None
) -> None:
    """Give it this configuration. Attempts that were claimed keep theirs.

    :param release: a job (``name:version`` or ``name``) whose runs it takes again.
    :raises NotFound: there is none of that name.
    :raises LaunchError: ``config_error`` (user): it refuses no such job.
    """
    row = find_queue(transaction.connection, name, Lock.CHANGING)
    revision = row.revision
    before = config_of(transaction.connection, transaction.configs, row.id, revision)
    if before != config:
        revision += 1
        _revise(transaction, row.id, revision, config)
    if lanes.limits_submitters(before) != lanes.limits_submitters(config):
        lanes.move(transaction, row.id, config)
    if release is not None:
        quarantine.release(transaction, row, release)
    values = {
        "p_id": row.id,
        "p_revision": revision,
        "p_max_running": config.max_running,
        "p_paused": row.paused if paused is None else paused,
        "p_now": transaction.now,
    }
    transaction.execute(_EDIT, values)
    transaction.ring(f"queue:{name}")


def delete(transaction: Transaction, name: str, *, force: bool) -> None:
    """Delete it. Its ended runs stay.

    :param force: cancel its queued runs first.
    :raises LaunchError: ``config_error`` (user): it has live runs, or queued ones without ``force``.
    """
    find_queue(transaction.connection, name, Lock.DELETING)
    row = transaction.execute(_ONE, {"name": name}).one()
    if row.running:
        raise codec.user_error(
            f"queue {name!r} has {row.running} live run(s)",
            f"wait for them, or cancel them: `launch runs --queue {name}`",
        )
    if row.queued and not force:
        raise codec.user_error(
            f"queue {name!r} has {row.queued} queued run(s)",
            "delete it with --force to cancel them",
        )
    runs_change.cancel_all_queued(transaction, row.id, "the deletion of its queue")
    transaction.execute(_DELETE, {"p_id": row.id, "p_now": transaction.now})
    transaction.ring(f"queue:{name}")


def info(connection: sa.Connection, configs: Configs, name: str, *, now: float) -> QueueInfo:
    """:raises NotFound: there is none of that name."""
    row = connection.execute(_ONE, {"name": name}).first()
    if row is None:
        find_queue(connection, name)
    return _info(connection, configs, row, _served(connection, now), quarantine.refused(connection))


def listed(connection: sa.Connection, configs: Configs, *, now: float) -> Sequence[QueueInfo]:
    """All queues, by name."""
    served, refused = _served(connection, now), quarantine.refused(connection)
    return tuple(_info(connection, configs, row, served, refused) for row in connection.execute(_LIST).all())


def _revise(transaction: Transaction, queue_id: int, revision: int, config: QueueConfig) -> None:
    row = {
        "queue_id": queue_id,
        "revision": revision,
        "config": codec.encode_asked(config, "the queue's configuration"),
        "created_at": transaction.now,
    }
    transaction.execute(_REVISE, row)


def _served(connection: sa.Connection, now: float) -> dict[str, list[str]]:
    """Queue → the live agents that serve it."""
    served: dict[str, list[str]] = {}
    for agent in connection.execute(_SERVED, {"now": now}):
        for queue in codec.decode_names(agent.queues):
            served.setdefault(queue, []).append(agent.name)
    return served


def _info(
    connection: sa.Connection,
    configs: Configs,
    row: Any,
    served: dict[str, list[str]],
    quarantined: dict[int, list[tuple[str, int]]],
) -> QueueInfo:
    config = config_of(connection, configs, row.id, row.revision)
    most = config.retry.max_quarantined
    return QueueInfo(
        name=row.name,
        config=config,
        paused=bool(row.paused),
        created_at=row.created_at,
        updated_at=row.updated_at,
        queued=row.queued,
        running=row.running,
        agents=tuple(sorted(served.get(row.name, ()))),
        refused_jobs=tuple(ref for ref, count in quarantined.get(row.id, ()) if 1 <= most <= count),
    )

"""Versions of jobs whose runs bring agent after agent down: a queue takes no more of them.

Counted are quarantined runs in a row: one that succeeds, or the queue's owner, ends the row.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import bindparam

from launchcore.plugin import QueueConfig
from launchcore.store import codec
from launchcore.store.tables import quarantines, runs
from launchcore.store.writer import Transaction

_IS_OF_RUN: Final = sa.and_(
    quarantines.c.queue_id == runs.c.queue_id,
    quarantines.c.job_name == runs.c.job_name,
    quarantines.c.job_version == runs.c.job_version,
)
COUNT: Final = sa.select(quarantines.c.runs).where(_IS_OF_RUN).correlate(runs).scalar_subquery()
"""Of a run's job in its queue; ``NULL``: none."""

_IS = sa.and_(
    quarantines.c.queue_id == bindparam("p_queue"),
    quarantines.c.job_name == bindparam("p_job"),
    quarantines.c.job_version == bindparam("p_version"),
)
_AGAIN = (
    quarantines.update()
    .where(_IS)
    .values(runs=quarantines.c.runs + 1, latest=bindparam("p_run"), at=bindparam("p_now", type_=sa.Float))
)
_FIRST = quarantines.insert()
_FIND = sa.select(quarantines).where(_IS)
_LIST = sa.select(quarantines).order_by(
    quarantines.c.queue_id, quarantines.c.job_name, quarantines.c.job_version
)
_FORGET = quarantines.delete().where(sa.exists().where(_IS_OF_RUN, runs.c.seq == bindparam("p_seq")))
_RELEASE = quarantines.delete().where(
    quarantines.c.queue_id == bindparam("p_queue"), quarantines.c.job_name == bindparam("p_job")
)
_RELEASE_ONE = _RELEASE.where(quarantines.c.job_version == bindparam("p_version"))


def note(transaction: Transaction, row: Any) -> None:
    """A run was quarantined. ``row``: of its attempt, with what its run adds to it."""
    if row.job_name is None or row.job_version is None:
        return
    values = {
        "p_queue": row.queue_id,
        "p_job": row.job_name,
        "p_version": row.job_version,
        "p_run": row.run_id,
        "p_now": transaction.now,
    }
    if transaction.execute(_AGAIN, values).rowcount == 0:
        first = {
            "queue_id": row.queue_id,
            "job_name": row.job_name,
            "job_version": row.job_version,
            "runs": 1,
            "latest": row.run_id,
            "at": transaction.now,
        }
        transaction.execute(_FIRST, first)


def forget(transaction: Transaction, run_seq: int) -> None:
    """A run of the job has succeeded."""
    transaction.execute(_FORGET, {"p_seq": run_seq})


def refuse(transaction: Transaction, queue: Any, config: QueueConfig, job: str, version: int | None) -> None:
    """:raises LaunchError: ``config_error`` (user): the queue takes no run of this version any more."""
    most = config.retry.max_quarantined
    if most < 1 or version is None:
        return
    asked = {"p_queue": queue.id, "p_job": job, "p_version": version}
    row = transaction.execute(_FIND, asked).first()
    if row is not None and row.runs >= most:
        ref = f"{job}:{version}"
        raise codec.user_error(
            f"queue {queue.name} takes no more runs of {ref}: {row.runs} of them in a row lost agent after "
            f"agent and were quarantined, the last one is {row.latest}",
            f"`launch show {row.latest}`; submit a version that is mended, or "
            f"`launch queue edit {queue.name} --release {ref}`",
        )


def release(transaction: Transaction, queue: Any, ref: str) -> None:
    """Take runs of a job (``name:version``, or ``name`` for all of its versions) again.

    :raises LaunchError: ``config_error`` (user): the queue takes them already.
    """
    job, _, version = ref.partition(":")
    one = version.isascii() and version.isdecimal() and len(version) < 10
    values = {"p_queue": queue.id, "p_job": job, "p_version": int(version) if one else -1}
    found = transaction.execute(_RELEASE_ONE if version else _RELEASE, values)
    if found.rowcount == 0:
        raise codec.user_error(
            f"queue {queue.name} refuses no runs of {ref[:80]!r}", f"see `launch queue show {queue.name}`"
        )


def refused(connection: sa.Connection) -> dict[int, list[tuple[str, int]]]:
    """Queue → (``name:version``, quarantined runs in a row)."""
    found: dict[int, list[tuple[str, int]]] = {}
    for row in connection.execute(_LIST):
        found.setdefault(row.queue_id, []).append((f"{row.job_name}:{row.job_version}", row.runs))
    return found

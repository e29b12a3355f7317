"""What users do to runs: submit and cancel."""

from __future__ import annotations

from typing import Any

import attrs
import sqlalchemy as sa
from sqlalchemy import bindparam

from launchcore.plugin import ArrayMember, Priority, RunSpec, RunState, Stage
from launchcore.queues.base import RunInfo
from launchcore.store import codec, endings, expiry, lanes, quarantine, timeline
from launchcore.store.engine import Again
from launchcore.store.ids import new_run_id
from launchcore.store.lookup import ATTEMPT, Lock, config_of, find_queue, is_of_run
from launchcore.store.prepared import Prepared
from launchcore.store.tables import QUEUED, attempts, queues, run_specs, runs
from launchcore.store.writer import Transaction

_KEY = sa.select(runs.c.id).where(
    runs.c.queue_id == bindparam("queue"), runs.c.submit_key == bindparam("key")
)
_INSERT = Prepared(
    runs.insert().returning(runs.c.seq),
    "id",
    "queue_id",
    "state",
    "priority",
    "name",
    "job_name",
    "job_version",
    "submitter",
    "submit_key",
    "submitted_at",
    "retry_of",
    "lane",
    "queue_seconds",
    "queue_until",
    "array_seq",
    "array_index",
)
_INSERT_SPEC = Prepared(run_specs.insert(), "seq", "spec")
_LOCK = sa.select(queues.c.id).where(queues.c.id == bindparam("queue")).with_for_update(key_share=True)
_RUN = sa.select(runs).where(runs.c.id == bindparam("run"))
_LOCK_RUN = _RUN.with_for_update()
_LOCK_LIVE = sa.select(attempts.c.id).where(is_of_run("seq"), attempts.c.ended_at.is_(None)).with_for_update()
_CANCEL = runs.update().values(
    state=RunState.CANCELLED.value,
    ended_at=bindparam("p_now", type_=sa.Float),
    cancel_requested_at=bindparam("p_now", type_=sa.Float),
    cancelled_by=bindparam("p_by"),
    failure=bindparam("p_failure"),
    retry_at=sa.null(),
    changes=runs.c.changes + 1,
)
_CANCEL_QUEUED = _CANCEL.where(runs.c.seq == bindparam("p_seq"))
_CANCEL_ALL = _CANCEL.where(runs.c.queue_id == bindparam("p_queue"), runs.c.state == QUEUED).returning(
    runs.c.id
)
_REQUEST = (
    runs.update()
    .where(runs.c.seq == bindparam("p_seq"))
    .values(
        cancel_requested_at=bindparam("p_now", type_=sa.Float),
        cancelled_by=bindparam("p_by"),
        changes=runs.c.changes + 1,
    )
)
_REQUEST_ATTEMPT = (
    attempts.update()
    .where(is_of_run("p_seq"), attempts.c.ended_at.is_(None))
    .values(
        cancel_requested_at=bindparam("p_now", type_=sa.Float), stop_at=bindparam("p_now", type_=sa.Float)
    )
    .returning(attempts.c.agent)
)
_LIVE = (
    sa.select(*ATTEMPT, queues.c.name.label("queue"))
    .join(runs, runs.c.seq == attempts.c.run_seq)
    .join(queues, queues.c.id == attempts.c.queue_id)
    .where(is_of_run("seq"), attempts.c.ended_at.is_(None))
)


@attrs.frozen(kw_only=True)
class Submission:
    """What is to be stored as a run: admitted, and encoded."""

    queue: str
    revision: int
    """Of the queue's configuration, by which it was admitted."""
    spec: RunSpec
    stored_spec: str
    priority: Priority
    submitter: str
    key: str | None = None
    retry_of: str | None = None
    lane: str = ""


class QueueChanged(Exception):
    """The queue was edited between admission and the transaction: admit again."""


def submit(transaction: Transaction, asked: Submission) -> RunInfo | str:
    """Store a new run, and return it; or the id of the run that was stored with the same key.

    :raises NotFound: there is no such queue.
    :raises LaunchError: ``config_error`` (user): as many runs wait as may, or the queue refuses the job.
    :raises QueueChanged: the admission is out of date.
    """
    queue = find_queue(transaction.connection, asked.queue, Lock.SHARED)
    if asked.key is not None:
        earlier = transaction.execute(_KEY, {"queue": queue.id, "key": asked.key}).scalar()
        if earlier is not None:
            return str(earlier)
    if queue.revision != asked.revision:
        raise QueueChanged
    check(transaction, queue, asked, count=1)
    return store(transaction, queue, attrs.evolve(asked, lane=lane(transaction, queue, asked)))


def check(transaction: Transaction, queue: Any, asked: Submission, *, count: int, lock: bool = True) -> None:
    """Whether the queue has room for so many runs more, and takes runs of this job.

    :param lock: who submits at the same time is counted after us; not where nothing is to be written.
    :raises LaunchError: ``config_error`` (user): it does not.
    """
    config = config_of(transaction.connection, transaction.configs, queue.id, queue.revision)
    job, version = _job(asked.spec)
    if job is not None and asked.retry_of is None:
        quarantine.refuse(transaction, queue, config, job, version)
    if config.max_queued is None and config.max_queued_per_submitter is None:
        return
    if lock:
        transaction.execute(_LOCK, {"queue": queue.id})
    whose = f" of {asked.submitter}" if asked.submitter else " of submitters without a name"
    for most, submitter, of in (
        (config.max_queued, None, ""),
        (config.max_queued_per_submitter, asked.submitter, whose),
    ):
        if most is None:
            continue
        waiting = lanes.queued(transaction, queue.id, most=most, submitter=submitter)
        if waiting + count > most:
            raise codec.user_error(
                f"queue {queue.name} lets {most} run(s){of} wait, and {waiting} wait already"
                + (f": there is no room for {count} more" if count > 1 else ""),
                f"submit again when some have been taken; `launch runs --queue {queue.name} --state queued`",
            )


def lane(
    transaction: Transaction,
    queue: Any,
    asked: Submission,
    array: str | None = None,
    max_parallel: int | None = None,
) -> str:
    """The lane of a run, as its queue is now."""
    config = config_of(transaction.connection, transaction.configs, queue.id, queue.revision)
    return lanes.lane_of(config, asked.submitter, array, max_parallel)


def store(
    transaction: Transaction, queue: Any, asked: Submission, *, array: tuple[int, ArrayMember] | None = None
) -> RunInfo:
    """Write a run that was admitted. ``array``: the array that it is a member of, by its ``seq``."""
    run_id, now, spec = new_run_id(transaction.now), transaction.now, asked.spec
    job, version = _job(spec)
    seconds = spec.limits.queue_seconds
    row = {
        "id": run_id,
        "queue_id": queue.id,
        "state": RunState.QUEUED.value,
        "priority": int(asked.priority),
        "name": spec.name,
        "job_name": job,
        "job_version": version,
        "submitter": asked.submitter,
        "submit_key": asked.key,
        "submitted_at": now,
        "retry_of": asked.retry_of,
        "lane": asked.lane,
        "queue_seconds": seconds,
        "queue_until": None if seconds is None else now + seconds,
        "array_seq": array[0] if array else None,
        "array_index": array[1].index if array else None,
    }
    stored = _INSERT.first(transaction.connection, row)
    _INSERT_SPEC.run(transaction.connection, {"seq": stored.seq, "spec": asked.stored_spec})
    transaction.ring(f"queue:{asked.queue}")
    return RunInfo(
        id=run_id,
        queue=asked.queue,
        state=RunState.QUEUED,
        priority=asked.priority,
        spec=spec,
        submitter=asked.submitter,
        submitted_at=now,
        retry_of=asked.retry_of,
        changes=1,
        array=array[1] if array else None,
    )


def cancel(transaction: Transaction, run_id: str, by: str, *, lost_after: float) -> bool:
    """Cancel a run. Once this is durable, nothing of it starts any more. False: there is no such run.

    A queued run ends now; a live one is stopped by its agent, and one whose agent is gone before it
    started anything ends now as well. A run that has ended stays as it is.
    """
    run = transaction.execute(_RUN, {"run": run_id}).first()
    if run is None:
        return False
    if transaction.concurrent:
        run = _locked(transaction, run)
    state, by = RunState(run.state), codec.text(by, 255)
    if state.final:
        return True
    values = {"p_seq": run.seq, "p_now": transaction.now, "p_by": by or None}
    if state is RunState.QUEUED:
        transaction.execute(_CANCEL_QUEUED, values | {"p_failure": codec.encode(endings.cancelled(by, None))})
        transaction.ring(f"run:{run_id}")
        return True
    if run.cancel_requested_at is None:
        transaction.execute(_REQUEST, values)
        for agent in transaction.execute(_REQUEST_ATTEMPT, values).scalars().all():
            transaction.ring(f"agent:{agent}")
        timeline.note(transaction, run.seq, 0, Stage.EXECUTE, f"cancel requested{f' by {by}' if by else ''}")
        transaction.ring(f"run:{run_id}")
    live: Any = transaction.execute(_LIVE, {"seq": run.seq}).first()
    if live is not None and live.lease_expires_at <= transaction.now and not expiry.may_have_started(live):
        expiry.look(transaction, live, lost_after=lost_after)
    return True


def _locked(transaction: Transaction, run: Any) -> Any:
    """The run as it stands, which nobody else changes now.

    Its attempt is locked before the run, as by everybody.
    :raises Again: it was claimed in between.
    """
    live = transaction.execute(_LOCK_LIVE, {"seq": run.seq}).all()
    run = transaction.execute(_LOCK_RUN, {"run": run.id}).one()
    if RunState(run.state).live and not live:
        raise Again
    return run


def _job(spec: RunSpec) -> tuple[str | None, int | None]:
    name, _, version = (spec.job or "").partition(":")
    known = version.isascii() and version.isdecimal() and len(version) < 10
    return name or None, int(version) if known else None


def cancel_all_queued(transaction: Transaction, queue_id: int, by: str) -> None:
    """End every run that waits in a queue."""
    values = {
        "p_queue": queue_id,
        "p_now": transaction.now,
        "p_by": by,
        "p_failure": codec.encode(endings.cancelled(by, None)),
    }
    for run_id in transaction.execute(_CANCEL_ALL, values).scalars().all():
        transaction.ring(f"run:{run_id}")

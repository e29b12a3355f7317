"""The tables. Times are UNIX seconds on the store's clock; values of ours are stored as JSON text.

Hot rows are narrow: what a claim changes (``runs``) is apart from what it only reads (``run_specs``). The
indexes that claims, sweeps and deadlines use cover only the rows that are alive, so that they cost the
same whatever the history is; and each index less is a page less to write for each run.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, Float, ForeignKey, Integer, LargeBinary, Table, Text

metadata = sa.MetaData()


def _index(name: str, *columns: Column[Any], where: sa.ColumnElement[bool] | None = None) -> sa.Index:
    """An index over all rows, or over those that satisfy ``where``."""
    return sa.Index(name, *columns, sqlite_where=where, postgresql_where=where)


QUEUED: sa.ColumnClause[str] = sa.literal_column("'queued'")
"""Written out, not bound: a partial index serves only a query that repeats its condition."""

schema_versions = Table(
    "schema_versions",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("what", Text, nullable=False),
    Column("applied_at", Float, nullable=False),
)

service = Table("service", metadata, Column("identity", Text, primary_key=True))
"""One row: what tells this queue service from every other, for as long as it lasts."""

queues = Table(
    "queues",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("paused", Boolean, nullable=False, server_default=sa.false()),
    Column("max_running", Integer),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("deleted_at", Float),
)
"""Deleted queues stay, for their runs' sake."""
sa.Index(
    "queues_name",
    queues.c.name,
    unique=True,
    sqlite_where=queues.c.deleted_at.is_(None),
    postgresql_where=queues.c.deleted_at.is_(None),
)

queue_revisions = Table(
    "queue_revisions",
    metadata,
    Column("queue_id", Integer, ForeignKey("queues.id"), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("config", Text, nullable=False),
    Column("created_at", Float, nullable=False),
)
"""Never changed: an attempt keeps the configuration that it was claimed with."""

jobs = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created_at", Float, nullable=False),
)

job_versions = Table(
    "job_versions",
    metadata,
    Column("job_id", Integer, ForeignKey("jobs.id"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("definition", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    sa.UniqueConstraint("job_id", "digest"),
)

runs = Table(
    "runs",
    metadata,
    Column("seq", Integer, primary_key=True),  # first in, first out
    Column("id", Text, nullable=False, unique=True),
    Column("queue_id", Integer, ForeignKey("queues.id"), nullable=False),
    Column("state", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("name", Text),
    Column("job_name", Text),
    Column("job_version", Integer),
    Column("submitter", Text, nullable=False),
    Column("submit_key", Text),
    Column("submitted_at", Float, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("cancel_requested_at", Float),
    Column("cancelled_by", Text),
    Column("retry_at", Float),  # not claimable while this is set; sweeping clears it when it is due
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("lost", Integer, nullable=False, server_default="0"),
    Column("retries", Integer, nullable=False, server_default="0"),
    Column("failure", Text),  # of those that failed or were cancelled, and of no others
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("pinned", Text),
    Column("image", Text),
    Column("retry_of", Text),
    Column("changes", Integer, nullable=False, server_default="1"),
)
_index(
    "runs_claim",
    runs.c.queue_id,
    runs.c.priority,
    runs.c.seq,
    where=sa.and_(runs.c.state == QUEUED, runs.c.retry_at.is_(None)),
)
_index("runs_retry", runs.c.queue_id, runs.c.retry_at, where=runs.c.retry_at.is_not(None))
_index("runs_failed", runs.c.state, runs.c.seq, where=runs.c.failure.is_not(None))
_index("runs_queue", runs.c.queue_id, runs.c.seq)
_index("runs_submitter", runs.c.submitter, runs.c.seq)
_index("runs_name", runs.c.name, runs.c.seq, where=runs.c.name.is_not(None))
_index("runs_job", runs.c.job_name, runs.c.seq, where=runs.c.job_name.is_not(None))
sa.Index(
    "runs_key",
    runs.c.queue_id,
    runs.c.submit_key,
    unique=True,
    sqlite_where=runs.c.submit_key.is_not(None),
    postgresql_where=runs.c.submit_key.is_not(None),
)

run_specs = Table(
    "run_specs",
    metadata,
    Column("seq", Integer, ForeignKey("runs.seq"), primary_key=True, autoincrement=False),
    Column("spec", Text, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", sa.BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("run_seq", Integer, ForeignKey("runs.seq"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("queue_id", Integer, ForeignKey("queues.id"), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("agent", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("bound_to", Text, nullable=False),  # the host that alone can adopt it; "" is any
    Column("state", Text, nullable=False),
    Column("lease_token", Text, nullable=False),  # "" once somebody else than its holder ended it
    Column("lease_expires_at", Float, nullable=False),
    Column("claimed_at", Float, nullable=False),
    Column("running_since", Float),
    Column("deadline_at", Float),
    Column("run_seconds", Float),
    Column("start_seconds", Float),
    Column("cancel_requested_at", Float),
    Column("due_at", Float, nullable=False),  # when a sweep has to look at it, while it is live
    Column("stop_at", Float),  # when its agent has to stop it
    Column("adoptable_since", Float),
    Column("ended_at", Float),
    Column("verdict", Text),
    Column("handle", Text),
    Column("failure", Text),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("usage", Text),
    Column("log_bytes", Integer, nullable=False, server_default="0"),
    Column("log_tail", Integer, nullable=False, server_default="0"),  # the offset of its last chunk
    Column("log_cursor", Text),
)
"""``id`` is made of ``run_seq`` and ``number`` (:func:`launchcore.store.lookup.attempt_key`)."""
_index("attempts_live", attempts.c.queue_id, attempts.c.due_at, where=attempts.c.ended_at.is_(None))
_index("attempts_stop", attempts.c.session, attempts.c.stop_at, where=attempts.c.stop_at.is_not(None))
_index(
    "attempts_adopt",
    attempts.c.queue_id,
    attempts.c.bound_to,
    where=attempts.c.adoptable_since.is_not(None),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_seq", Integer, ForeignKey("runs.seq"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("stage", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("seconds", Float),
    Column("mark", Integer, nullable=False),  # a checksum: the same event again is not stored again
    sa.UniqueConstraint("run_seq", "attempt", "at", "mark"),
)

log_chunks = Table(
    "log_chunks",
    metadata,
    Column("attempt_id", Integer, ForeignKey("attempts.id"), primary_key=True),
    Column("offset", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)

agents = Table(
    "agents",
    metadata,
    Column("name", Text, primary_key=True),
    Column("session", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("queues", Text, nullable=False),
    Column("max_jobs", Integer, nullable=False),
    Column("registered_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)

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


BigInt = sa.BigInteger().with_variant(Integer, "sqlite")
"""A number that outgrows 32 bits. SQLite's integers have 64 always."""
_Sorted = Text().with_variant(Text(collation="C"), "postgresql")
"""A text whose order counts: by its bytes, as SQLite sorts all texts."""


def _index(name: str, *columns: Column[Any], where: sa.ColumnElement[bool] | None = None) -> sa.Index:
    """An index over all rows, or over those that satisfy ``where``."""
    return sa.Index(name, *columns, sqlite_where=where, postgresql_where=where)


QUEUED: sa.ColumnClause[str] = sa.literal_column("'queued'")
"""Written out, not bound: a partial index serves only a query that repeats its condition."""
NO_LANE: sa.ColumnClause[str] = sa.literal_column("''")
"""Of a run that nothing but its queue limits (:mod:`launchcore.store.lanes`). Written out as well."""

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

arrays = Table(
    "arrays",
    metadata,
    Column("seq", BigInt, primary_key=True),
    Column("id", _Sorted, nullable=False, unique=True),
    Column("queue_id", Integer, ForeignKey("queues.id"), nullable=False),
    Column("name", Text),
    Column("submitter", Text, nullable=False),
    Column("submit_key", Text),
    Column("submitted_at", Float, nullable=False),
    Column("axes", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("max_parallel", Integer),
)
sa.Index(
    "arrays_key",
    arrays.c.queue_id,
    arrays.c.submit_key,
    unique=True,
    sqlite_where=arrays.c.submit_key.is_not(None),
    postgresql_where=arrays.c.submit_key.is_not(None),
)
_index("arrays_name", arrays.c.name, arrays.c.seq, where=arrays.c.name.is_not(None))

runs = Table(
    "runs",
    metadata,
    Column("seq", BigInt, primary_key=True),  # first in, first out
    Column("id", _Sorted, nullable=False, unique=True),
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
    Column("exit_code", BigInt),
    Column("signal", Integer),
    Column("pinned", Text),
    Column("image", Text),
    Column("retry_of", Text),
    Column("changes", Integer, nullable=False, server_default="1"),
    Column("lane", _Sorted, nullable=False, server_default=""),  # which limits it shares, and with whom
    Column("preempted", Integer, nullable=False, server_default="0"),
    Column("quarantined", Boolean, nullable=False, server_default=sa.false()),
    Column("queue_seconds", Float),
    Column("queue_until", Float),  # when it has waited for too long, while it is queued
    Column("array_seq", BigInt, ForeignKey("arrays.seq")),
    Column("array_index", Integer),
)
_index(
    "runs_claim",
    runs.c.queue_id,
    runs.c.lane,
    runs.c.priority,
    runs.c.seq,
    where=sa.and_(runs.c.state == QUEUED, runs.c.retry_at.is_(None)),
)
_index("runs_retry", runs.c.queue_id, runs.c.retry_at, where=runs.c.retry_at.is_not(None))
_index("runs_queued", runs.c.queue_id, runs.c.seq, where=runs.c.state == QUEUED)
_index(
    "runs_overdue",
    runs.c.queue_id,
    runs.c.queue_until,
    where=sa.and_(runs.c.state == QUEUED, runs.c.queue_until.is_not(None)),
)
_index("runs_array", runs.c.array_seq, runs.c.array_index, where=runs.c.array_seq.is_not(None))
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
    Column("seq", BigInt, ForeignKey("runs.seq"), primary_key=True, autoincrement=False),
    Column("spec", Text, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", BigInt, primary_key=True, autoincrement=False),
    Column("run_seq", BigInt, ForeignKey("runs.seq"), nullable=False),
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
    Column("exit_code", BigInt),
    Column("signal", Integer),
    Column("usage", Text),
    Column("log_bytes", BigInt, nullable=False, server_default="0"),
    Column("log_tail", BigInt, nullable=False, server_default="0"),  # the offset of its last chunk
    Column("log_cursor", Text),
    Column("lane", _Sorted, nullable=False, server_default=""),  # its run's
    Column("claim_key", Text),  # of the claim that leased it last
)
"""``id`` is made of ``run_seq`` and ``number`` (:func:`launchcore.store.lookup.attempt_key`)."""
_index("attempts_live", attempts.c.queue_id, attempts.c.due_at, where=attempts.c.ended_at.is_(None))
_index(
    "attempts_lane",
    attempts.c.queue_id,
    attempts.c.lane,
    where=sa.and_(attempts.c.ended_at.is_(None), attempts.c.lane != NO_LANE),
)
_index("attempts_session", attempts.c.session, attempts.c.claim_key, where=attempts.c.ended_at.is_(None))
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
    Column("id", BigInt, primary_key=True),
    Column("run_seq", BigInt, ForeignKey("runs.seq"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("stage", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("seconds", Float),
    Column("mark", BigInt, nullable=False),  # a checksum: the same event again is not stored again
    sa.UniqueConstraint("run_seq", "attempt", "at", "mark"),
)

log_chunks = Table(
    "log_chunks",
    metadata,
    Column("attempt_id", BigInt, ForeignKey("attempts.id"), primary_key=True),
    Column("offset", BigInt, primary_key=True, autoincrement=False),
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

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("hash", Text, nullable=False),  # SHA-256 of the secret: it has 256 bits of chance
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
    Column("revoked_by", Text),
    Column("used_at", Float),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInt, primary_key=True),
    Column("at", Float, nullable=False),
    Column("who", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
)

quarantines = Table(
    "quarantines",
    metadata,
    Column("queue_id", Integer, ForeignKey("queues.id"), primary_key=True),
    Column("job_name", Text, primary_key=True),
    Column("job_version", Integer, primary_key=True, autoincrement=False),
    Column("runs", Integer, nullable=False),
    Column("latest", Text, nullable=False),  # the id of the run that was quarantined last
    Column("at", Float, nullable=False),
)
"""Versions of jobs whose runs were quarantined, how many in a row; one that succeeds ends the row."""

archives = Table(
    "archives",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("upload", _Sorted, nullable=False),
    Column("size", BigInt, nullable=False),
    Column("stored_at", Float, nullable=False),
)
"""Where archives are in the database: replicas of a server share no disk. SQLite has files instead."""

archive_chunks = Table(
    "archive_chunks",
    metadata,
    Column("upload", _Sorted, primary_key=True),  # later ones sort after earlier ones
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)
"""All of them but an upload's last have the same length."""

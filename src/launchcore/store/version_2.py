"""From version 1, which was SQLite's only, to version 2: as it was when it was written."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

WHAT: Final = "the queue service: tokens, audit, arrays, lanes, deadlines of what is queued"

_STATEMENTS: Final = (
    """CREATE TABLE arrays (
        seq INTEGER NOT NULL, id TEXT NOT NULL, queue_id INTEGER NOT NULL, name TEXT, submitter TEXT NOT NULL,
        submit_key TEXT, submitted_at FLOAT NOT NULL, axes TEXT NOT NULL, size INTEGER NOT NULL,
        max_parallel INTEGER,
        PRIMARY KEY (seq), UNIQUE (id), FOREIGN KEY(queue_id) REFERENCES queues (id))""",
    "CREATE UNIQUE INDEX arrays_key ON arrays (queue_id, submit_key) WHERE submit_key IS NOT NULL",
    "CREATE INDEX arrays_name ON arrays (name, seq) WHERE name IS NOT NULL",
    """CREATE TABLE tokens (
        id TEXT NOT NULL, hash TEXT NOT NULL, name TEXT NOT NULL, scopes TEXT NOT NULL,
        created_at FLOAT NOT NULL, created_by TEXT NOT NULL, expires_at FLOAT, revoked_at FLOAT,
        revoked_by TEXT, used_at FLOAT, PRIMARY KEY (id))""",
    """CREATE TABLE audit (
        id INTEGER NOT NULL, at FLOAT NOT NULL, who TEXT NOT NULL, token TEXT NOT NULL, action TEXT NOT NULL,
        subject TEXT NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (id))""",
    """CREATE TABLE quarantines (
        queue_id INTEGER NOT NULL, job_name TEXT NOT NULL, job_version INTEGER NOT NULL,
        runs INTEGER NOT NULL, latest TEXT NOT NULL, at FLOAT NOT NULL,
        PRIMARY KEY (queue_id, job_name, job_version), FOREIGN KEY(queue_id) REFERENCES queues (id))""",
    """CREATE TABLE archives (
        digest TEXT NOT NULL, upload TEXT NOT NULL, size INTEGER NOT NULL, stored_at FLOAT NOT NULL,
        PRIMARY KEY (digest))""",
    """CREATE TABLE archive_chunks (
        upload TEXT NOT NULL, number INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (upload, number))""",
    "ALTER TABLE runs ADD COLUMN lane TEXT DEFAULT '' NOT NULL",
    "ALTER TABLE runs ADD COLUMN preempted INTEGER DEFAULT '0' NOT NULL",
    "ALTER TABLE runs ADD COLUMN quarantined BOOLEAN DEFAULT 0 NOT NULL",
    "ALTER TABLE runs ADD COLUMN queue_seconds FLOAT",
    "ALTER TABLE runs ADD COLUMN queue_until FLOAT",
    "ALTER TABLE runs ADD COLUMN array_seq INTEGER REFERENCES arrays (seq)",
    "ALTER TABLE runs ADD COLUMN array_index INTEGER",
    "ALTER TABLE attempts ADD COLUMN lane TEXT DEFAULT '' NOT NULL",
    "ALTER TABLE attempts ADD COLUMN claim_key TEXT",
    "DROP INDEX runs_claim",
    """CREATE INDEX runs_claim ON runs (queue_id, lane, priority, seq)
        WHERE state = 'queued' AND retry_at IS NULL""",
    "CREATE INDEX runs_queued ON runs (queue_id, seq) WHERE state = 'queued'",
    """CREATE INDEX runs_overdue ON runs (queue_id, queue_until)
        WHERE state = 'queued' AND queue_until IS NOT NULL""",
    "CREATE INDEX runs_array ON runs (array_seq, array_index) WHERE array_seq IS NOT NULL",
    "CREATE INDEX attempts_lane ON attempts (queue_id, lane) WHERE ended_at IS NULL AND lane != ''",
    "CREATE INDEX attempts_session ON attempts (session, claim_key) WHERE ended_at IS NULL",
)


def apply(connection: sa.Connection) -> None:
    """Change the tables. What is stored keeps its meaning."""
    for statement in _STATEMENTS:
        connection.exec_driver_sql(statement)

"""Jobs and their versions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import bindparam, func

from launchcore.queues.base import Job, JobDefinition, NotFound
from launchcore.store import codec
from launchcore.store.lookup import unknown
from launchcore.store.tables import job_versions, jobs
from launchcore.store.writer import Transaction

_VERSIONS = sa.select(
    jobs.c.name, job_versions.c.version, job_versions.c.definition, job_versions.c.created_at
).join(jobs, jobs.c.id == job_versions.c.job_id)
_OF = _VERSIONS.where(jobs.c.name == bindparam("name")).order_by(job_versions.c.version.desc())
_SAME = _VERSIONS.where(jobs.c.name == bindparam("name"), job_versions.c.digest == bindparam("digest"))
_NEWEST = (
    sa.select(job_versions.c.job_id, func.max(job_versions.c.version).label("version"))
    .group_by(job_versions.c.job_id)
    .subquery()
)
_LIST = _VERSIONS.join(
    _NEWEST,
    sa.and_(_NEWEST.c.job_id == job_versions.c.job_id, _NEWEST.c.version == job_versions.c.version),
).order_by(jobs.c.name)
_JOB = sa.select(jobs.c.id).where(jobs.c.name == bindparam("name"))
_LAST = sa.select(func.max(job_versions.c.version)).where(job_versions.c.job_id == bindparam("job"))
_NAMES = sa.select(jobs.c.name).order_by(jobs.c.name)
_ADD_JOB = jobs.insert()
_ADD_VERSION = job_versions.insert()


def create(transaction: Transaction, name: str, definition: JobDefinition) -> Job:
    """A new version of a job, or the one that has this definition already."""
    stored = codec.encode_asked(definition, "the job")
    canonical = msgspec.json.encode(definition, order="deterministic")
    digest = hashlib.sha256(canonical).hexdigest()
    same = transaction.execute(_SAME, {"name": name, "digest": digest}).first()
    if same is not None:
        return _job(same)
    job = transaction.execute(_JOB, {"name": name}).scalar()
    if job is None:
        key = transaction.execute(
            _ADD_JOB, {"name": name, "created_at": transaction.now}
        ).inserted_primary_key
        assert key is not None
        job = key[0]
    version = (transaction.execute(_LAST, {"job": job}).scalar() or 0) + 1
    row = {
        "job_id": job,
        "version": version,
        "digest": digest,
        "definition": stored,
        "created_at": transaction.now,
    }
    transaction.execute(_ADD_VERSION, row)
    return Job(name=name, version=version, definition=definition, created_at=transaction.now)


def find(connection: sa.Connection, ref: str) -> Job:
    """By ``name`` (the newest version) or ``name:version``.

    :raises NotFound: there is no such job, or no such version of it.
    """
    name, _, version = ref.partition(":")
    found = versions(connection, name)
    if not version:
        return found[0]
    for job in found:
        if str(job.version) == version:
            return job
    have = ", ".join(str(job.version) for job in found[:8])
    raise NotFound(f"job {name!r} has no version {version[:40]!r}", hint=f"it has: {have}")


def versions(connection: sa.Connection, name: str) -> Sequence[Job]:
    """All versions, the newest first.

    :raises NotFound: there is no such job.
    """
    rows = connection.execute(_OF, {"name": name}).all()
    if not rows:
        names = connection.execute(_NAMES).scalars().all()
        raise unknown("job", name, names, otherwise="make it with `launch job create`")
    return tuple(_job(row) for row in rows)


def listed(connection: sa.Connection) -> Sequence[Job]:
    """The newest version of each, by name."""
    return tuple(_job(row) for row in connection.execute(_LIST))


def _job(row: Any) -> Job:
    return Job(
        name=row.name,
        version=row.version,
        definition=codec.decode_job(row.definition),
        created_at=row.created_at,
    )

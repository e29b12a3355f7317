"""The user's side of the embedded queue, over one database file, without a server."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterable, Sequence
from typing import IO

import attrs

from launchcore.plugin import (
    Priority,
    QueueConfig,
    QueueUnavailable,
    RunSpec,
    TimelineEvent,
)
from launchcore.queues.admission import admit, check_job, check_name, check_queue
from launchcore.queues.base import (
    AgentRow,
    Job,
    JobDefinition,
    LogChunk,
    Page,
    QueueInfo,
    RunFilter,
    RunInfo,
)
from launchcore.store import (
    agents,
    codec,
    jobs,
    logs,
    lookup,
    queues,
    runs_change,
    runs_read,
    timeline,
)
from launchcore.store.archives import DEFAULT_LIMIT
from launchcore.store.database import Database
from launchcore.store.sqlite import Conflict

_MOST_TRIES = 20
_LONGEST_KEY = 255


class EmbeddedService:
    """Implements :class:`launchcore.queues.base.Service`. Closes the database with itself.

    :param lost_after: as in :class:`~launchcore.queues.embedded_client.EmbeddedClient`.
    """

    def __init__(self, database: Database, *, lost_after: float = 600.0) -> None:
        self._database = database
        self._lost_after = lost_after

    # queues and jobs

    def create_queue(self, name: str, config: QueueConfig) -> QueueInfo:
        check_name("queue", name)
        check_queue(config)
        self._database.write(lambda tx: queues.create(tx, name, config))
        return self.queue(name)

    def edit_queue(self, name: str, config: QueueConfig, *, paused: bool | None = None) -> QueueInfo:
        check_queue(config)
        self._database.write(lambda tx: queues.edit(tx, name, config, paused))
        return self.queue(name)

    def delete_queue(self, name: str, *, force: bool = False) -> None:
        self._database.write(lambda tx: queues.delete(tx, name, force=force))

    def queue(self, name: str) -> QueueInfo:
        with self._database.read() as connection:
            return queues.info(connection, self._database.configs, name, now=self._database.clock())

    def list_queues(self) -> Sequence[QueueInfo]:
        with self._database.read() as connection:
            return queues.listed(connection, self._database.configs, now=self._database.clock())

    def create_job(self, name: str, definition: JobDefinition) -> Job:
        check_job(name, definition)
        return self._database.write(lambda tx: jobs.create(tx, name, definition))

    def job(self, ref: str) -> Job:
        with self._database.read() as connection:
            return jobs.find(connection, ref)

    def list_jobs(self) -> Sequence[Job]:
        with self._database.read() as connection:
            return jobs.listed(connection)

    def job_versions(self, name: str) -> Sequence[Job]:
        with self._database.read() as connection:
            return jobs.versions(connection, name)

    # runs

    def submit(
        self,
        queue: str,
        spec: RunSpec,
        *,
        priority: Priority = Priority.MEDIUM,
        submitter: str = "",
        key: str | None = None,
    ) -> RunInfo:
        return self._submit(queue, spec, priority=priority, submitter=submitter, key=key)

    def run(self, ref: str) -> RunInfo:
        with self._database.read() as connection:
            return runs_read.known(connection, runs_read.find(connection, ref))

    def list_runs(self, filter: RunFilter) -> Page:
        with self._database.read() as connection:
            return runs_read.page(connection, filter)

    def timeline(self, run_id: str) -> Sequence[tuple[int, TimelineEvent]]:
        with self._database.read() as connection:
            found = timeline.read(connection, run_id)
            if found is None:
                raise runs_read.no_run(connection, run_id)
            return found

    def logs(
        self, run_id: str, *, attempt: int | None = None, offset: int = 0, limit: int = 1 << 20
    ) -> LogChunk:
        with self._database.read() as connection:
            chunk = logs.read(connection, run_id, number=attempt, offset=offset, limit=limit)
            if chunk is None:
                raise runs_read.no_run(connection, run_id)
            return chunk

    def wait(self, run_id: str, changes: int, *, timeout: float) -> RunInfo:
        end = time.monotonic() + timeout
        with self._database.bell.listen([f"run:{run_id}"]) as ear:
            while True:
                with self._database.read() as connection:
                    latest = runs_read.changes(connection, run_id)
                    left = end - time.monotonic()
                    if latest is None or latest != changes or left <= 0:
                        return runs_read.known(connection, run_id)
                ear.wait(left)
                if self._database.closed:
                    raise QueueUnavailable("the queue database has been closed")

    def cancel(self, run_id: str, *, by: str = "") -> RunInfo:
        self._database.write(lambda tx: runs_change.cancel(tx, run_id, by, lost_after=self._lost_after))
        with self._database.read() as connection:
            return runs_read.known(connection, run_id)

    def retry(self, run_id: str, *, submitter: str = "") -> RunInfo:
        with self._database.read() as connection:
            run = runs_read.known(connection, run_id)
        if not run.state.final:
            raise codec.user_error(
                f"run {run_id} is {run.state.value}: only a run that has ended can be tried again",
                f"`launch cancel {run_id}` first",
            )
        spec = attrs.evolve(run.spec, source=run.pinned) if run.pinned else run.spec
        by = submitter or run.submitter
        return self._submit(run.queue, spec, priority=run.priority, submitter=by, retry_of=run_id)

    # archives and agents

    def put_archive(self, chunks: Iterable[bytes], *, limit: int = DEFAULT_LIMIT) -> str:
        return self._database.archives.put(chunks, limit=limit)

    def has_archive(self, digest: str) -> bool:
        return self._database.archives.has(digest)

    def open_archive(self, digest: str) -> IO[bytes]:
        return self._database.archives.open(digest)

    def agents(self) -> Sequence[AgentRow]:
        with self._database.read() as connection:
            return agents.listed(connection, now=self._database.clock())

    def close(self) -> None:
        self._database.close()

    def _submit(
        self,
        queue: str,
        spec: RunSpec,
        *,
        priority: Priority,
        submitter: str,
        key: str | None = None,
        retry_of: str | None = None,
    ) -> RunInfo:
        if key is not None and len(key) > _LONGEST_KEY:
            raise codec.user_error(
                f"the submit key has {len(key)} characters", f"use at most {_LONGEST_KEY}, a UUID for example"
            )
        for _ in range(_MOST_TRIES):
            with self._database.read() as connection:
                row = lookup.find_queue(connection, queue)
                config = lookup.config_of(connection, self._database.configs, row.id, row.revision)
            admitted = admit(queue, config, spec)  # outside the transaction: it may take milliseconds
            asked = runs_change.Submission(
                queue=queue,
                revision=row.revision,
                spec=admitted,
                stored_spec=codec.encode_asked(admitted, "the run"),
                priority=priority,
                submitter=codec.text(submitter, 255),
                key=key,
                retry_of=retry_of,
            )
            with contextlib.suppress(runs_change.QueueChanged, Conflict):  # edited meanwhile; an id twice
                stored = self._database.write(functools.partial(runs_change.submit, asked=asked))
                return stored if isinstance(stored, RunInfo) else self.run(stored)
        raise QueueUnavailable(f"queue {queue!r} changes faster than a run can be submitted")

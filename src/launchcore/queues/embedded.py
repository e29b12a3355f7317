"""The user's side of the embedded queue, over one database file, without a server."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import IO

import attrs

from launchcore.plugin import (
    Json,
    Priority,
    QueueConfig,
    QueueUnavailable,
    RunSpec,
    TimelineEvent,
)
from launchcore.queues.admission import check_job, check_name, check_queue
from launchcore.queues.base import (
    AgentRow,
    ArrayInfo,
    Job,
    JobDefinition,
    LogChunk,
    Page,
    QueueInfo,
    RunFilter,
    RunInfo,
)
from launchcore.queues.submits import Submits
from launchcore.store import (
    agents,
    arrays,
    codec,
    jobs,
    logs,
    queues,
    runs_change,
    runs_read,
    timeline,
)
from launchcore.store.archives import DEFAULT_LIMIT
from launchcore.store.database import Database


class EmbeddedService:
    """Implements :class:`launchcore.queues.base.Service`. Closes the database with itself.

    :param lost_after: as in :class:`~launchcore.queues.embedded_client.EmbeddedClient`.
    """

    def __init__(self, database: Database, *, lost_after: float = 600.0) -> None:
        self._database = database
        self._lost_after = lost_after
        self._submits = Submits(database)

    # queues and jobs

    def create_queue(self, name: str, config: QueueConfig) -> QueueInfo:
        check_name("queue", name)
        check_queue(config)
        self._database.write(lambda tx: queues.create(tx, name, config))
        return self.queue(name)

    def edit_queue(
        self, name: str, config: QueueConfig, *, paused: bool | None = None, release: str | None = None
    ) -> QueueInfo:
        check_queue(config)
        self._database.write(lambda tx: queues.edit(tx, name, config, paused, release))
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
        return self._submits.one(queue, spec, priority=priority, submitter=submitter, key=key)

    def check(
        self,
        queue: str,
        spec: RunSpec,
        *,
        priority: Priority = Priority.MEDIUM,
        submitter: str = "",
        axes: Mapping[str, Sequence[Json]] | None = None,
    ) -> None:
        self._submits.check(queue, spec, axes, priority=priority, submitter=submitter)

    def submit_array(
        self,
        queue: str,
        spec: RunSpec,
        axes: Mapping[str, Sequence[Json]],
        *,
        max_parallel: int | None = None,
        priority: Priority = Priority.MEDIUM,
        submitter: str = "",
        key: str | None = None,
    ) -> ArrayInfo:
        made = self._submits.array(
            queue, spec, axes, max_parallel=max_parallel, priority=priority, submitter=submitter, key=key
        )
        return self.array(made)

    def array(self, ref: str) -> ArrayInfo:
        with self._database.read() as connection:
            return arrays.info(connection, arrays.find(connection, ref))

    def cancel_array(self, array_id: str, *, by: str = "") -> ArrayInfo:
        self._database.write(lambda tx: arrays.cancel(tx, array_id, by, lost_after=self._lost_after))
        return self.array(array_id)

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

    def retry(self, run_id: str, *, submitter: str = "", key: str | None = None) -> RunInfo:
        with self._database.read() as connection:
            run = runs_read.known(connection, run_id)
        if not run.state.final:
            raise codec.user_error(
                f"run {run_id} is {run.state.value}: only a run that has ended can be tried again",
                f"`launch cancel {run_id}` first",
            )
        spec = attrs.evolve(run.spec, source=run.pinned) if run.pinned else run.spec
        by = submitter or run.submitter
        return self._submits.one(
            run.queue, spec, priority=run.priority, submitter=by, key=key, retry_of=run_id
        )

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

"""The user's side of a queue service that is reached over HTTP."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Final
from urllib.parse import quote

from launchcore.plugin import Json, Priority, QueueConfig, QueueUnavailable, RunSpec, TimelineEvent
from launchcore.queues.base import (
    AgentRow,
    ArrayInfo,
    Job,
    JobDefinition,
    LogChunk,
    NotFound,
    Page,
    QueueInfo,
    RunFilter,
    RunInfo,
)
from launchcore.queues.http_calls import Calls, segment
from launchcore.queues.http_problems import not_ours
from launchcore.queues.http_settings import HttpSettings
from launchcore.queues.http_sockets import HungUp, Waits
from launchcore.queues.http_transport import Ask
from launchcore.queues.wire import (
    IDEMPOTENCY_KEY,
    LOG_ATTEMPT,
    LOG_END,
    LOG_NEXT,
    LOG_OFFSET,
    LONGEST_WAIT,
    VERSION,
    AgentList,
    Cancel,
    Check,
    Identity,
    JobCreate,
    JobList,
    QueueCreate,
    QueueEdit,
    QueueList,
    Retry,
    Submit,
    SubmitArray,
    Timeline,
)

PATIENCE: Final = 10.0
"""Seconds for which a command repeats a call before it says that the service is away."""


class HttpService:
    """Implements :class:`launchcore.queues.base.Service`.

    Calls are repeated where that is safe; what may not be done twice carries a key, or is not repeated.

    :raises LaunchError: ``config_error``: the address or the settings cannot be used.
    """

    def __init__(self, url: str, settings: HttpSettings, *, patience: float = PATIENCE) -> None:
        self._calls = Calls(url, settings, patience=patience)
        self._waits = Waits()

    def identity(self) -> Identity:
        """Of the service, and whom it takes us for."""
        return self._calls.identity()

    # queues and jobs

    def create_queue(self, name: str, config: QueueConfig) -> QueueInfo:
        body = QueueCreate(name=name, config=config)
        return self._calls.send(QueueInfo, "/queues", body, again=False)

    def edit_queue(
        self, name: str, config: QueueConfig, *, paused: bool | None = None, release: str | None = None
    ) -> QueueInfo:
        body = QueueEdit(config=config, paused=paused, release=release)
        return self._calls.send(QueueInfo, _queue(name), body, method="PUT")

    def delete_queue(self, name: str, *, force: bool = False) -> None:
        query = (("force", "true"),) if force else ()
        ask = Ask(method="DELETE", path=f"/{VERSION}{_queue(name)}", query=query)
        self._calls.transport.call(ask, done=NotFound)

    def queue(self, name: str) -> QueueInfo:
        return self._calls.get(QueueInfo, _queue(name))

    def list_queues(self) -> Sequence[QueueInfo]:
        return self._calls.get(QueueList, "/queues").queues

    def create_job(self, name: str, definition: JobDefinition) -> Job:
        return self._calls.send(Job, "/jobs", JobCreate(name=name, definition=definition))

    def job(self, ref: str) -> Job:
        return self._calls.get(Job, f"/jobs/{segment('job', ref)}")

    def list_jobs(self) -> Sequence[Job]:
        return self._calls.get(JobList, "/jobs").jobs

    def job_versions(self, name: str) -> Sequence[Job]:
        return self._calls.get(JobList, f"/jobs/{segment('job', name)}/versions").jobs

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
        body = Submit(queue=queue, spec=spec, priority=priority, submitter=submitter)
        return self._calls.send(RunInfo, "/runs", body, headers=_key(key))

    def check(
        self,
        queue: str,
        spec: RunSpec,
        *,
        priority: Priority = Priority.MEDIUM,
        submitter: str = "",
        axes: Mapping[str, Sequence[Json]] | None = None,
    ) -> None:
        values = None if axes is None else {name: tuple(each) for name, each in axes.items()}
        body = Check(queue=queue, spec=spec, priority=priority, submitter=submitter, axes=values)
        self._calls.send(type(None), "/runs/check", body)

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
        body = SubmitArray(
            queue=queue,
            spec=spec,
            axes={name: tuple(values) for name, values in axes.items()},
            max_parallel=max_parallel,
            priority=priority,
            submitter=submitter,
        )
        return self._calls.send(ArrayInfo, "/arrays", body, headers=_key(key))

    def array(self, ref: str) -> ArrayInfo:
        return self._calls.get(ArrayInfo, f"/arrays/{segment('array', ref)}")

    def cancel_array(self, array_id: str, *, by: str = "") -> ArrayInfo:
        path = f"/arrays/{segment('array', array_id)}/cancel"
        return self._calls.send(ArrayInfo, path, Cancel(by=by))

    def run(self, ref: str) -> RunInfo:
        if ref in (".", "..") or "/" in ref:  # no id; as part of a path it would be another path
            named = self.list_runs(RunFilter(name=ref, limit=1)).runs
            if named:
                return named[0]
        return self._calls.get(RunInfo, _run(ref))

    def list_runs(self, filter: RunFilter) -> Page:
        query: list[tuple[str, object]] = [
            ("queue", filter.queue),
            ("job", filter.job),
            ("name", filter.name),
            ("submitter", filter.submitter),
            ("array", filter.array),
            ("since", filter.since),
            ("limit", filter.limit),
            ("before", filter.before),
        ]
        query += [("state", state.value) for state in filter.states]
        return self._calls.get(Page, "/runs", query)

    def timeline(self, run_id: str) -> Sequence[tuple[int, TimelineEvent]]:
        found = self._calls.get(Timeline, f"{_run(run_id)}/timeline").events
        return tuple((entry.attempt, entry.event) for entry in found)

    def logs(
        self, run_id: str, *, attempt: int | None = None, offset: int = 0, limit: int = 1 << 20
    ) -> LogChunk:
        query = (("attempt", attempt), ("offset", offset), ("limit", limit))
        answer = self._calls.raw("GET", f"{_run(run_id)}/logs", query)
        try:
            return LogChunk(
                attempt_id=answer.headers[LOG_ATTEMPT],
                offset=int(answer.headers[LOG_OFFSET]),
                data=answer.body,
                next=int(answer.headers[LOG_NEXT]),
                end=answer.headers[LOG_END] == "true",
            )
        except (KeyError, ValueError):
            raise not_ours("its answer is no piece of a log") from None

    def wait(self, run_id: str, changes: int, *, timeout: float) -> RunInfo:
        end = time.monotonic() + timeout
        path = f"{_run(run_id)}/wait"
        with self._waits.waiting() as wait:
            while True:
                left = max(0.0, min(end - time.monotonic(), LONGEST_WAIT))
                query = (("changes", changes), ("timeout", left))
                try:
                    run = self._calls.get(RunInfo, path, query, seconds=left, wait=wait)
                except HungUp:
                    raise QueueUnavailable("the connection to the queue service has been closed") from None
                if run.changes != changes or time.monotonic() >= end:
                    return run

    def cancel(self, run_id: str, *, by: str = "") -> RunInfo:
        return self._calls.send(RunInfo, f"{_run(run_id)}/cancel", Cancel(by=by))

    def retry(self, run_id: str, *, submitter: str = "", key: str | None = None) -> RunInfo:
        body = Retry(submitter=submitter)
        return self._calls.send(RunInfo, f"{_run(run_id)}/retry", body, headers=_key(key))

    # archives and agents

    def put_archive(self, chunks: Iterable[bytes]) -> str:
        return self._calls.put_archive(chunks)

    def has_archive(self, digest: str) -> bool:
        return self._calls.has_archive(digest)

    def open_archive(self, digest: str) -> IO[bytes]:
        return self._calls.open_archive(digest)

    def agents(self) -> Sequence[AgentRow]:
        return self._calls.get(AgentList, "/agents").agents

    def close(self) -> None:
        self._waits.hang_up(for_good=True)
        self._calls.transport.close()


def _queue(name: str) -> str:
    return f"/queues/{segment('queue', name)}"


def _run(ref: str) -> str:
    return f"/runs/{segment('run', ref)}"


def _key(key: str | None) -> dict[str, str]:
    """The header of an idempotency key. One that no header can hold goes percent-encoded."""
    text = uuid.uuid4().hex if key is None else key
    plain = text.isascii() and text.isprintable() and text == text.strip() and bool(text)
    return {IDEMPOTENCY_KEY: text if plain else quote(text.encode("utf-8", "replace"), safe="")}

"""The user's side of a queue service: what the CLI, the SDK and the dashboard call.

The agent's side is :class:`launchcore.plugin.QueueClient`. All times are UNIX seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Protocol

import attrs

from launchcore.plugin import (
    ArrayMember,
    Failure,
    Json,
    LaunchError,
    Priority,
    QueueConfig,
    Reason,
    RunHandle,
    RunSpec,
    RunState,
    SourceRef,
    TimelineEvent,
)


class NotFound(LaunchError):
    """There is no such queue, job, run or attempt. The hint has the nearest right names."""

    def __init__(self, detail: str, *, hint: str | None = None) -> None:
        super().__init__(detail, reason=Reason.CONFIG_ERROR, hint=hint)


@attrs.frozen(kw_only=True)
class QueueInfo:
    """A queue, and how busy it is."""

    name: str
    config: QueueConfig
    paused: bool = False
    created_at: float
    updated_at: float
    queued: int = 0
    running: int = 0
    """Runs that hold a slot: claimed, preparing, starting or running."""
    agents: tuple[str, ...] = ()
    """Live agents that serve it."""
    refused_jobs: tuple[str, ...] = ()
    """Versions of jobs (``name:version``) that it takes no more, until they are released: their runs were
    quarantined again and again."""


@attrs.frozen(kw_only=True)
class JobDefinition:
    """What can be run again: source, entry point, defaults, and the schema of its inputs.

    ``inputs`` maps a name to a JSON Schema (with ``default`` where it has one). An input's value
    replaces ``${inputs.<name>}`` in the command, and all of them reach the run as JSON in
    ``LAUNCH_INPUTS``.
    """

    source: SourceRef
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = attrs.field(factory=dict)
    inputs: Mapping[str, Mapping[str, Json]] = attrs.field(factory=dict)
    dockerfile: str | None = None
    build_context: str | None = None
    description: str = ""


@attrs.frozen(kw_only=True)
class Job:
    """One version of a job. Versions count from 1; the same definition again is the same version."""

    name: str
    version: int
    definition: JobDefinition
    created_at: float

    @property
    def ref(self) -> str:
        return f"{self.name}:{self.version}"


@attrs.frozen(kw_only=True)
class AttemptInfo:
    """One attempt of a run."""

    id: str
    number: int
    agent: str
    state: RunState
    """The state it was in when it ended, or is in; an attempt that was lost ends as ``FAILED``."""
    claimed_at: float
    running_since: float | None = None
    ended_at: float | None = None
    lease_expires_at: float | None = None
    handle: RunHandle | None = None
    failure: Failure | None = None
    exit_code: int | None = None
    signal: int | None = None
    log_bytes: int = 0
    usage: Mapping[str, float] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class RunInfo:
    """A run as it stands. ``changes`` grows with every change, for :meth:`Service.wait`."""

    id: str
    queue: str
    state: RunState
    priority: Priority
    spec: RunSpec
    submitter: str
    submitted_at: float
    started_at: float | None = None
    """When its first attempt began to run."""
    ended_at: float | None = None
    cancel_requested_at: float | None = None
    retry_at: float | None = None
    """Not before this time, when it waits for another attempt."""
    attempts: tuple[AttemptInfo, ...] = ()
    failure: Failure | None = None
    exit_code: int | None = None
    signal: int | None = None
    pinned: SourceRef | None = None
    image: str | None = None
    retry_of: str | None = None
    position: int | None = None
    """How many runs are before it in its queue, while it is queued."""
    changes: int = 0
    retries: int = 0
    """Attempts that failed and were tried again."""
    preempted: int = 0
    """Attempts that were preempted or evicted, and resumed."""
    quarantined: bool = False
    """It lost agent after agent, and is not tried again unless somebody retries it."""
    array: ArrayMember | None = None


@attrs.frozen(kw_only=True)
class ArrayInfo:
    """A run array: runs that differ in some values only. Its members are listed by ``RunFilter.array``."""

    id: str
    queue: str
    name: str | None = None
    submitter: str
    submitted_at: float
    axes: Mapping[str, tuple[Json, ...]]
    """The values of each axis; the last axis varies fastest."""
    size: int
    max_parallel: int | None = None
    """How many of its members run at a time."""
    counts: Mapping[str, int] = attrs.field(factory=dict)
    """Members by state; a state that none is in is left out."""

    @property
    def ended(self) -> bool:
        """All of its members have."""
        return sum(self.counts.get(state.value, 0) for state in RunState if state.final) == self.size


@attrs.frozen(kw_only=True)
class RunFilter:
    """Which runs to list; newest first. ``before`` is the cursor of the page before."""

    queue: str | None = None
    states: tuple[RunState, ...] = ()
    job: str | None = None
    name: str | None = None
    submitter: str | None = None
    since: float | None = None
    limit: int = 50
    before: str | None = None
    array: str | None = None
    """The id of a run array."""


@attrs.frozen(kw_only=True)
class Page:
    """Some runs, and the cursor for the next page, if there is one."""

    runs: tuple[RunInfo, ...]
    next: str | None = None


@attrs.frozen(kw_only=True)
class LogChunk:
    """Bytes of a stored log from ``offset``. ``end``: the attempt is over and this was all of it."""

    attempt_id: str
    offset: int
    data: bytes
    next: int
    end: bool


@attrs.frozen(kw_only=True)
class AgentRow:
    """An agent as the queue knows it."""

    name: str
    host: str
    pid: int
    version: str
    queues: tuple[str, ...]
    max_jobs: int
    alive: bool
    registered_at: float
    seen_at: float
    running: int


class Service(Protocol):
    """Everything that a user can do with queues. Methods raise :class:`LaunchError` for the user's
    mistakes (with what to do) and :class:`QueueUnavailable` when the service cannot be reached."""

    def create_queue(self, name: str, config: QueueConfig) -> QueueInfo: ...
    def edit_queue(
        self, name: str, config: QueueConfig, *, paused: bool | None = None, release: str | None = None
    ) -> QueueInfo:
        """``release``: take runs of this version of a job (``name:version``, or ``name`` for all) again."""

    def delete_queue(self, name: str, *, force: bool = False) -> None:
        """Refused while it has live runs; ``force`` cancels the queued ones first."""

    def queue(self, name: str) -> QueueInfo: ...
    def list_queues(self) -> Sequence[QueueInfo]: ...

    def create_job(self, name: str, definition: JobDefinition) -> Job: ...
    def job(self, ref: str) -> Job:
        """``name`` (the newest version) or ``name:version``."""

    def list_jobs(self) -> Sequence[Job]:
        """The newest version of each."""

    def job_versions(self, name: str) -> Sequence[Job]: ...

    def submit(
        self,
        queue: str,
        spec: RunSpec,
        *,
        priority: Priority = Priority.MEDIUM,
        submitter: str = "",
        key: str | None = None,
    ) -> RunInfo:
        """Accept a run, durably. The same ``key`` again returns the run of the first time."""

    def check(
        self,
        queue: str,
        spec: RunSpec,
        *,
        priority: Priority = Priority.MEDIUM,
        submitter: str = "",
        axes: Mapping[str, Sequence[Json]] | None = None,
    ) -> None:
        """Whether :meth:`submit` (with ``axes``: :meth:`submit_array`) would be accepted now, whatever the
        fields of its source: asked before anything is packed and uploaded.

        :raises LaunchError: with everything that is wrong.
        """

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
        """Accept a run for each combination of the values of the axes, all or none, durably.

        What the name of an axis means: :func:`launchcore.queues.arrays.members`. The same ``key`` again
        returns the array of the first time.
        """

    def array(self, ref: str) -> ArrayInfo:
        """By id, by an id's unambiguous beginning, or by name (the newest of that name)."""

    def cancel_array(self, array_id: str, *, by: str = "") -> ArrayInfo:
        """Cancel every member that has not ended. Idempotent."""

    def run(self, ref: str) -> RunInfo:
        """By id, by an id's unambiguous beginning, or by name (the newest of that name)."""

    def list_runs(self, filter: RunFilter) -> Page: ...
    def timeline(self, run_id: str) -> Sequence[tuple[int, TimelineEvent]]:
        """(attempt number, event), in order; attempt 0 is the queue itself."""

    def logs(
        self, run_id: str, *, attempt: int | None = None, offset: int = 0, limit: int = 1 << 20
    ) -> LogChunk:
        """Of the given attempt, or of the newest that has one."""

    def wait(self, run_id: str, changes: int, *, timeout: float) -> RunInfo:
        """Return when the run (state, log, time-line) has changed since ``changes``, or time is up."""

    def cancel(self, run_id: str, *, by: str = "") -> RunInfo:
        """A queued run is cancelled at once; a live one is stopped by its agent. Idempotent."""

    def retry(self, run_id: str, *, submitter: str = "", key: str | None = None) -> RunInfo:
        """Submit a finished run again, as a new run with the same pinned source. ``key``: as of
        :meth:`submit`."""

    def put_archive(self, chunks: Iterable[bytes]) -> str:
        """Store an archive under the SHA-256 of its bytes, and return ``sha256:<hex>``."""

    def has_archive(self, digest: str) -> bool: ...
    def open_archive(self, digest: str) -> IO[bytes]: ...

    def agents(self) -> Sequence[AgentRow]: ...
    def close(self) -> None: ...

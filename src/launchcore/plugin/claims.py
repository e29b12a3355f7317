"""What an agent and a queue say to each other.

A claim is a lease, not a pop: time-limited, with a token. Every write about an attempt carries the
token; when the token is no longer the attempt's, the write changes nothing and says so, and the
agent drops what it did. Times are UNIX seconds on the queue's own clock.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import IO, Protocol

import attrs

from launchcore.plugin.failures import Failure, Fault, LaunchError, Reason, Stage
from launchcore.plugin.runs import ArrayMember, QueueConfig, RunSpec, RunState
from launchcore.plugin.values import RunHandle, SourceRef


class QueueUnavailable(Exception):
    """The queue could not be reached, or could not write (network, locked, disk full). Try again.

    Never a reason to stop a run.
    """

    retry_after: float | None = None
    """Seconds after which the service asks to be tried again, if it said so."""


class QueueDamaged(LaunchError):
    """The queue answers, and what it says cannot be trusted: its database is damaged.

    An agent leaves at once, and leaves what runs alone: it is adopted when the queue has been mended.
    """

    def __init__(self, detail: str, *, hint: str) -> None:
        super().__init__(detail, reason=Reason.CONFIG_ERROR, fault=Fault.INFRASTRUCTURE, hint=hint)


class LeaseLost(Exception):
    """The attempt is no longer this agent's. Discard what was done, and do not report it."""


class AgentNameTaken(Exception):
    """A live agent has this name already; the text says where, and since when."""


@attrs.frozen(kw_only=True)
class AgentInfo:
    """One running agent. ``session`` is new at each start; ``host`` is the machine's name."""

    name: str
    session: str
    host: str
    pid: int
    version: str
    queues: tuple[str, ...]
    max_jobs: int = -1
    host_bound: tuple[str, ...] = ()
    """Names of runners whose objects only an agent of the same host can see (``RunnerSpec.host_bound``)."""


@attrs.frozen(kw_only=True)
class Lease:
    """The right to act on one attempt until ``expires_at``."""

    attempt_id: str
    token: str
    expires_at: float


@attrs.frozen(kw_only=True)
class LogPosition:
    """How far an attempt's log is stored: ``offset`` bytes, read from the runner up to ``cursor``."""

    offset: int = 0
    cursor: str | None = None


@attrs.frozen(kw_only=True)
class Claim:
    """One attempt, leased to the agent that asked.

    New attempts come in state ``CLAIMED``. An *adopted* attempt (its agent died, or this agent was
    restarted) comes in the state it was in, with its handle if one was stored; one in ``STARTING``
    without a handle has to be looked for with :meth:`Runner.find`.
    """

    lease: Lease
    run_id: str
    attempt: int
    queue: str
    queue_config: QueueConfig
    spec: RunSpec
    state: RunState
    adopted: bool = False
    pinned: SourceRef | None = None
    """The source as an earlier attempt resolved it."""
    image: str | None = None
    handle: RunHandle | None = None
    log: LogPosition = LogPosition()
    submitter: str = ""
    submitted_at: float
    claimed_at: float
    running_since: float | None = None
    deadline_at: float | None = None
    """When the run must be over, once it runs."""
    stop: Reason | None = None
    """It is already to be stopped (cancelled while its agent was away, deadline passed)."""
    resumed: bool = False
    """An earlier attempt ran and was preempted, evicted or lost, or failed and is tried again: what it left
    behind (a checkpoint) may be there."""
    array: ArrayMember | None = None

    @property
    def attempt_id(self) -> str:
        return self.lease.attempt_id


@attrs.frozen(kw_only=True)
class TimelineEvent:
    """One entry of a run's time-line, as ``launch show`` prints it."""

    at: float
    stage: Stage
    what: str
    """``started``, ``finished``, ``skipped``, ``failed``, ``note``, ``warning``."""
    detail: str = ""
    seconds: float | None = None


@attrs.frozen(kw_only=True)
class LogAppend:
    """Bytes for the stored log, at ``offset`` (so that a repeated append changes nothing).

    ``cursor`` is the runner's cursor after these bytes, stored in the same transaction.
    """

    offset: int
    data: bytes
    cursor: str | None


class LogBehind(LaunchError):
    """A :class:`LogAppend` begins behind the end of what is stored, which is ``position``; nothing was
    written. An agent that has stored more was told so by a database that has been restored since."""

    def __init__(self, detail: str, *, position: LogPosition) -> None:
        super().__init__(detail, reason=Reason.INFRASTRUCTURE, fault=Fault.CORE)
        self.position = position


class Verdict(enum.Enum):
    """How an attempt ended. The queue decides what becomes of the run."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    """It never started anything, or what it started is gone without a word."""


@attrs.frozen(kw_only=True)
class Outcome:
    """The end of an attempt. ``failure`` is there unless it succeeded."""

    verdict: Verdict
    failure: Failure | None = None
    exit_code: int | None = None
    signal: int | None = None
    retryable: bool = False
    usage: dict[str, float] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Update:
    """One fenced write about one attempt: any of these, all in one transaction.

    ``state`` moves forward only (claimed → preparing → starting → running). ``handle`` is stored the
    moment it exists. ``outcome`` ends the attempt and its lease.
    """

    state: RunState | None = None
    handle: RunHandle | None = None
    pinned: SourceRef | None = None
    image: str | None = None
    events: tuple[TimelineEvent, ...] = ()
    log: LogAppend | None = None
    outcome: Outcome | None = None


@attrs.frozen(kw_only=True)
class Stop:
    """An attempt of this agent is to be stopped: by whom or what, and why."""

    attempt_id: str
    reason: Reason
    detail: str = ""


class QueueClient(Protocol):
    """The agent's side of a queue service. Every method may raise :class:`QueueUnavailable` and
    :class:`QueueDamaged`.

    Every method may be repeated after an unclear outcome: writes are fenced or idempotent.
    """

    def identity(self) -> str:
        """A lasting id of this queue service, the same for all its agents: the owner label's value."""

    def queue_config(self, name: str) -> QueueConfig:
        """What the owner of a queue has set.

        :raises LaunchError: ``config_error``: there is no such queue.
        """

    def register(self, agent: AgentInfo, *, lease_seconds: float, previous_is_dead: bool = False) -> None:
        """Say that this agent is alive. ``previous_is_dead``: the caller has proof that no older
        session of this name lives on its host (it holds the name's lock there).

        :raises AgentNameTaken: another session of this name is alive.
        :raises LaunchError: ``config_error`` when a queue does not exist.
        """

    def unregister(self, agent: AgentInfo) -> None:
        """Say goodbye. The leases that it still holds expire now, so that others can adopt at once."""

    def claim(
        self, agent: AgentInfo, queues: Sequence[str], *, limit: int, lease_seconds: float, wait: float
    ) -> Sequence[Claim]:
        """Lease up to ``limit`` runs of ``queues``, in that order of preference, one from each in turn.

        Waits up to ``wait`` seconds for the first, and is told of it, without polling. Attempts whose
        lease has expired come before new runs. An agent without a live session gets nothing.
        """

    def reclaim(self, agent: AgentInfo, *, lease_seconds: float) -> Sequence[Claim]:
        """Lease again every live attempt of earlier sessions of this agent's name: after a restart.

        Attempts that never started anything go back to the queue instead.
        """

    def renew(self, agent: AgentInfo, leases: Sequence[Lease], *, lease_seconds: float) -> Sequence[str]:
        """Renew the session and all its leases in one batch. Returns the attempts whose lease is lost.

        What the session was given more than some seconds ago, is not among ``leases``, and has started
        nothing goes back to its queue: the answer to that claim was lost on its way.
        """

    def stops(self, agent: AgentInfo, known: frozenset[str], *, wait: float) -> Sequence[Stop]:
        """Attempts of this agent that are to be stopped and are not in ``known``. Waits like claim."""

    def write(self, lease: Lease, update: Update) -> None:
        """Write about one attempt.

        :raises LeaseLost: the token is not the attempt's any more; nothing was written.
        :raises LogBehind: less of the log is stored than it should; nothing was written.
        """

    def release(self, lease: Lease, detail: str) -> None:
        """Give an attempt that started nothing back to its queue, without counting it as lost."""

    def ended(self, attempt_ids: Sequence[str]) -> frozenset[str]:
        """Those of these attempts that have ended. Unknown ones are left out: they may be another's."""

    def open_archive(self, digest: str) -> IO[bytes]:
        """Open an uploaded archive.

        :raises LaunchError: ``source_failed``: not there.
        """

    def wake(self) -> None:
        """Make all waiting calls of this client return early. Claims made meanwhile are returned."""

    def close(self) -> None:
        """Release connections. Idempotent."""

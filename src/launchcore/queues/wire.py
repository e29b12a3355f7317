"""What goes over HTTP between :mod:`launchcore.queues.http_service` and ``launchcore.server``.

Bodies are JSON of the values that the two sides already share (``launchcore.plugin`` and
``launchcore.queues.base``), and of those here where a call has several arguments. Logs and archives go as
they are, as bytes. An answer that is no success is a problem document (RFC 9457).
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from launchcore.plugin import (
    AgentInfo,
    Claim,
    Json,
    Lease,
    Priority,
    QueueConfig,
    RunSpec,
    Stop,
    TimelineEvent,
    Update,
)
from launchcore.queues.base import AgentRow, Job, JobDefinition, QueueInfo

VERSION = "v1"
PROBLEM_TYPE = "application/problem+json"
IDEMPOTENCY_KEY = "Idempotency-Key"
LOG_ATTEMPT, LOG_OFFSET, LOG_NEXT, LOG_END = (
    "Launch-Log-Attempt",
    "Launch-Log-Offset",
    "Launch-Log-Next",
    "Launch-Log-End",
)
"""Headers of a piece of a log: of which attempt, from where, up to where, and whether that was all
(``true`` or ``false``)."""
LONGEST_WAIT = 55.0
"""Seconds that one request waits at most: shorter than what proxies allow."""


@attrs.frozen(kw_only=True)
class QueueCreate:
    """``POST /v1/queues``."""

    name: str
    config: QueueConfig


@attrs.frozen(kw_only=True)
class QueueEdit:
    """``PUT /v1/queues/{name}``."""

    config: QueueConfig
    paused: bool | None = None
    release: str | None = None


@attrs.frozen(kw_only=True)
class QueueList:
    """``GET /v1/queues``."""

    queues: tuple[QueueInfo, ...]


@attrs.frozen(kw_only=True)
class JobCreate:
    """``POST /v1/jobs``."""

    name: str
    definition: JobDefinition


@attrs.frozen(kw_only=True)
class JobList:
    """``GET /v1/jobs`` and ``GET /v1/jobs/{name}/versions``."""

    jobs: tuple[Job, ...]


@attrs.frozen(kw_only=True)
class Submit:
    """``POST /v1/runs``. The idempotency key is in the header."""

    queue: str
    spec: RunSpec
    priority: Priority = Priority.MEDIUM
    submitter: str = ""


@attrs.frozen(kw_only=True)
class Check:
    """``POST /v1/runs/check``: whether the submit would be accepted; 204 if so, else its problem."""

    queue: str
    spec: RunSpec
    priority: Priority = Priority.MEDIUM
    submitter: str = ""
    axes: Mapping[str, tuple[Json, ...]] | None = None


@attrs.frozen(kw_only=True)
class SubmitArray:
    """``POST /v1/arrays`` → ArrayInfo. The idempotency key is in the header. ``GET /v1/arrays/{ref}`` and
    ``POST /v1/arrays/{id}/cancel`` (with :class:`Cancel`) answer with ArrayInfo too; the members are
    ``GET /v1/runs?array={id}``."""

    queue: str
    spec: RunSpec
    axes: Mapping[str, tuple[Json, ...]]
    max_parallel: int | None = None
    priority: Priority = Priority.MEDIUM
    submitter: str = ""


@attrs.frozen(kw_only=True)
class Cancel:
    """``POST /v1/runs/{id}/cancel``, ``POST /v1/arrays/{id}/cancel``."""

    by: str = ""


@attrs.frozen(kw_only=True)
class Retry:
    """``POST /v1/runs/{id}/retry``. The idempotency key is in the header."""

    submitter: str = ""


@attrs.frozen(kw_only=True)
class TimelineEntry:
    """One entry of ``GET /v1/runs/{id}/timeline``; attempt 0 is the queue itself."""

    attempt: int
    event: TimelineEvent


@attrs.frozen(kw_only=True)
class Timeline:
    """``GET /v1/runs/{id}/timeline``."""

    events: tuple[TimelineEntry, ...]


@attrs.frozen(kw_only=True)
class ArchiveStored:
    """``POST /v1/archives``."""

    digest: str


@attrs.frozen(kw_only=True)
class Identity:
    """``GET /v1/identity``: of the queue service, and whom it takes the caller for.

    ``identity`` lasts. ``version`` is the server's; ``who`` and ``scopes`` are those of the caller's token
    (all scopes where none is needed); ``time`` is the service's clock, in UNIX seconds.
    """

    identity: str
    version: str = ""
    who: str = ""
    scopes: tuple[str, ...] = ()
    time: float | None = None


@attrs.frozen(kw_only=True)
class AgentList:
    """``GET /v1/agents``."""

    agents: tuple[AgentRow, ...]


@attrs.frozen(kw_only=True)
class Register:
    """``POST /v1/agents/register``."""

    agent: AgentInfo
    lease_seconds: float
    previous_is_dead: bool = False


@attrs.frozen(kw_only=True)
class Unregister:
    """``POST /v1/agents/unregister``."""

    agent: AgentInfo


@attrs.frozen(kw_only=True)
class ClaimRequest:
    """``POST /v1/agents/claim``. The same ``key`` again gives the claims of the first time again: an
    answer that was lost on its way loses no run."""

    agent: AgentInfo
    queues: tuple[str, ...]
    limit: int
    lease_seconds: float
    wait: float = 0.0
    key: str = ""


@attrs.frozen(kw_only=True)
class Reclaim:
    """``POST /v1/agents/reclaim``."""

    agent: AgentInfo
    lease_seconds: float


@attrs.frozen(kw_only=True)
class Claims:
    """What a claim or a reclaim got."""

    claims: tuple[Claim, ...] = ()


@attrs.frozen(kw_only=True)
class Renew:
    """``POST /v1/agents/renew``. ``complete``: these are all the leases that the session knows of."""

    agent: AgentInfo
    leases: tuple[Lease, ...]
    lease_seconds: float
    complete: bool = True


@attrs.frozen(kw_only=True)
class Renewed:
    """The attempts whose lease is lost."""

    lost: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class StopsRequest:
    """``POST /v1/agents/stops``."""

    agent: AgentInfo
    known: frozenset[str] = frozenset()
    wait: float = 0.0


@attrs.frozen(kw_only=True)
class Stops:
    """The attempts that are to be stopped."""

    stops: tuple[Stop, ...] = ()


@attrs.frozen(kw_only=True)
class AttemptWrite:
    """One fenced write."""

    lease: Lease
    update: Update


@attrs.frozen(kw_only=True)
class Writes:
    """``POST /v1/attempts/writes``: fenced writes about several attempts, each by itself."""

    writes: tuple[AttemptWrite, ...]


@attrs.frozen(kw_only=True)
class Problem:
    """A problem document (RFC 9457), with the fields of a :class:`~launchcore.plugin.LaunchError`.

    ``type`` is one of ``urn:launchcore:problem:`` + ``config_error``, ``not_found``, ``unauthorized``,
    ``forbidden``, ``conflict``, ``lease_lost``, ``agent_name_taken``, ``unavailable``, ``damaged``,
    ``too_large``, ``too_many_requests``, ``invalid``, ``internal``; of a write also ``cancelled`` (a
    :class:`~launchcore.plugin.Cancelled`) and ``log_behind`` (a :class:`~launchcore.plugin.LogBehind`;
    ``extra`` has its ``offset`` and ``cursor``). ``reason`` and ``fault`` are the values of the enumerations.
    ``extra`` has ``retryable: true`` of an error that is.
    """

    type: str
    title: str
    status: int
    detail: str = ""
    hint: str | None = None
    reason: str | None = None
    fault: str | None = None
    extra: Mapping[str, Json] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Written:
    """For each write, in order: ``None`` when it is stored, else what was wrong with it."""

    results: tuple[Problem | None, ...]


@attrs.frozen(kw_only=True)
class Release:
    """``POST /v1/attempts/release``."""

    lease: Lease
    detail: str = ""


@attrs.frozen(kw_only=True)
class EndedRequest:
    """``POST /v1/attempts/ended``."""

    attempts: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Ended:
    """Those of them that have ended."""

    attempts: frozenset[str] = frozenset()


@attrs.frozen(kw_only=True)
class TokenCreate:
    """``POST /v1/tokens``. Scopes: ``submit``, ``read``, ``admin``, ``agent:<queue>`` (``agent:*``: all)."""

    name: str
    scopes: tuple[str, ...]
    expires_at: float | None = None


@attrs.frozen(kw_only=True)
class TokenInfo:
    """A token, without its secret."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: float
    created_by: str = ""
    expires_at: float | None = None
    revoked_at: float | None = None
    used_at: float | None = None


@attrs.frozen(kw_only=True)
class TokenCreated:
    """A new token; its secret is shown this once."""

    token: TokenInfo
    secret: str


@attrs.frozen(kw_only=True)
class TokenList:
    """``GET /v1/tokens``."""

    tokens: tuple[TokenInfo, ...]


@attrs.frozen(kw_only=True)
class AuditEntry:
    """Who did what, and when."""

    id: int
    at: float
    who: str
    token: str
    action: str
    subject: str
    detail: str = ""


@attrs.frozen(kw_only=True)
class AuditPage:
    """``GET /v1/audit``, newest first; ``next`` is the cursor of the page after it."""

    entries: tuple[AuditEntry, ...]
    next: str | None = None

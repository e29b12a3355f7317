"""A run as its submitter asks for it, the queue as its owner configures it, and a run's states."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Literal

import attrs

from launchcore.plugin.failures import Reason
from launchcore.plugin.values import Json, Limits, SourceRef


class RunState(enum.Enum):
    """``queued → claimed → preparing → starting → running → {succeeded, failed, cancelled}``.

    A lost or preempted attempt returns the run to ``queued``. Terminal states never change.
    """

    QUEUED = "queued"
    CLAIMED = "claimed"
    PREPARING = "preparing"
    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)

    @property
    def live(self) -> bool:
        """An attempt is at work on it, and it holds one of its queue's slots."""
        return not self.final and self is not RunState.QUEUED


class Priority(enum.IntEnum):
    """Smaller is sooner; first in, first out within one priority."""

    CRITICAL = 0
    HIGH = 1
    MEDIUM = 2
    LOW = 3


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """When an attempt that did not succeed is tried again.

    ``max_lost``: attempts that may be lost (agent or machine died) before the run is quarantined as
    failed, so that a poison run does not kill every agent in turn. ``max_quarantined``: after so many
    quarantined runs of one version of a job, without one that succeeded between them, its queue takes no
    more of them until its owner releases it; 0: never.

    ``reasons`` and ``max_retries``: which failures are tried again, and how often. The first retry waits
    for ``delay_seconds``, each further one twice as long, up to ``max_delay_seconds``; of each wait, a part
    chosen by chance, up to the share ``jitter``, is left out, so that what failed together does not come back
    together. ``max_preempted``: how often an attempt that was preempted or evicted is resumed, at once and
    uncounted.
    """

    max_lost: int = 3
    reasons: tuple[Reason, ...] = ()
    max_retries: int = 0
    delay_seconds: float = 5.0
    max_delay_seconds: float = 3600.0
    jitter: float = 0.1
    max_preempted: int = 10
    max_quarantined: int = 3


@attrs.frozen(kw_only=True)
class ArrayMember:
    """A run's place in the run array that it is a member of. ``index`` counts from 0."""

    id: str
    index: int
    size: int


@attrs.frozen(kw_only=True)
class RunSpec:
    """One requested execution. Stored and shown as it is: it holds names of secrets, never values.

    ``variables`` fill the queue's template, ``inputs`` the job's; ``dockerfile`` and
    ``build_context`` (paths in the source) and ``build_args`` matter to builders only.
    """

    source: SourceRef
    command: tuple[str, ...] = ()
    name: str | None = None
    env: Mapping[str, str] = attrs.field(factory=dict)
    secrets: tuple[str, ...] = ()
    variables: Mapping[str, Json] = attrs.field(factory=dict)
    inputs: Mapping[str, Json] = attrs.field(factory=dict)
    limits: Limits = Limits()
    dockerfile: str | None = None
    build_context: str | None = None
    build_args: Mapping[str, str] = attrs.field(factory=dict)
    job: str | None = None
    """``name:version`` of the job it was made from."""
    retry: RetryPolicy | None = None
    """The run's own, within the bounds of the queue's; ``None``: the queue's."""


@attrs.frozen(kw_only=True)
class QueueConfig:
    """What a queue's owner decides. A run may set only what is opened to it here.

    ``type`` is a runner's name, ``config`` the target configuration that the runner's settings class
    reads, with ``${…}`` macros and the template variables that ``variables`` declares (name → JSON
    Schema). ``builder`` and ``registry`` take precedence over the agent's.
    """

    type: str
    config: Mapping[str, Json] = attrs.field(factory=dict)
    variables: Mapping[str, Mapping[str, Json]] = attrs.field(factory=dict)
    builder: Mapping[str, Json] | None = None
    registry: Mapping[str, Json] | None = None
    max_running: int | None = None
    """Runs at a time, over all agents."""
    max_running_per_submitter: int | None = None
    max_queued: int | None = None
    """Runs that may wait at a time; more are refused when they are submitted."""
    max_queued_per_submitter: int | None = None
    max_priority: Literal["critical", "high", "medium", "low"] = "critical"
    """The most urgent that a run may ask for."""
    limits: Limits = Limits()
    """Defaults of a run's limits, and their upper bounds."""
    retry: RetryPolicy = RetryPolicy()
    """Of runs that say nothing else, and the bounds of what they may say."""
    open_env: tuple[str, ...] = ("*",)
    """Patterns of variable names that a run may set."""
    closed_env: tuple[str, ...] = ("LD_*", "DYLD_*", "PATH", "PYTHONHOME", "PYTHONSTARTUP", "LAUNCHCORE_*")
    """Patterns that it may not, even if ``open_env`` has them."""
    secrets: tuple[str, ...] | None = None
    """Names of secrets that a run may ask for; ``None``: all that the agent offers."""
    description: str = ""

"""The values that travel between the stages. All frozen; those that are stored survive JSON."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from launchcore.plugin.failures import Failure

Json: TypeAlias = Any
"""A value that JSON can hold."""

OWNER_LABEL = "launchcore.owner"
RUN_LABEL = "launchcore.run"
ATTEMPT_LABEL = "launchcore.attempt"
QUEUE_LABEL = "launchcore.queue"
"""Every object that a runner or builder makes carries these four."""


@attrs.frozen(kw_only=True)
class SourceRef:
    """Where the code comes from, as the run says it: a source's name and its own fields.

    ``SourceRef(type="git", fields={"url": …, "ref": "main", "commit": "4b1d…"})``. Once a source
    has been fetched, the core keeps the *pinned* reference that the fetch returned, so that every
    later attempt has the same code.
    """

    type: str
    fields: Mapping[str, Json] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class SourceTree:
    """A fetched source: a private, writable directory."""

    path: Path
    identity: str
    """What the content is, for caches and tags: ``git:<commit>``, ``sha256:<digest>``."""
    pinned: SourceRef
    """The reference that gives exactly this tree again."""
    summary: str = ""
    """One line for people: ``4b1d2c9 on main, 14 files``."""


@attrs.frozen(kw_only=True)
class ImageRef:
    """An image by name and, when known, by digest (``sha256:…``)."""

    name: str
    digest: str | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else self.name


@attrs.frozen(kw_only=True)
class Destination:
    """Where an image goes: the registry's name in the catalog, and the repository there."""

    registry: str
    repository: str


@attrs.frozen(kw_only=True)
class Limits:
    """Bounds on a run. ``None`` means: no bound of the run's own.

    ``run_seconds`` counts from the moment it runs, ``start_seconds`` from the start call to running,
    ``grace_seconds`` from asking a run to stop to forcing it. ``queue_seconds``: how long it may wait for an
    agent, each time that it is queued; the queue service ends one that waited longer.
    """

    run_seconds: float | None = None
    start_seconds: float | None = None
    memory_bytes: int | None = None
    grace_seconds: float = 10.0
    queue_seconds: float | None = None


@attrs.frozen(kw_only=True)
class FetchPlan:
    """What a source is asked to fetch."""

    attempt_id: str
    source: SourceRef
    cache: Path
    """A directory that this source may fill and reuse, shared by all attempts of this agent."""
    local: bool
    """The submitter has this machine's account (embedded queue), so local paths are no secret."""


@attrs.frozen(kw_only=True)
class BuildPlan:
    """What a builder is asked to build.

    ``settings`` is an instance of the builder's own settings class, ``labels`` go onto everything
    that the builder makes.
    """

    run_id: str
    attempt_id: str
    queue: str
    tree: SourceTree
    destination: Destination | None
    settings: Any
    dockerfile: str | None = None
    build_context: str | None = None
    """A directory of the tree: what is built is this part of it. ``None``: what the settings say, or all."""
    command: tuple[str, ...] = ()
    build_args: Mapping[str, str] = attrs.field(factory=dict)
    platform: str | None = None
    labels: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class BuiltImage:
    """What a builder made, or found."""

    ref: ImageRef
    pushed: bool = False
    cached: bool = False
    """Nothing was built: the registry or the engine had it."""


@attrs.frozen(kw_only=True)
class RunPlan:
    """What a runner is asked to start: one attempt, fully resolved.

    ``name`` is deterministic (``launch-<run>-<attempt>``); a runner that cannot use it as it is
    derives its own from it, the same one every time. ``env`` is what run and queue say, in clear;
    secrets are in :class:`Given` only. ``settings`` is an instance of the runner's settings class,
    made from the queue's target configuration after substitution.
    """

    run_id: str
    attempt_id: str
    attempt: int
    queue: str
    name: str
    settings: Any
    command: tuple[str, ...] = ()
    image: ImageRef | None = None
    tree: SourceTree | None = None
    env: Mapping[str, str] = attrs.field(factory=dict)
    limits: Limits = Limits()
    labels: Mapping[str, str] = attrs.field(factory=dict)
    scratch: Path
    """A private directory of this attempt on the agent's machine, removed after cleanup."""
    start_before: float | None = None
    """UNIX seconds. After it the lease may be another's: a runner must not start anything then."""


@attrs.frozen(kw_only=True)
class RunHandle:
    """The serialisable name of what a runner started. Any process can use it, after a restart too.

    ``data`` is the runner's own; ``version`` lets a newer plugin read an older handle.
    """

    runner: str
    attempt_id: str
    data: Mapping[str, Json] = attrs.field(factory=dict)
    version: int = 1

    @property
    def key(self) -> str:
        """What tells handles apart: the attempt's id (one attempt has at most one object)."""
        return self.attempt_id


class Phase(enum.Enum):
    """Where a started object is, as its backend says it."""

    UNKNOWN = "unknown"
    """Could not see (network, permission, API down). Never a failure by itself."""
    PENDING = "pending"
    """Accepted, not yet running."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """It ran and did not succeed, or can never run; ``failure`` says which."""
    GONE = "gone"
    """The backend answers, and knows no such object: it was removed behind our back."""

    @property
    def final(self) -> bool:
        """No later poll will say anything else."""
        return self in (Phase.SUCCEEDED, Phase.FAILED, Phase.GONE)


@attrs.frozen(kw_only=True)
class RunStatus:
    """One look at a started object. Times are UNIX seconds.

    A failed process has an ``exit_code`` or a ``signal``, not both. ``message`` is a warning for people
    ("unschedulable for 30 s: 0/3 nodes have a GPU"), ``progress`` is how far it is ("Downloading").
    """

    phase: Phase
    exit_code: int | None = None
    signal: int | None = None
    failure: Failure | None = None
    message: str | None = None
    progress: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    usage: Mapping[str, float] = attrs.field(factory=dict)
    """What it used, when the backend says so: ``max_memory_bytes``, ``cpu_seconds``, ``billed_seconds``."""


@attrs.frozen(kw_only=True)
class LogBatch:
    """Some bytes of a log, and the cursor to ask with for what follows.

    ``end`` means that nothing will ever follow. ``gap`` says in words what was lost before ``data``,
    if anything was: a runner never hides a hole.
    """

    data: bytes
    cursor: str
    end: bool = False
    gap: str | None = None

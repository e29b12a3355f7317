"""What the objects behind the descriptors do.

All methods are synchronous (so are the docker, kubernetes, boto3 and requests clients) and may be
called from any thread. They raise :class:`~launchcore.plugin.failures.LaunchError` to say what went
wrong; anything else is a bug of the plugin and is reported as such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Protocol

from launchcore.plugin.contributions import (
    Contribution,
    CredentialHelper,
    EnvVar,
    Given,
    Login,
    SecretFile,
)
from launchcore.plugin.values import (
    BuildPlan,
    BuiltImage,
    FetchPlan,
    ImageRef,
    LogBatch,
    RunHandle,
    RunPlan,
    RunStatus,
    SourceTree,
)


class StageContext(Protocol):
    """What long work may ask of the core while it goes on."""

    def log(self, text: str) -> None:
        """Add a line to the run's log, beside the run's own output. Secrets are masked."""

    def check(self) -> None:
        """Raise :class:`Cancelled` if the work is no longer wanted (cancel, deadline, lost lease)."""

    def on_cancel(self, stop: Callable[[], None]) -> AbstractContextManager[None]:
        """While in the block, ``stop()`` is called (on another thread, once) when :meth:`check` would raise.

        >>> def fetch(context, process):
        ...     with context.on_cancel(process.kill):
        ...         process.wait()
        ...     context.check()
        """

    def open_archive(self, digest: str) -> IO[bytes]:
        """Open an uploaded archive (``sha256:…``) stored beside the queue.

        :raises LaunchError: ``source_failed`` when it is not there or its content is not its digest.
        """

    def digest(self, ref: ImageRef) -> str | None:
        """The digest that the run's registry has under this name (:meth:`Registry.digest`), while building.

        ``None``: it has no such image, images stay on the machine that built them, or nothing is built.
        So a builder that has no engine to ask knows whether there is anything to build.
        :raises LaunchError: when the registry could not be asked.
        """

    def ensure(self, ref: ImageRef) -> None:
        """Have the run's registry make the repository of ``ref`` (:meth:`Registry.ensure`), while building.

        For a builder that pushes, shortly before it does; for all others the core does it.
        :raises LaunchError: when it cannot be made.
        """


class Source(Protocol):
    """Fetches code."""

    def fetch(self, plan: FetchPlan, into: Path, context: StageContext) -> SourceTree:
        """Put the source's tree into the empty directory ``into``, and say what it is.

        Never writes outside ``into`` and ``plan.cache``. Safe to repeat after a crash.
        :raises LaunchError: ``source_failed``: missing, refused, unsafe, too large.
        """


class Builder(Protocol):
    """Turns a source tree into an image."""

    def build(self, plan: BuildPlan, given: Given, context: StageContext) -> BuiltImage:
        """Build, or find, the image of this tree. The tag follows from the content alone.

        :raises LaunchError: ``build_failed`` (fault: user) with the step; ``infrastructure``.
        """

    def push(self, image: BuiltImage, plan: BuildPlan, given: Given, context: StageContext) -> ImageRef:
        """Push it and return it with its digest. Not called when the descriptor says ``pushes``.

        :raises LaunchError: ``push_failed``.
        """

    def cleanup(self, attempt_id: str) -> None:
        """Remove everything that this attempt's build left, except caches. Idempotent."""


class Registry(Protocol):
    """Where images live."""

    def resolve(self, repository: str) -> str:
        """The full name, with its host, of what a configuration calls ``repository``.

        A name that is full, or that means something by itself, is returned as it is. May ask the service; it
        is called for each build, so remember the answer.
        :raises LaunchError: when the service could not be asked.
        """

    def ensure(self, ref: ImageRef) -> None:
        """Make sure that the repository exists, where the service wants that. Idempotent."""

    def digest(self, ref: ImageRef) -> str | None:
        """The digest of this image there, or ``None``: not there. Used to skip builds and to pin.

        :raises LaunchError: when the registry could not be asked.
        """

    def logins(self, repository: str) -> Sequence[Login | CredentialHelper]:
        """The logins that pushing to and pulling from ``repository`` need; the core gives them to builder
        and runner. May mint a token; called shortly before each use.

        :raises LaunchError: ``config_error`` when a login is configured and cannot be read.
        """


class Environment(Protocol):
    """The cloud account and credentials that an agent works in."""

    def verify(self) -> str:
        """Look whether it works, and say who we are in one line (``aws account 1234 as ci``).

        :raises LaunchError: ``config_error`` or ``infrastructure``, with what to do.
        """

    def access(self, store: str) -> Sequence[EnvVar | SecretFile]:
        """How programs reach the object store ``store`` (a URL) as this account: variables and files by the
        names that the cloud's own programs read. Nothing for a store that is not this environment's.

        May mint short-lived credentials; called shortly before they are used.
        :raises LaunchError: when there are none to be had.
        """

    def contribute_to_run(self, plan: RunPlan) -> Sequence[Contribution]:
        """What this environment adds to a run, as far as its settings open it to runs.

        Under the rules of :func:`launchcore.plugin.hooks.launch_contribute_to_run`.
        """


OnChange = Callable[[RunHandle, RunStatus], None]
"""What :meth:`Runner.watch` calls with each change."""


class Runner(Protocol):
    """Executes an image, or a process."""

    def prepare(self, plan: RunPlan, given: Given, context: StageContext) -> None:
        """Do the slow work that needs no backend object: pull an image, install dependencies.

        May be repeated, may be abandoned, starts nothing. May take minutes; obeys ``context``.
        """

    def start(self, plan: RunPlan, given: Given) -> RunHandle:
        """Start this attempt and return at once.

        Idempotent: one attempt has one deterministic backend name, and a second start of it finds
        the first ("already exists" with our label means adopt). After ``plan.start_before`` it
        starts nothing.
        :raises LaunchError: nothing was started, or what was started has been stopped again.
        """

    def find(self, attempt_id: str) -> RunHandle | None:
        """The handle of what was started for this attempt, by its deterministic name.

        For use after a crash between start and persist. ``None`` is a promise, not a guess: this
        attempt has no object *and* a late start of it will not make one (where the backend allows).
        :raises LaunchError: when the backend could not be asked.
        """

    def poll(self, handles: Sequence[RunHandle]) -> Mapping[str, RunStatus]:
        """The status of each handle by its ``key``: one call for many where the backend can.

        "Could not see" is ``Phase.UNKNOWN``, never ``FAILED``. Does not raise for one bad handle.
        """

    def logs(self, handle: RunHandle, cursor: str | None, limit: int) -> LogBatch:
        """At most about ``limit`` bytes of output after ``cursor`` (``None``: from the start).

        Returns at once, with empty ``data`` when there is nothing new. Resumable by another process.
        """

    def cancel(self, handle: RunHandle, grace: float) -> None:
        """Ask it to stop, and force it after ``grace`` seconds. Idempotent; may return before the end.

        :meth:`poll` says when it is over.
        """

    def cleanup(self, handle: RunHandle) -> None:
        """Remove everything that carries this attempt's label. Idempotent. Stops it if it still runs."""

    def watch(self, on_change: OnChange) -> AbstractContextManager[None]:
        """While in the block, push status changes of everything started or polled here.

        Called only when the descriptor says ``watches``. ``on_change`` is quick and never raises. A
        watch that loses sight recovers by itself; the core still polls now and then.
        """

    def owned(self) -> Sequence[RunHandle]:
        """Handles of all objects with our owner label that this runner can see: for sweeping orphans."""

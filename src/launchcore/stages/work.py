"""What the stages share: the work in hand, the clockwork of one stage, and how an error becomes a failure."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import attrs

from launchcore.plugin import (
    Builder,
    Busy,
    Claim,
    Failure,
    Fault,
    LaunchError,
    LeaseLost,
    QueueUnavailable,
    Reason,
    Registry,
    RunHandle,
    Secret,
    Stage,
    StageContext,
    StageEvent,
    TimelineEvent,
    Update,
)

log = logging.getLogger("launchcore.stages")


class Released(Exception):
    """The agent drains, and nothing was started: the attempt goes back to its queue."""


class Postponed(Exception):
    """The runner takes no more for now, and nothing was started: :attr:`again` goes on from there, later.

    :param after: seconds until it may be tried again.
    """

    def __init__(self, detail: str, after: float) -> None:
        super().__init__(detail)
        self.after = after
        self.again: Callable[[], RunHandle] | None = None


class Late(Exception):
    """The lease ran out before the start: nothing was started, and this attempt must not start any more."""


class Work(StageContext, Protocol):
    """One attempt in an agent's hands, as the stages see it."""

    @property
    def claim(self) -> Claim: ...
    @property
    def scratch(self) -> Path:
        """The attempt's private directory; it exists."""

    @property
    def start_before(self) -> float:
        """UNIX seconds until which the lease is surely ours."""

    def write(self, update: Update) -> None:
        """A fenced write, repeated until the queue answers, together with the events noted so far.

        :raises LeaseLost: the attempt is no longer ours.
        :raises Cancelled: the run must not start.
        """

    def note(self, event: TimelineEvent) -> None:
        """Add to the time-line with the next write, or after half a second."""

    def mask(self, secrets: tuple[Secret, ...]) -> None:
        """From now on mask these in everything that is logged for this attempt."""

    def builds_with(self, builder: Builder) -> None:
        """Have the builder clean up after this attempt when it has ended."""

    def pushes_to(self, registry: Registry) -> None:
        """The registry that :meth:`digest` asks from now on."""

    def hit(self, failpoint: str) -> None: ...


class StageFailed(Exception):
    """A stage ended this attempt."""

    def __init__(self, failure: Failure, *, retryable: bool = False) -> None:
        super().__init__(failure.one_line())
        self.failure = failure
        self.retryable = retryable


def describe(error: Exception, stage: Stage, plugin: str | None) -> StageFailed:
    """What any exception means to the run's owner. Only :class:`LaunchError` speaks for itself."""
    if isinstance(error, StageFailed):
        return error
    if isinstance(error, LaunchError):
        failure = Failure(
            reason=error.reason,
            fault=error.fault,
            stage=stage,
            detail=error.detail,
            hint=error.hint,
            plugin=error.plugin or plugin,
        )
        return StageFailed(failure, retryable=error.retryable)
    last = traceback.extract_tb(error.__traceback__)[-1:] or None
    where = f" ({Path(last[0].filename).name}:{last[0].lineno})" if last else ""
    failure = Failure(
        reason=Reason.PLUGIN_ERROR,
        fault=Fault.PLUGIN if plugin else Fault.CORE,
        stage=stage,
        detail=f"unexpected {type(error).__name__}{where}",
        hint="the agent's log has the traceback; please report it to the plugin's authors"
        if plugin
        else "the agent's log has the traceback; please report it",
        plugin=plugin,
    )
    return StageFailed(failure)


Observe = Callable[[StageEvent], None]


@attrs.define
class Account:
    """What a stage has to say of itself when it has finished."""

    detail: str = ""


@contextmanager
def stage(
    work: Work,
    which: Stage,
    observe: Observe,
    plugin: str | None = None,
    *,
    quiet: bool = False,
    again: bool = False,
) -> Iterator[Account]:
    """Time one stage, tell the time-line and the observers, and turn what it raises into a failure.

    ``quiet``: only a failure is worth a line of the time-line. ``again``: it has been told already that it
    started. Losing the lease, the agent's drain and a queue that is away are no failures of the run, and pass
    through; so does a runner that takes no more for now, as :class:`Postponed`.
    """
    began, clock = time.time(), time.monotonic()

    account = Account()

    def tell(what: str, failure: Failure | None = None) -> None:
        seconds = None if what == "started" else time.monotonic() - clock
        detail = failure.detail if failure else account.detail
        if failure is not None or not quiet:
            at = began if what == "started" else time.time()
            work.note(TimelineEvent(at=at, stage=which, what=what, detail=detail, seconds=seconds))
        claim = work.claim
        observe(
            StageEvent(
                run_id=claim.run_id,
                attempt_id=claim.attempt_id,
                queue=claim.queue,
                stage=which,
                what=what,
                at=time.time(),
                seconds=seconds,
                failure=failure,
            )
        )

    if not again:
        tell("started")
    try:
        yield account
    except (LeaseLost, Late, Released, QueueUnavailable):
        raise
    except Busy as busy:
        if not again:
            work.note(TimelineEvent(at=time.time(), stage=which, what="note", detail=f"waits: {busy.detail}"))
        raise Postponed(busy.detail, busy.after) from None
    except Exception as error:
        failed = describe(error, which, plugin)
        if not isinstance(error, LaunchError | StageFailed):
            log.exception("%s: %s failed", work.claim.attempt_id, which.value)
        tell("failed", failed.failure)
        raise failed from error
    tell("finished")


def skip(work: Work, which: Stage, why: str) -> None:
    """Note that a stage has nothing to do."""
    work.note(TimelineEvent(at=time.time(), stage=which, what="skipped", detail=why))

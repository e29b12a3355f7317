"""What went wrong, whose fault it is, where, and what to do about it."""

from __future__ import annotations

import enum

import attrs


class Fault(enum.Enum):
    """Who can mend it."""

    USER = "user"
    """The submitter: the code, its arguments, the source, the queue's name."""
    INFRASTRUCTURE = "infrastructure"
    """The machines and services that the run needed."""
    PLUGIN = "plugin"
    """A plugin broke its contract."""
    CORE = "core"
    """launchcore itself: please report it."""


class Reason(enum.Enum):
    """Why a run ended as failed or cancelled: a closed list, part of the contract."""

    USER_ERROR = "user_error"
    SOURCE_FAILED = "source_failed"
    BUILD_FAILED = "build_failed"
    PUSH_FAILED = "push_failed"
    IMAGE_PULL = "image_pull"
    UNSCHEDULABLE = "unschedulable"
    START_TIMEOUT = "start_timeout"
    RUN_TIMEOUT = "run_timeout"
    OUT_OF_MEMORY = "out_of_memory"
    PREEMPTED = "preempted"
    EVICTED = "evicted"
    LOST = "lost"
    CANCELLED = "cancelled"
    CONFIG_ERROR = "config_error"
    PLUGIN_ERROR = "plugin_error"
    INFRASTRUCTURE = "infrastructure"


class Stage(enum.Enum):
    """The journey of a run, in order."""

    SUBMIT = "submit"
    CLAIM = "claim"
    SOURCE = "source"
    BUILD = "build"
    PUSH = "push"
    EXECUTE = "execute"
    REPORT = "report"


@attrs.frozen(kw_only=True)
class Failure:
    """One failure, complete enough to act on.

    ``detail`` and ``hint`` are one line each. ``plugin`` is ``"distribution version"`` of the plugin
    at whose door it happened, or ``None`` for the core.
    """

    reason: Reason
    fault: Fault
    stage: Stage
    detail: str
    hint: str | None = None
    plugin: str | None = None

    def one_line(self) -> str:
        """The failure as the CLI prints it."""
        where = f"{self.stage.value}, {self.plugin}" if self.plugin else self.stage.value
        text = f"{self.reason.value} ({where}; fault: {self.fault.value}): {self.detail}"
        return f"{text} Try: {self.hint}" if self.hint else text


@attrs.frozen(kw_only=True)
class Hint:
    """Advice that a plugin adds to a failure, through ``launch_explain_failure``."""

    text: str


class LaunchError(Exception):
    """The one exception with which a plugin says what went wrong.

    The core fills in the stage and the plugin. Anything else that a plugin raises is reported as
    ``plugin_error`` with the plugin's name, and its traceback goes to the agent's log only.

    :param detail: one line; no secrets.
    :param retryable: the same attempt may be tried again as a new one (a registry that is away),
        within the run's retry policy.
    """

    def __init__(
        self,
        detail: str,
        *,
        reason: Reason = Reason.INFRASTRUCTURE,
        fault: Fault | None = None,
        hint: str | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = reason
        self.fault = fault if fault is not None else default_fault(reason)
        self.hint = hint
        self.retryable = retryable
        self.plugin: str | None = None
        """``"distribution version"`` at whose door it happened; the core fills it in, not the plugin."""


class Cancelled(LaunchError):
    """Raised by :meth:`StageContext.check` when the work in hand is no longer wanted."""

    def __init__(self, detail: str = "cancelled", *, reason: Reason = Reason.CANCELLED) -> None:
        super().__init__(detail, reason=reason)


class Busy(LaunchError):
    """Raised by :meth:`Runner.prepare` and :meth:`Runner.start`: nothing was started, and the backend takes
    no more for now. The attempt keeps its lease, uses no thread, and is prepared and started again later.

    :param after: seconds until it may be tried again.
    """

    def __init__(self, detail: str, *, after: float) -> None:
        super().__init__(detail, retryable=True)
        self.after = after


_USER = frozenset(
    {
        Reason.USER_ERROR,
        Reason.SOURCE_FAILED,
        Reason.BUILD_FAILED,
        Reason.RUN_TIMEOUT,
        Reason.OUT_OF_MEMORY,
        Reason.CANCELLED,
        Reason.CONFIG_ERROR,
        Reason.IMAGE_PULL,
    }
)


def default_fault(reason: Reason) -> Fault:
    """Whose fault a reason is when the plugin does not say."""
    if reason is Reason.PLUGIN_ERROR:
        return Fault.PLUGIN
    return Fault.USER if reason in _USER else Fault.INFRASTRUCTURE

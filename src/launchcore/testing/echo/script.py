"""What an echo run does, as a pure function of its script and the time."""

from __future__ import annotations

import math

import attrs

from launchcore.plugin import Failure, Fault, Phase, Reason, RunStatus, Stage, setting


@attrs.frozen(kw_only=True)
class Script:
    """The behaviour and the faults of one echo run. Counts are per attempt."""

    run_for: float = setting("Seconds that it runs.", default=0.0)
    pending_for: float = setting("Seconds between its start and its running.", default=0.0)
    exit_code: int = setting("How it ends.", default=0)
    signal: int | None = setting("The signal that ends it, instead of an exit code.", default=None)
    oom: bool = setting("It ends out of memory.", default=False)
    gone: bool = setting("At its end it disappears behind our back.", default=False)
    lines: tuple[str, ...] = setting("What it prints.", default=())
    output_bytes: int = setting("How many bytes of filler it prints after that.", default=0)
    line_every: float = setting("Seconds between two lines; 0 prints all at once.", default=0.0)
    show_env: tuple[str, ...] = setting("Variables that it prints, as NAME=value.", default=())
    show_files: tuple[str, ...] = setting("Variables whose file it prints.", default=())
    ignore_cancel_for: float = setting("Seconds that it goes on after being asked to stop.", default=0.0)
    prepare_for: float = setting("Seconds that its preparation takes; it obeys a cancel.", default=0.0)
    prepare_error: str | None = setting("The preparation fails with this text.", default=None)
    busy_prepares: int = setting("How many preparations find it busy; -1: all.", default=0)
    busy_starts: int = setting("How many starts find it busy.", default=0)
    busy_seconds: float = setting("Seconds after which it may be tried again then.", default=0.1)
    start_error: str | None = setting("The start fails with this text; nothing is started.", default=None)
    start_error_retryable: bool = setting("Whether another attempt may help.", default=False)
    start_bug: bool = setting("The start raises something that is no LaunchError.", default=False)
    start_hang: float = setting("Seconds that the start takes before anything is started.", default=0.0)
    die_before_start: bool = setting("Kill the agent just before the start, once.", default=False)
    die_after_start: bool = setting("Kill the agent after the start, before it returns.", default=False)
    unknown_for: int = setting("How many polls cannot see it.", default=0)
    poll_errors: int = setting("How many polls raise.", default=0)
    find_errors: int = setting("How many finds raise.", default=0)
    log_errors: int = setting("How many reads of the log raise.", default=0)
    log_gap: int = setting("How many bytes are lost from the front of the log.", default=0)
    cancel_errors: int = setting("How many cancels raise.", default=0)
    cleanup_errors: int = setting("How many cleanups raise.", default=0)
    faulty_attempts: int = setting(
        "Attempts after this number just succeed; -1: every attempt follows the script.", default=-1
    )

    def of_attempt(self, number: int) -> Script:
        """The script of one attempt: later ones than ``faulty_attempts`` have no faults."""
        if self.faulty_attempts < 0 or number <= self.faulty_attempts:
            return self
        return Script(run_for=self.run_for, lines=self.lines, show_env=self.show_env)


@attrs.frozen(kw_only=True)
class EchoObject:
    """What was started, as it is stored. ``cancel_at`` and ``grace`` say when it was asked to stop."""

    attempt_id: str
    script: Script
    started_at: float
    labels: dict[str, str] = attrs.field(factory=dict)
    logins: tuple[str, ...] = ()
    volumes: dict[str, str] = attrs.field(factory=dict)
    cancel_at: float | None = None
    grace: float = 0.0

    @property
    def running_at(self) -> float:
        return self.started_at + self.script.pending_for

    @property
    def stopped_at(self) -> float:
        """When a cancel has taken effect; infinity without one."""
        if self.cancel_at is None:
            return math.inf
        return self.cancel_at + min(self.script.ignore_cancel_for, self.grace)

    @property
    def ends_at(self) -> float:
        return min(self.running_at + self.script.run_for, self.stopped_at)

    def next_change(self, now: float) -> float:
        """When its status will be another by itself; infinity: never."""
        return next((at for at in (self.running_at, self.ends_at) if at > now), math.inf)


def status_at(one: EchoObject, now: float) -> RunStatus:
    """What a poll says at this time, faults of the polling aside."""
    script = one.script
    if now < min(one.running_at, one.ends_at):
        return RunStatus(phase=Phase.PENDING)
    if now < one.ends_at:
        return RunStatus(phase=Phase.RUNNING, started_at=one.running_at)
    if one.stopped_at < one.running_at + script.run_for:
        forced = script.ignore_cancel_for > one.grace
        return _ended(one, signal=9 if forced else 15)
    if script.gone:
        return RunStatus(phase=Phase.GONE, message="the echo has faded")
    if script.oom:
        return _ended(one, signal=9, failure=_failure(Reason.OUT_OF_MEMORY, "out of memory"))
    if script.signal is not None:
        return _ended(one, signal=script.signal)
    return _ended(one, exit_code=script.exit_code)


def visible_at(one: EchoObject, log: bytes, now: float) -> bytes:
    """How much of the whole log has been printed by this time."""
    printing = min(now, one.ends_at) - one.running_at
    if printing < 0:
        return b""
    if one.script.line_every <= 0:
        return log
    lines = log.splitlines(keepends=True)
    return b"".join(lines[: int(printing / one.script.line_every) + 1])


def _ended(
    one: EchoObject,
    *,
    exit_code: int | None = None,
    signal: int | None = None,
    failure: Failure | None = None,
) -> RunStatus:
    good = exit_code == 0
    if not good and failure is None:
        what = f"killed by signal {signal}" if signal is not None else f"exit code {exit_code}"
        failure = _failure(Reason.USER_ERROR, what)
    return RunStatus(
        phase=Phase.SUCCEEDED if good else Phase.FAILED,
        exit_code=exit_code,
        signal=signal,
        failure=failure,
        started_at=one.running_at,
        finished_at=one.ends_at,
        usage={"cpu_seconds": 0.0},
    )


def _failure(reason: Reason, detail: str) -> Failure:
    return Failure(reason=reason, fault=Fault.USER, stage=Stage.EXECUTE, detail=detail)

"""The end of an attempt: the rest of its log, its outcome, and nothing left behind."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from launchcore.agent.attempt import Attempt
from launchcore.agent.logpump import LogPump
from launchcore.agent.roster import Roster
from launchcore.host.host import Host
from launchcore.plugin import (
    Failure,
    LeaseLost,
    Outcome,
    Phase,
    Reason,
    RunStatus,
    Stage,
    TimelineEvent,
    Update,
    Verdict,
)
from launchcore.stages.s5_report import explained, outcome_of, stopped
from launchcore.stages.work import StageFailed

log = logging.getLogger("launchcore.agent")

READINGS = 3
"""How often a log is read to its end: again when the queue has lost what it had."""


class Closer:
    """Ends attempts. Its methods block; they run on threads of their own, never on a monitor's."""

    def __init__(
        self,
        host: Host,
        roster: Roster,
        *,
        ended: Callable[[Attempt, Outcome], None],
        dropped: Callable[[], None],
    ) -> None:
        self._host = host
        self._roster = roster
        self._ended = ended
        self._dropped = dropped

    def finish(self, attempt: Attempt, status: RunStatus, pump: LogPump | None) -> None:
        """What was started has ended: ``status`` is final."""
        assert attempt.runner is not None
        if pump is not None:
            self._drain_log(attempt, pump)
        stop = attempt.stop if attempt.cancelled else None
        outcome = outcome_of(status, stop, plugin=attempt.runner.plugin)
        detail = _summary(outcome, status)
        self._report(attempt, explained(self._host, outcome), detail)

    def fail(self, attempt: Attempt, failed: StageFailed) -> None:
        """A stage has failed, and nothing runs."""
        failure = failed.failure
        if attempt.stop is not None and failure.reason is attempt.stop.reason:
            failure = stopped(attempt.stop, failure.stage)
        verdict = Verdict.CANCELLED if failure.reason is Reason.CANCELLED else Verdict.FAILED
        outcome = Outcome(verdict=verdict, failure=failure, retryable=failed.retryable)
        self._report(attempt, explained(self._host, outcome), failure.detail)

    def lost(self, attempt: Attempt, failure: Failure) -> None:
        """An adopted attempt turns out to have started nothing."""
        self._report(attempt, Outcome(verdict=Verdict.LOST, failure=failure), failure.detail)

    def drop(self, attempt: Attempt) -> None:
        """The attempt is another's now: touch nothing of it. What is left of it if it has ended, is swept."""
        log.info("%s: the lease is another's; dropped", attempt.id)
        self._roster.remove(attempt)
        self._dropped()

    def _report(self, attempt: Attempt, outcome: Outcome, detail: str) -> None:
        event = TimelineEvent(at=time.time(), stage=Stage.REPORT, what=outcome.verdict.value, detail=detail)
        try:
            attempt.hit("report.before")
            attempt.write(Update(events=(event,), outcome=outcome))
            attempt.hit("report.after")
        except LeaseLost:
            self.drop(attempt)
            return
        self._clean(attempt)
        attempt.hit("cleanup.after")
        self._roster.remove(attempt)
        self._ended(attempt, outcome)

    def _clean(self, attempt: Attempt) -> None:
        if attempt.handle is not None and attempt.runner is not None:
            try:
                attempt.runner.object.cleanup(attempt.handle)
            except Exception:
                # The sweeper comes back for it: the result is stored, and that is what matters now.
                log.exception("%s: cleanup failed, the sweeper will try again", attempt.id)
        attempt.clean()

    def _drain_log(self, attempt: Attempt, pump: LogPump) -> None:
        """Whatever becomes of the log, the result of the run does not depend on it."""
        try:
            for _ in range(READINGS):
                self._read_log(attempt, pump)
                if pump.finish():
                    return
        except LeaseLost:
            return
        except Exception:
            log.exception("%s: the end of its log could not be stored", attempt.id)

    def _read_log(self, attempt: Attempt, pump: LogPump) -> None:
        """To its end, for as long as something comes. Waiting for the queue is not the runner's fault."""
        assert attempt.runner is not None
        patience = attempt.runner.spec.log_patience
        until = time.monotonic() + patience
        while not pump.read and time.monotonic() < until:
            try:
                if pump.pump(time.monotonic(), patient=True):
                    until = time.monotonic() + patience
                elif not pump.read:
                    time.sleep(0.05)
            except LeaseLost:
                raise
            except Exception:
                log.exception("%s: its log could not be read to the end", attempt.id)
                return


def _summary(outcome: Outcome, status: RunStatus) -> str:
    if status.phase is Phase.GONE:
        return "disappeared"
    if outcome.signal is not None:
        return f"signal {outcome.signal}"
    if outcome.exit_code is not None:
        return f"exit code {outcome.exit_code}"
    return outcome.failure.detail if outcome.failure else ""

"""Follows everything that one runner has started: one thread for all of it.

A runner that watches tells of changes; the others are polled, all handles in one call. Losing sight is
not failure: ``unknown`` is waited out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from launchcore.agent.attempt import Attempt
from launchcore.agent.closer import Closer
from launchcore.agent.logpump import LogPump
from launchcore.agent.pool import Pool
from launchcore.plugin import (
    LeaseLost,
    Phase,
    RunHandle,
    Runner,
    RunnerSpec,
    RunState,
    RunStatus,
    Stage,
    TimelineEvent,
    Update,
)
from launchcore.stages.workshop import Component

log = logging.getLogger("launchcore.agent")

POLL = 1.0
"""Seconds between polls of a runner that cannot watch."""
GLANCE = 15.0
"""Seconds between polls of one that can: for what a watch may have missed."""
CANCEL_AGAIN = 10.0
"""Seconds after which a cancel that had no effect is repeated."""


class Monitor:
    """All started attempts of one runner."""

    def __init__(
        self,
        component: Component[RunnerSpec, Runner],
        closer: Closer,
        closers: Pool,
        known: Callable[[str], bool],
        *,
        max_log_bytes: int,
        log_spool_bytes: int,
    ) -> None:
        self.component = component
        self._runner = component.object
        self._closer = closer
        self._closers = closers
        self._max_log_bytes = max_log_bytes
        self._log_spool_bytes = log_spool_bytes
        self._known = known
        self._attempts: dict[str, Attempt] = {}
        self._pumps: dict[str, LogPump] = {}
        self._cancel_due: dict[str, float] = {}
        self._said: dict[tuple[str, str], str] = {}
        self._changes: dict[str, RunStatus] = {}
        self._poll_due = 0.0
        self._wake = threading.Condition()
        self._closed = False
        self.last_seen = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"monitor-{component.spec.name}", daemon=True)
        self._thread.start()

    def track(self, attempt: Attempt) -> None:
        """Follow an attempt whose handle is stored."""
        assert attempt.handle is not None
        pump = LogPump(attempt, self._runner, attempt.handle, self._max_log_bytes, self._log_spool_bytes)
        with self._wake:
            self._attempts[attempt.id] = attempt
            self._pumps[attempt.id] = pump
            if not self.component.spec.watches or attempt.claim.adopted:
                self._poll_due = 0.0
            self._wake.notify()

    @property
    def busy(self) -> bool:
        """It has something to follow."""
        return bool(self._attempts)

    def ages(self, now: float) -> dict[str, float]:
        """Seconds since the runner was heard, and since each of its watches was, if it says so."""
        spec = self.component.spec
        found = {spec.name: now - self.last_seen}
        if spec.watch_ages is not None:
            ages = spec.watch_ages(self._runner)
            found.update({f"{spec.name} {name}": age for name, age in ages.items()})
        return found

    def nudge(self) -> None:
        """Something about an attempt has changed (a stop was requested, a lease was lost)."""
        with self._wake:
            self._wake.notify()

    def close(self) -> None:
        """Stop following; what runs goes on."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(timeout=5)
        if not self._thread.is_alive():
            for pump in list(self._pumps.values()):
                pump.close()

    # -- on the runner's watching thread ---------------------------------------------------------

    def _on_change(self, handle: RunHandle, status: RunStatus) -> None:
        # It may come before track(): a short run is over before its handle is stored.
        self.last_seen = time.monotonic()
        if self._known(handle.key):
            with self._wake:
                self._changes[handle.key] = status
                self._wake.notify()

    # -- on the monitor's own thread -------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed:
            try:
                if self.component.spec.watches:
                    with self._runner.watch(self._on_change):
                        self._loop()
                else:
                    self._loop()
            except Exception:
                # One bad event must not stop the watch for good: say so, and begin anew.
                log.exception("watching %s failed, starting again", self.component.spec.name)
                self._poll_due = 0.0
                time.sleep(0.5)

    def _loop(self) -> None:
        while not self._closed:
            with self._wake:
                timeout = self._timeout(time.monotonic())
                if timeout > 0 and not self._ready():
                    self._wake.wait(timeout)
                changes = {
                    key: self._changes.pop(key) for key in list(self._changes) if key in self._attempts
                }
                attempts = list(self._attempts.values())
            now = time.monotonic()
            for key, status in changes.items():
                self._seen(self._attempts[key], status)
            self._drop_lost(attempts)
            self._cancel_stopped(attempts, now)
            if attempts and now >= self._poll_due:
                self._poll(now)
            self._pump(now)

    def _ready(self) -> bool:
        return any(key in self._attempts for key in self._changes)

    def _timeout(self, now: float) -> float:
        if not self._attempts:
            return 3600.0
        due = [self._poll_due, *(pump.due for pump in self._pumps.values() if not pump.ended)]
        due += [
            self._cancel_due.get(attempt.id, 0.0)
            for attempt in self._attempts.values()
            if attempt.stop is not None and not attempt.closing
        ]
        return max(min(due) - now, 0.0)

    def _poll(self, now: float) -> None:
        handles = [each.handle for each in self._attempts.values() if each.handle and not each.closing]
        self._poll_due = now + (GLANCE if self.component.spec.watches else POLL)
        if not handles:
            return
        for key, status in self._runner.poll(handles).items():
            attempt = self._attempts.get(key)
            if attempt is not None:
                self._seen(attempt, status)
        self.last_seen = now

    def _seen(self, attempt: Attempt, status: RunStatus) -> None:
        if attempt.closing:
            return
        self._tell(attempt, "note", status.progress)
        self._tell(attempt, "warning", status.message)
        if status.phase.final:
            attempt.closing = True
            pump = self._forget(attempt)
            self._closers.submit(partial(self._closer.finish, attempt, status, pump))
        elif status.phase is Phase.RUNNING and attempt.state is not RunState.RUNNING:
            try:
                attempt.write_once(Update(state=RunState.RUNNING))
            except LeaseLost:
                self._forget(attempt)
                self._closer.drop(attempt)

    def _tell(self, attempt: Attempt, what: str, text: str | None) -> None:
        """What has not just been told, goes to the time-line."""
        if text and self._said.get((attempt.id, what)) != text:
            self._said[attempt.id, what] = text
            attempt.note(TimelineEvent(at=time.time(), stage=Stage.EXECUTE, what=what, detail=text))

    def _drop_lost(self, attempts: list[Attempt]) -> None:
        for attempt in attempts:
            if attempt.lost and not attempt.closing:
                pump = self._forget(attempt)
                if pump is not None:
                    pump.close(ours=False)
                self._closer.drop(attempt)

    def _cancel_stopped(self, attempts: list[Attempt], now: float) -> None:
        for attempt in attempts:
            if attempt.stop is None or attempt.closing or now < self._cancel_due.get(attempt.id, 0.0):
                continue
            grace = attempt.claim.spec.limits.grace_seconds
            again = CANCEL_AGAIN + (grace if attempt.cancelled else 0.0)
            self._cancel_due[attempt.id] = now + again
            attempt.cancelled = True
            self._closers.submit(partial(self._cancel, attempt, grace))

    def _cancel(self, attempt: Attempt, grace: float) -> None:
        assert attempt.handle is not None
        attempt.hit("cancel.before")
        try:
            self._runner.cancel(attempt.handle, grace)
        except Exception:
            log.exception("%s: could not be stopped, trying again", attempt.id)
        attempt.hit("cancel.after")

    def _pump(self, now: float) -> None:
        for key, pump in list(self._pumps.items()):
            if pump.ended or now < pump.due:
                continue
            try:
                more = pump.pump(now)
                if more:
                    pump.due = now
            except LeaseLost:
                continue
            except Exception as error:
                pump.due = now + 5.0
                log.warning("%s: its log cannot be read now: %s", key, error)

    def _forget(self, attempt: Attempt) -> LogPump | None:
        with self._wake:
            self._attempts.pop(attempt.id, None)
            self._changes.pop(attempt.id, None)
            self._cancel_due.pop(attempt.id, None)
            for what in ("note", "warning"):
                self._said.pop((attempt.id, what), None)
            return self._pumps.pop(attempt.id, None)

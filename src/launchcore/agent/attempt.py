"""One attempt in this agent's hands: its lease, its pending notes, and whether it is still wanted."""

from __future__ import annotations

import contextlib
import logging
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

import attrs

from launchcore.agent.failpoints import Failpoints
from launchcore.config.masking import NOTHING_SECRET, masker_of
from launchcore.plugin import (
    Builder,
    Cancelled,
    Claim,
    ImageRef,
    LaunchError,
    LeaseLost,
    LogAppend,
    LogBehind,
    LogPosition,
    QueueClient,
    QueueDamaged,
    QueueUnavailable,
    Registry,
    RunHandle,
    Runner,
    RunnerSpec,
    RunState,
    Secret,
    Stop,
    TimelineEvent,
    Update,
)
from launchcore.stages.work import Released
from launchcore.stages.workshop import Component

log = logging.getLogger("launchcore.agent")
T = TypeVar("T")

LONGEST_PAUSE = 15.0
"""Seconds: a queue that asks to be left alone for longer is asked again all the same."""
MOST_TEXT = 1 << 20
"""Bytes of what the stages have said that go in one write: a queue service takes only so much at once."""
FLUSH_AFTER = 0.5
"""Seconds after which a note is written although no other write has come along."""


class Attempt:
    """Implements :class:`launchcore.stages.work.Work`. Every method may be called from any thread.

    An agent has one for each run that it follows, for as long as the run goes on: slots, and nothing made
    before it is needed.
    """

    __slots__ = (
        "_client",
        "_damaged",
        "_events",
        "_failpoints",
        "_lease_ends",
        "_lock",
        "_lost",
        "_masker",
        "_pending_since",
        "_registry",
        "_released",
        "_stoppers",
        "_text",
        "_wanted",
        "_writing",
        "builder",
        "cancelled",
        "claim",
        "closing",
        "handle",
        "id",
        "position",
        "runner",
        "scratch",
        "secrets",
        "since",
        "state",
        "stop",
    )

    def __init__(
        self,
        claim: Claim,
        client: QueueClient,
        failpoints: Failpoints,
        scratch: Path,
        *,
        lease_ends: float,
        damaged: Callable[[QueueDamaged], None],
    ) -> None:
        self.claim = claim
        self.id = claim.attempt_id
        self.scratch = scratch
        self.state = claim.state
        self.since = time.time()
        self.handle: RunHandle | None = claim.handle
        self.runner: Component[RunnerSpec, Runner] | None = None
        self.builder: Builder | None = None
        """What it was built with, if anything."""
        self._registry: Registry | None = None
        self.position: LogPosition = claim.log
        self.secrets: tuple[Secret, ...] = ()
        self.stop: Stop | None = None
        self.cancelled = False
        """The runner has been asked to stop it, for the reason in ``stop``."""
        self.closing = False
        """Its end has been seen; one closer is at work on it."""
        self._client = client
        self._failpoints = failpoints
        self._lease_ends = lease_ends
        self._damaged = damaged
        self._events: list[TimelineEvent] = []
        self._text = bytearray()
        self._masker = NOTHING_SECRET
        self._pending_since: float | None = None
        self._lost = False
        self._released = False
        self._writing = threading.Lock()
        self._lock = threading.Lock()
        self._wanted: threading.Condition | None = None
        """Of somebody who waits for the queue, and is to hear at once that it is not wanted any more."""
        self._stoppers: list[Callable[[], None]] = []

    # -- what the stages call ------------------------------------------------------------------

    @property
    def start_before(self) -> float:
        return self._lease_ends

    def hit(self, failpoint: str) -> None:
        self._failpoints.hit(failpoint)

    def builds_with(self, builder: Builder) -> None:
        self.builder = builder

    def pushes_to(self, registry: Registry) -> None:
        self._registry = registry

    def digest(self, ref: ImageRef) -> str | None:
        return self._registry.digest(ref) if self._registry is not None else None

    def ensure(self, ref: ImageRef) -> None:
        if self._registry is not None:
            self._registry.ensure(ref)

    def mask(self, secrets: tuple[Secret, ...]) -> None:
        with self._lock:
            self.secrets = (*self.secrets, *secrets)
            self._masker = masker_of(self.secrets)

    def note(self, event: TimelineEvent) -> None:
        with self._lock:
            self._events.append(event)
            self._pend()

    def log(self, text: str) -> None:
        line = text if text.endswith("\n") else text + "\n"
        with self._lock:
            masked = self._masker.feed(line.encode("utf-8", "replace")) + self._masker.flush()
            self._text += masked
            self._pend()

    def check(self) -> None:
        with self._lock:
            if self._lost:
                raise LeaseLost(self.id)
            if self._released:
                raise Released(self.id)
            if self.stop is not None:
                raise Cancelled(self.stop.detail or self.stop.reason.value, reason=self.stop.reason)

    @contextmanager
    def on_cancel(self, stop: Callable[[], None]) -> Iterator[None]:
        with self._lock:
            wanted = self.wanted
            if wanted:
                self._stoppers.append(stop)
        if not wanted:
            stop()
        try:
            yield
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._stoppers.remove(stop)

    def open_archive(self, digest: str) -> IO[bytes]:
        return self.until_answered(lambda: self._client.open_archive(digest))

    def write(self, update: Update) -> None:
        """One fenced write with all that is pending, repeated until the queue answers.

        :raises LogBehind: of a write with a log: the queue has less of it than :attr:`position` said, which
            says now how much.
        """

        def send(full: Update) -> None:
            self.until_answered(lambda: self._fenced(full))

        with self._writing:
            while len(self._text) > MOST_TEXT:
                self._write(Update(), send)
            self._write(update, send)

    # -- what the agent calls ------------------------------------------------------------------

    def write_once(self, update: Update) -> bool:
        """Like :meth:`write`, but gives up at once: False when the queue is away or a write is going on."""
        if not self._writing.acquire(blocking=False):
            return False
        try:
            self._write(update, self._fenced)
        except QueueUnavailable:
            return False
        finally:
            self._writing.release()
        return True

    def flush_if_due(self, now: float) -> None:
        """Write notes that have waited long enough, and show that the attempt is being prepared."""
        with self._lock:
            due = self._pending_since is not None and now - self._pending_since >= FLUSH_AFTER
            early = self.state is RunState.CLAIMED
        if due:
            with contextlib.suppress(LeaseLost, Cancelled, QueueDamaged):
                self.write_once(Update(state=RunState.PREPARING if early else None))

    def say_again(self) -> None:
        """State and handle, for a queue that may have been restored from an older copy of itself."""
        if self.handle is not None and not self.closing:
            with contextlib.suppress(LeaseLost, LaunchError):
                self.write_once(Update(state=self.state, handle=self.handle))

    def last_words(self) -> None:
        """Write what is pending before the agent leaves, if the queue takes it."""
        with contextlib.suppress(LeaseLost, Cancelled):
            self.write_once(Update())

    def clean(self) -> None:
        """Remove what preparing it has left on this machine. The sweeper comes back for what fails here."""
        if self.builder is not None:
            try:
                self.builder.cleanup(self.id)
            except LaunchError as error:
                log.info("%s: its builder cannot clean up now: %s", self.id, error)
                return  # the directory reminds the sweeper
            except Exception:
                log.exception("%s: its builder could not clean up", self.id)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def renewed(self, ends: float) -> None:
        self._lease_ends = ends

    def request_stop(self, stop: Stop) -> None:
        """The run is to end. The first reason stands."""
        with self._lock:
            if self.stop is not None:
                return
            self.stop = stop
        self._tell_stoppers()

    def mark_lost(self) -> None:
        """The lease is another's: nothing that is done here counts any more."""
        with self._lock:
            self._lost = True
        self._tell_stoppers()

    def mark_released(self) -> None:
        """The agent drains: work that has started nothing ends."""
        with self._lock:
            self._released = True
        self._tell_stoppers()

    @property
    def lost(self) -> bool:
        return self._lost

    @property
    def wanted(self) -> bool:
        """Nobody has asked for its end, and it is still ours to prepare."""
        return not (self._lost or self._released or self.stop is not None)

    def until_answered(self, call: Callable[[], T]) -> T:
        """Repeat ``call`` while the queue cannot be reached, as long as the attempt is ours."""
        delay = 0.1
        while True:
            try:
                return call()
            except QueueUnavailable as error:
                log.warning("%s: the queue is away, trying again: %s", self.id, error)
                asked = min(error.retry_after or 0.0, LONGEST_PAUSE)
            with self._lock:
                if self._lost:
                    raise LeaseLost(self.id)
                if self._wanted is None:
                    self._wanted = threading.Condition(self._lock)
                self._wanted.wait(max(asked, delay * random.uniform(0.5, 1.0)))
            delay = min(delay * 2, 5.0)

    # -- inside --------------------------------------------------------------------------------

    def _write(self, update: Update, send: Callable[[Update], None]) -> None:
        """With all that is pending. The lock for writing is held."""
        full, events, taken = self._with_pending(update)
        try:
            send(full)
        except LogBehind as behind:
            self.position = behind.position
            if update.log is not None:
                raise
            full, events, taken = self._with_pending(update)
            send(full)
        self._accepted(full, events, taken)

    def _fenced(self, update: Update) -> None:
        try:
            self._client.write(self.claim.lease, update)
        except LeaseLost:
            self.mark_lost()
            raise
        except QueueDamaged as error:
            self._damaged(error)
            raise

    def _with_pending(self, update: Update) -> tuple[Update, int, int]:
        with self._lock:
            events, taken = len(self._events), len(self._text)
            if update.log is not None:
                moved = attrs.evolve(update.log, offset=self.position.offset)  # only now it is certain
                update, taken = attrs.evolve(update, log=moved), 0
            elif taken:
                taken = min(taken, MOST_TEXT)
                appended = LogAppend(
                    offset=self.position.offset, data=bytes(self._text[:taken]), cursor=self.position.cursor
                )
                update = attrs.evolve(update, log=appended)
            if events:
                update = attrs.evolve(update, events=(*self._events, *update.events))
            return update, events, taken

    def _accepted(self, update: Update, events: int, taken: int) -> None:
        with self._lock:
            del self._events[:events]
            del self._text[:taken]
            self._pending_since = time.monotonic() if self._events or self._text else None
            if update.log is not None:
                end = update.log.offset + len(update.log.data)
                self.position = LogPosition(offset=end, cursor=update.log.cursor)
            if update.handle is not None:
                self.handle = update.handle
            if update.state is not None and update.state is not self.state:
                self.state, self.since = update.state, time.time()

    def _pend(self) -> None:
        if self._pending_since is None:
            self._pending_since = time.monotonic()

    def _tell_stoppers(self) -> None:
        with self._lock:
            stoppers, self._stoppers = self._stoppers, []
            if self._wanted is not None:
                self._wanted.notify_all()
        for stop in stoppers:
            try:
                stop()
            except Exception:
                log.exception("%s: could not stop a stage", self.id)

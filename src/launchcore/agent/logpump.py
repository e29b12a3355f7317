"""Copies a runner's log into the queue's, masked, exactly once, resumable.

The runner's cursor is stored in the same transaction as the bytes that lie before it. While the masker
holds bytes back (the beginning of a secret, perhaps), nothing is stored, so that a cursor always stands
at a clean cut and a successor starts there with an empty masker.

While the queue is away, the log is read on: what it does not take goes to a spool on the disk, and from
there to the queue, in order. When the spool is full, reading stops; what the runner no longer has when it
goes on, the runner marks as missing.
"""

from __future__ import annotations

import logging
import math
import time

from launchcore.agent.attempt import Attempt
from launchcore.agent.spool import Spool
from launchcore.config.masking import masker_of
from launchcore.plugin import (
    LogAppend,
    LogBehind,
    RunHandle,
    Runner,
    Stage,
    TimelineEvent,
    Update,
)

log = logging.getLogger("launchcore.agent")

BATCH = 256 * 1024
"""Bytes asked of a runner at a time."""
IN_MEMORY = 4 * BATCH
"""Bytes after which no more is read, when neither queue nor spool takes any."""
QUIET, BUSY = 2.0, 0.2
"""Seconds between two looks at a log: one that says nothing, and one that talks."""
SPOOL = "log.spool"


class LogPump:
    """The log of one attempt. One thread at a time.

    :param max_bytes: of the stored log; what is longer is cut, with a mark.
    :param spool_bytes: of what waits on the disk for the queue.
    """

    __slots__ = (
        "_attempt",
        "_before",
        "_clean",
        "_cursor",
        "_full_since",
        "_handle",
        "_masker",
        "_max_bytes",
        "_pending",
        "_runner",
        "_spool",
        "_stored",
        "due",
        "interval",
        "read",
    )

    def __init__(
        self, attempt: Attempt, runner: Runner, handle: RunHandle, max_bytes: int, spool_bytes: int
    ) -> None:
        self._attempt = attempt
        self._runner = runner
        self._handle = handle
        self._max_bytes = max_bytes
        self._pending = bytearray()
        self._spool = Spool(attempt.scratch, SPOOL, spool_bytes)
        self._spool.recover(attempt.position.cursor)
        self._full_since: float | None = None
        """Since when nothing could be kept any more."""
        self.interval = BUSY
        self.due = 0.0
        self._begin(self._spool.cursor if self._spool else attempt.position.cursor)

    def _begin(self, cursor: str | None) -> None:
        self._masker = masker_of(self._attempt.secrets)
        self._stored = self._attempt.position.cursor
        self._cursor = cursor
        self._before = cursor
        """Where the bytes that are pending begin."""
        self._clean = True
        """The cursor stands where everything before it is pending, spooled or stored."""
        self.read = self._attempt.position.offset + self._spool.size >= self._max_bytes
        """There is nothing more to read."""

    @property
    def ended(self) -> bool:
        """Everything is read, and stored."""
        return self.read and not self._pending and not self._spool

    def pump(self, now: float, *, patient: bool = False) -> bool:
        """Copy one batch. True if there may be more at once.

        ``patient``: when nothing more can be kept here, wait for the queue until it takes some.
        A runner that cannot give its log raises, and the result of the run does not depend on it.
        """
        if self.ended:
            return False
        try:
            drained = self._drain(patient=False)
            got = self._read() if self._may_read() else 0
            self._keep(now)
            if patient and not self.read and not self._may_read():
                self._deliver()
        except LogBehind as behind:
            self._rewind(behind)
            return True
        self.interval = BUSY if got else min(self.interval * 2, QUIET)
        # On a common grid, so that hundreds of quiet logs wake the monitor five times a second at most.
        self.due = math.ceil((now + self.interval) / BUSY) * BUSY
        more = got >= BATCH or (got > 0 and not self.read and patient)
        return more or (drained and bool(self._spool))

    def finish(self) -> bool:
        """Store what is left, and say so if the runner did not come to the log's end.

        False: something that was thought to be stored, or spooled, is gone: :meth:`pump` reads it again.
        """
        if not self.read:
            self._pending += self._masker.flush()
            self._pending += b"\n[launch] the end of the log could not be read\n"
        self.read = self._clean = True
        try:
            self._deliver()
        except LogBehind as behind:
            self._rewind(behind)
        return self.read

    def close(self, *, ours: bool = True) -> None:
        """Leave what waits to a successor, on the disk; of an attempt that is not ours any more, only what
        is there already."""
        if ours and self._pending and self._clean:
            self._to_spool()
        self._spool.close()

    # -- inside --------------------------------------------------------------------------------

    def _may_read(self) -> bool:
        room = IN_MEMORY if self._clean else 64 * IN_MEMORY  # what is not clean can go nowhere else
        return not self.read and len(self._pending) < room

    def _read(self) -> int:
        batch = self._runner.logs(self._handle, self._cursor, BATCH)
        if batch.gap:
            self._pending += f"\n[launch] a part of the log is missing here: {batch.gap}\n".encode()
        self._pending += self._masker.feed(batch.data)
        self._cursor = batch.cursor
        if batch.end:
            self._pending += self._masker.flush()
            self.read = True
        self._clean = self.read or self._masker.held == 0
        self._cap()
        return len(batch.data)

    def _keep(self, now: float) -> None:
        """What was read goes to the queue, or behind what waits on the disk, or stays for now.

        What the queue did not take goes to the disk at once, and whole: its answer may be lost, so that
        the cursor after it may be the stored one, which a successor has to find there.
        """
        if not self._pending or not self._clean:
            return
        if (not self._spool and self._store(patient=False)) or self._to_spool():
            self._resumed(now)
        elif not self._may_read() and self._full_since is None:
            self._full_since = now

    def _resumed(self, now: float) -> None:
        if self._full_since is not None:
            detail = (
                f"its log was not read for {now - self._full_since:.0f} s: the queue was away, and there was"
                " no room for more; what the runner has no more is marked as missing in the log"
            )
            self._full_since = None
            event = TimelineEvent(at=time.time(), stage=Stage.EXECUTE, what="warning", detail=detail)
            self._attempt.note(event)

    def _to_spool(self) -> bool:
        if not self._spool.put(bytes(self._pending), self._cursor, after=self._before):
            return False
        self._pending.clear()
        self._before = self._cursor
        return True

    def _deliver(self) -> None:
        """Everything that can be, in order, however long the queue is away."""
        while self._spool:
            self._drain(patient=True)
        if self._clean:
            self._store(patient=True)

    def _drain(self, *, patient: bool) -> bool:
        """One piece from the spool to the queue. False: there is none, or the queue does not take it."""
        try:
            piece = self._spool.first(IN_MEMORY)
        except OSError as error:
            log.warning("%s: its log's spool is lost, reading again: %s", self._attempt.id, error.strerror)
            self._restart()
            return False
        if piece is None or not self._append(piece.data, piece.cursor, patient=patient):
            return False
        self._spool.drop(piece)
        return True

    def _store(self, *, patient: bool) -> bool:
        data = bytes(self._pending)
        if not data:
            return True
        self._attempt.hit("log.before_append")
        if not self._append(data, self._cursor, patient=patient):
            return False
        self._attempt.hit("log.after_append")
        del self._pending[: len(data)]
        self._before = self._cursor
        return True

    def _append(self, data: bytes, cursor: str | None, *, patient: bool) -> bool:
        """The attempt corrects the offset, when it is this write's turn."""
        position = self._attempt.position
        if position.cursor != self._stored:
            raise LogBehind("the queue has lost a part of the log; it is read again", position=position)
        update = Update(log=LogAppend(offset=position.offset, data=data, cursor=cursor))
        if patient:
            self._attempt.write(update)
        elif not self._attempt.write_once(update):
            return False
        self._stored = cursor
        return True

    def _rewind(self, behind: LogBehind) -> None:
        """The queue has less than it had: its database was restored. Read again from where it stands."""
        log.warning("%s: %s", self._attempt.id, behind)
        event = TimelineEvent(at=time.time(), stage=Stage.EXECUTE, what="warning", detail=behind.detail)
        self._attempt.note(event)
        self._restart()

    def _restart(self) -> None:
        self._spool.clear()
        self._pending.clear()
        self._begin(self._attempt.position.cursor)

    def _cap(self) -> None:
        left = max(self._max_bytes - self._attempt.position.offset - self._spool.size, 0)
        if len(self._pending) > left:
            del self._pending[left:]
            self._pending += (
                f"\n[launch] the log is cut here: it is longer than {self._max_bytes} bytes\n".encode()
            )
            self.read = True
            self._clean = True

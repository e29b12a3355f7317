"""Copies a runner's log into the queue's, masked, exactly once, resumable.

The runner's cursor is stored in the same transaction as the bytes that lie before it. While the masker
holds bytes back (the beginning of a secret, perhaps), nothing is stored, so that a cursor always stands
at a clean cut and a successor starts there with an empty masker.
"""

from __future__ import annotations

import logging
import math

from launchcore.agent.attempt import Attempt
from launchcore.config.masking import Masker
from launchcore.plugin import LogAppend, RunHandle, Runner, Update

log = logging.getLogger("launchcore.agent")

BATCH = 256 * 1024
"""Bytes asked of a runner at a time."""
QUIET, BUSY = 2.0, 0.2
"""Seconds between two looks at a log: one that says nothing, and one that talks."""


class LogPump:
    """The log of one attempt. One thread at a time."""

    def __init__(self, attempt: Attempt, runner: Runner, handle: RunHandle, max_bytes: int) -> None:
        self._attempt = attempt
        self._runner = runner
        self._handle = handle
        self._max_bytes = max_bytes
        self._masker = Masker(attempt.secrets)
        self._cursor = attempt.position.cursor
        self._pending = bytearray()
        self._clean = True
        """The cursor stands where everything before it is in ``_pending`` or stored."""
        self.interval = BUSY
        self.due = 0.0
        self.ended = attempt.position.offset >= max_bytes

    def pump(self, now: float, *, patient: bool = False) -> bool:
        """Copy one batch. True if there may be more at once.

        ``patient``: wait for the queue until it takes the bytes; otherwise they are kept for the next time.
        A runner that cannot give its log raises, and the result of the run does not depend on it.
        """
        if self.ended and not self._pending:
            return False
        got = 0
        if not self.ended and len(self._pending) < 4 * BATCH:
            batch = self._runner.logs(self._handle, self._cursor, BATCH)
            got = len(batch.data)
            if batch.gap:
                self._pending += f"\n[launch] a part of the log is missing here: {batch.gap}\n".encode()
            self._pending += self._masker.feed(batch.data)
            self._cursor = batch.cursor
            if batch.end:
                self._pending += self._masker.flush()
                self.ended = True
            self._clean = self.ended or self._masker.held == 0
        self._cap()
        if self._pending and self._clean:
            self._attempt.hit("log.before_append")
            self._store(patient)
            self._attempt.hit("log.after_append")
        self.interval = BUSY if got else min(self.interval * 2, QUIET)
        # On a common grid, so that hundreds of quiet logs wake the monitor five times a second at most.
        self.due = math.ceil((now + self.interval) / BUSY) * BUSY
        return got >= BATCH or (got > 0 and not self.ended and patient)

    def finish(self) -> None:
        """Store what is left, and say so if the runner did not come to the log's end."""
        if not self.ended:
            self._pending += self._masker.flush()
            self._pending += b"\n[launch] the end of the log could not be read\n"
        self.ended = self._clean = True
        if self._pending:
            self._store(patient=True)

    def _store(self, patient: bool) -> None:
        data = bytes(self._pending)
        append = LogAppend(offset=self._attempt.position.offset, data=data, cursor=self._cursor)
        if patient:
            self._attempt.write(Update(log=append))
        elif not self._attempt.write_once(Update(log=append)):
            return
        del self._pending[: len(data)]

    def _cap(self) -> None:
        left = self._max_bytes - self._attempt.position.offset
        if len(self._pending) > left:
            del self._pending[left:]
            self._pending += (
                f"\n[launch] the log is cut here: it is longer than {self._max_bytes} bytes\n".encode()
            )
            self.ended = True
            self._clean = True

"""Signals as data: each one becomes a number that the main thread reads when it is ready."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
from types import FrameType


class Wakeup:
    """Waits for signals and for other threads, without polling. Main thread only, but for :meth:`ring`.

    SIGTERM and SIGINT are counted; so is :meth:`ring`, which says that something has changed.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self.terms = 0
        self.interrupts = 0
        self._before = {
            number: signal.signal(number, self._count) for number in (signal.SIGTERM, signal.SIGINT)
        }
        self._old_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    @property
    def asked(self) -> int:
        """How often the agent has been asked to end."""
        return self.terms + self.interrupts

    def wait(self, timeout: float | None) -> None:
        """Return at a signal, a ring, or after ``timeout`` seconds."""
        select.select([self._reader], [], [], timeout)
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)

    def ring(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.send(b"\0")

    def close(self) -> None:
        signal.set_wakeup_fd(self._old_fd)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()

    def _count(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM:
            self.terms += 1
        else:
            self.interrupts += 1

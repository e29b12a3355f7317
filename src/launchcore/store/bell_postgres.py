"""The bell through a PostgreSQL server: LISTEN and NOTIFY on one connection of each process.

One thread sends and hears. It sends after the commit, on its own connection, all topics that have come
meanwhile in one message: a NOTIFY inside the transactions would make their commits wait for each other.
A process that is killed between its commit and its message is the only way to lose one; and a connection
that was lost hears nothing until there is a new one. So everybody is woken when a connection is new, and
when something was written to the server since the last look, every few seconds.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from launchcore.store.ears import EVERYBODY, Ears

if TYPE_CHECKING:
    import psycopg

RECHECK_SECONDS = 15.0
"""How long the message of a process that was killed may be missed."""

_CHANNEL: Final = b"launchcore"
_LARGEST_MESSAGE: Final = 7900  # bytes; the server takes fewer than 8000
_SHORTEST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_MARK: Final = b"SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
"""A number that grows with every transaction that writes, in any database of the server."""


class NotifyBell(Ears):
    """Rings topics, and listens to them, for one open database.

    :param connect: opens a connection of the driver's, in autocommit mode.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        super().__init__()
        self._connect = connect
        self._out: set[str] = set()
        self._out_lock = threading.Lock()
        self._hears, self._wakes = socket.socketpair()
        for end in (self._hears, self._wakes):
            end.setblocking(False)

    def ring(self, topics: Iterable[str]) -> None:
        unique = frozenset(topics)
        self._ring_here(unique)
        if self._stopping.is_set():
            return
        with self._out_lock:
            quiet = not self._out
            self._out |= unique
        if self._thread is None:
            with self._lock:
                self._begin()
        if quiet:
            self._wake()

    def close(self) -> None:
        self._stopping.set()
        self._ring_here(frozenset({EVERYBODY}))
        self._wake()
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        for end in (self._hears, self._wakes):
            end.close()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake; closed: it is gone
            self._wakes.send(b"!")

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._serve, name="launchcore-bell", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        """Connect, and connect again, until the end."""
        pause = _SHORTEST_PAUSE
        while True:
            try:
                with contextlib.closing(self._connect()) as raw:
                    raw.execute(b"LISTEN " + _CHANNEL)
                    pause = _SHORTEST_PAUSE
                    self._ring_here(frozenset({EVERYBODY}))
                    self._attend(raw)
            except Exception:  # whatever it is: those who read and write say it, with its reason
                self._stopping.wait(pause)
                pause = min(_LONGEST_PAUSE, pause * 2)
            if self._stopping.is_set():
                return

    def _attend(self, raw: psycopg.Connection[Any]) -> None:
        """Send and hear. Returns when it is to end; raises when the connection is lost."""
        caught: list[psycopg.Notify] = []
        raw.add_notify_handler(caught.append)  # what arrives together with an answer
        mark = self._mark(raw)
        look_at = time.monotonic() + RECHECK_SECONDS
        while True:
            self._send(raw)
            heard = _heard(raw, caught)
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + RECHECK_SECONDS
                latest = self._mark(raw)
                if latest != mark:
                    heard = frozenset({EVERYBODY})
                mark = latest
            if heard:
                self._ring_here(heard)
            elif self._stopping.is_set() and not self._out:
                return
            elif not self._out:
                left = max(0.0, look_at - time.monotonic())
                ends: list[Any] = [raw, self._hears]
                ready, _, _ = select.select(ends, [], [], left)
                if self._hears in ready:
                    with contextlib.suppress(BlockingIOError):
                        self._hears.recv(4096)
                if raw in ready:
                    raw.pgconn.consume_input()

    def _send(self, raw: psycopg.Connection[Any]) -> None:
        with self._out_lock:
            topics, self._out = self._out, set()
        if not topics:
            return
        message = "\n".join(topics).encode("utf-8", "replace")
        if len(message) > _LARGEST_MESSAGE:
            message = EVERYBODY.encode()
        try:
            raw.execute("SELECT pg_notify('launchcore', %s)", (message.decode(),))
        except Exception:
            with self._out_lock:
                self._out |= {EVERYBODY}
            raise

    def _mark(self, raw: psycopg.Connection[Any]) -> object:
        return raw.execute(_MARK).fetchone()


def _heard(raw: psycopg.Connection[Any], caught: list[psycopg.Notify]) -> frozenset[str]:
    """The topics of the messages that have arrived, without our own."""
    messages = [(each.pid, each.payload) for each in caught]
    caught.clear()
    while (arrived := raw.pgconn.notifies()) is not None:
        messages.append((arrived.be_pid, arrived.extra.decode(errors="replace")))
    own = raw.pgconn.backend_pid
    return frozenset(topic for pid, text in messages if pid != own for topic in text.split("\n"))

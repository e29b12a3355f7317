"""The bell: who waits for something hears of it in milliseconds, in other processes too.

Each process that waits binds one datagram socket in a directory beside the database. After a commit
the writer sends the topics that it concerns ("queue:default", "run:4b1…") to all sockets there; one
thread for each process receives them and wakes the threads that wait for such a topic. A datagram
may be lost (a full socket buffer, a process that was stopped): so the same thread asks the database
every few seconds whether anything was committed, and wakes everybody if so. That is all that an
idle process does.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from launchcore.store.ears import EVERYBODY, Ear, Ears

__all__ = ["Bell", "Ear"]

RECHECK_SECONDS = 5.0
"""How long a lost datagram may go unnoticed."""
DEAF_RECHECK_SECONDS = 0.5
"""The same where no socket can be bound (a file system without them)."""

_LONGEST_ADDRESS = 100  # the kernel's limit is 108 bytes, 104 on macOS
_LARGEST_MESSAGE = 4096
_COARSE_NS = 50_000_000
_BURST = 8
"""So many datagrams at once: the socket's queue (10 by default) may have overflowed."""


class Bell(Ears):
    """Rings topics, and listens to them, for one open database.

    :param directory: where the sockets are; made when it is needed, for its owner alone.
    :param change_mark: a number that changes with every commit, for the look every few seconds.
    :param closed: called when nobody will ask for the mark any more.
    """

    def __init__(
        self,
        directory: Path,
        change_mark: Callable[[], int],
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._directory = directory
        self._path = str(directory)
        self._change_mark = change_mark
        self._closed = closed
        self._socket: socket.socket | None = None
        self._name: str | None = None
        self._folder: int | None = None
        self._sender: socket.socket | None = None
        self._listed: tuple[int, tuple[str, ...]] = (-1, ())

    def ring(self, topics: Iterable[str]) -> None:
        """Wake whoever waits for one of the topics, here and in other processes. Never raises."""
        unique = frozenset(topics)
        self._ring_here(unique)
        message = "\n".join(unique).encode()
        if len(message) > _LARGEST_MESSAGE:
            message = EVERYBODY.encode()
        for name in self._others():
            self._send(name, message)

    def close(self) -> None:
        """Stop listening, and remove the socket. Idempotent."""
        self._stopping.set()
        self._ring_here(frozenset({EVERYBODY}))
        thread, self._thread = self._thread, None
        if thread is not None:
            if self._name is not None:
                self._send(self._name, b"")
            thread.join()
        with contextlib.suppress(Exception):
            self._closed()
        with self._lock:
            if self._name is not None:
                with contextlib.suppress(OSError):
                    (self._directory / self._name).unlink()
            for part in (self._socket, self._sender):
                if part is not None:
                    part.close()
            if self._folder is not None:
                os.close(self._folder)
            self._socket = self._sender = self._folder = self._name = None

    # the listening side

    def _start(self) -> None:
        """Bind the socket, if that is possible here, and start the thread. The lock is held."""
        with contextlib.suppress(OSError):
            self._directory.mkdir(mode=0o700, exist_ok=True)
            name = f"{os.getpid()}-{secrets.token_hex(4)}"
            bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                bound.bind(self._address(name))
            except OSError:
                bound.close()
                raise
            self._socket, self._name = bound, name
        self._thread = threading.Thread(target=self._hear, name="launchcore-bell", daemon=True)
        self._thread.start()

    def _hear(self) -> None:
        mark: int | None = None
        recheck_at = time.monotonic() + RECHECK_SECONDS
        while not self._stopping.is_set():
            topics = self._receive(recheck_at - time.monotonic())
            if time.monotonic() >= recheck_at or self._socket is None:
                recheck_at = time.monotonic() + RECHECK_SECONDS
                with contextlib.suppress(Exception):  # a database in trouble: look again later
                    latest = self._change_mark()
                    if latest != mark:
                        topics = frozenset({EVERYBODY})
                    mark = latest
            if topics:
                self._ring_here(topics)

    def _receive(self, seconds: float) -> frozenset[str]:
        """The topics of the datagrams that are there, or of those that come within the time."""
        if self._socket is None:
            self._stopping.wait(DEAF_RECHECK_SECONDS)
            return frozenset()
        try:
            self._socket.settimeout(max(0.001, seconds))
            messages = [self._socket.recv(_LARGEST_MESSAGE)]
        except TimeoutError:
            return frozenset()
        except OSError:
            self._stopping.wait(DEAF_RECHECK_SECONDS)
            return frozenset()
        self._socket.setblocking(False)
        with contextlib.suppress(OSError):
            while len(messages) < _BURST:
                messages.append(self._socket.recv(_LARGEST_MESSAGE))
        if len(messages) >= _BURST:
            return frozenset({EVERYBODY})
        return frozenset(b"\n".join(messages).decode(errors="replace").split("\n"))

    # the ringing side

    def _others(self) -> Iterable[str]:
        """The sockets of other processes. Listed again when the directory has changed.

        Times of change are coarse, so a listing that was made at the time of a change does not count.
        """
        try:
            changed = os.stat(self._path).st_mtime_ns  # noqa: PTH116
            if changed != self._listed[0]:
                names = tuple(name for name in os.listdir(self._path) if name != self._name)  # noqa: PTH208
                settled = abs(time.time_ns() - changed) > _COARSE_NS
                self._listed = (changed if settled else -1, names)
        except OSError:
            return ()
        return self._listed[1]

    def _send(self, name: str, message: bytes) -> None:
        if self._sender is None:
            with self._lock:
                if self._sender is None:
                    self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                    self._sender.setblocking(False)
        try:
            self._sender.sendto(message, self._address(name))
        except ConnectionRefusedError:  # its process is gone
            with contextlib.suppress(OSError):
                (self._directory / name).unlink()
        except OSError:  # its buffer is full: it is awake already, and looks by itself
            pass

    def _address(self, name: str) -> str:
        """A path short enough for a socket's address."""
        path = self._directory / name
        if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
            return str(path)
        if self._folder is None:
            self._folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._folder}/{name}"

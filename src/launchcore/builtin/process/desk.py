"""The keeper's connections. Standard library only."""

from __future__ import annotations

import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launchcore.builtin.process.loop import Loop
from launchcore.builtin.process.wire import Lines, encode

MOST_UNREAD = 64 * 1024 * 1024
"""Bytes that a listener may leave unread before it is dropped; it comes back and is told everything."""

Answer = Callable[[dict[str, Any]], None]
Handler = Callable[[dict[str, Any], Answer], None]


def listen(root: Path) -> socket.socket:
    """The socket ``keeper.sock``, for this account only. A path of any length fits into its address."""
    os.chdir(root)
    try:
        Path("keeper.sock").unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        mask = os.umask(0o177)
        try:
            listener.bind("keeper.sock")
        finally:
            os.umask(mask)
        listener.listen(512)
        listener.setblocking(False)
        return listener
    finally:
        os.chdir("/")


class Desk:
    """Takes connections of this account, gives whole requests to ``handler``, publishes events."""

    def __init__(self, loop: Loop, root: Path, handler: Handler) -> None:
        self._loop = loop
        self._handler = handler
        self._connections: set[Connection] = set()
        self._watchers: set[Connection] = set()
        self._root = root
        self._listener = listen(root)
        loop.watch(self._listener.fileno(), self._accept)

    def open_again(self) -> None:
        """Somebody has removed the socket: make another, so that runners find this keeper."""
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        self._listener = listen(self._root)
        self._loop.watch(self._listener.fileno(), self._accept)

    @property
    def busy(self) -> bool:
        """Somebody is connected."""
        return bool(self._connections)

    def publish(self, event: dict[str, Any]) -> None:
        """Tell all who watch."""
        if self._watchers:
            line = encode({"events": [event]})
            for watcher in list(self._watchers):
                watcher.send(line)

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except BlockingIOError:
                return
            if _peer_uid(connected) not in (os.getuid(), 0):
                connected.close()
                continue
            connected.setblocking(False)
            connection = Connection(self, self._loop, connected)
            self._connections.add(connection)

    def handle(self, connection: Connection, request: Any) -> None:
        if not isinstance(request, dict):
            connection.close()
            return
        try:
            self._handler(request, lambda answer: connection.send(encode(answer)))
        except Exception as problem:
            connection.send(encode({"error": "broken", "detail": f"{type(problem).__name__}: {problem}"}))
            raise
        if request.get("op") == "watch":
            self._watchers.add(connection)

    def closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._watchers.discard(connection)


class Connection:
    """One client. Never blocks: what it does not take now is kept for it."""

    def __init__(self, desk: Desk, loop: Loop, connected: socket.socket) -> None:
        self._desk = desk
        self._loop = loop
        self._socket = connected
        self._lines = Lines()
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        loop.watch(connected.fileno(), self._ready)

    def send(self, line: bytes) -> None:
        if self._socket.fileno() < 0:
            return
        if not self._unsent:
            try:
                line = line[self._socket.send(line) :]
            except BlockingIOError:
                pass
            except OSError:
                self.close()
                return
        if line:
            self._unsent.append(line)
            self._unsent_bytes += len(line)
            self._loop.watch(self._socket.fileno(), self._ready, write=True)
            if self._unsent_bytes > MOST_UNREAD:
                self.close()

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._desk.closed(self)

    def _ready(self) -> None:
        if self._unsent:
            self._flush()
        if self._socket.fileno() < 0:
            return
        try:
            data = self._socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        try:
            requests = self._lines.feed(data)
        except ValueError:
            self.close()
            return
        for request in requests:
            self._desk.handle(self, request)

    def _flush(self) -> None:
        while self._unsent:
            line = self._unsent.popleft()
            self._unsent_bytes -= len(line)
            try:
                sent = self._socket.send(line)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.close()
                return
            if sent < len(line):
                self._unsent.appendleft(line[sent:])
                self._unsent_bytes += len(line) - sent
                return
        if self._socket.fileno() >= 0:
            self._loop.watch(self._socket.fileno(), self._ready)


def _peer_uid(connected: socket.socket) -> int:
    """Who is at the other end (SO_PEERCRED, unix(7)); the directory keeps others out already."""
    if not hasattr(socket, "SO_PEERCRED"):
        return os.getuid()
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])

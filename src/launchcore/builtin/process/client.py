"""The runner's connection to a keeper: requests, events, and starting a keeper when there is none."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launchcore.builtin.process.variables import MARKS, inherited
from launchcore.builtin.process.wire import Lines, encode
from launchcore.plugin import LaunchError, Reason

ANSWER_SECONDS = 30.0
"""How long a keeper may take to answer; it takes milliseconds, unless the machine stands still."""


class NoKeeper(Exception):
    """There is nobody to ask."""


class Unreachable(LaunchError):
    """No keeper answers, and none can be started. What was asked may have been done all the same."""


class KeeperClient:
    """For one keeper's directory. May be used from any thread; each request has a connection to itself."""

    def __init__(self, root: Path, *, idle_seconds: float) -> None:
        self.root = root
        self._idle_seconds = idle_seconds
        self._free: list[Line] = []
        self._lock = threading.Lock()
        self._starting = threading.Lock()

    def ask(self, request: Mapping[str, Any], *, start: bool = True) -> dict[str, Any]:
        """One request and its answer. Requests may be repeated, so a lost connection is tried again.

        :param start: start a keeper when there is none.
        :raises NoKeeper: there is none, and ``start`` is false.
        :raises Unreachable: none can be started, or it does not answer.
        """
        line = encode(request)
        unreachable = self._error("cannot be reached")
        for tried in range(4):
            try:
                connection = self._take()
            except OSError as error:
                if not start:
                    raise NoKeeper(str(error)) from None
                try:
                    self.ensure()
                except Unreachable:
                    if tried:
                        raise
                continue
            try:
                answer = connection.ask(line)
            except TimeoutError:
                connection.close()
                raise self._error("does not answer") from None
            except (OSError, ValueError) as error:  # it was killed, or it is an old connection
                connection.close()
                self.close()  # the others lead to the same keeper
                unreachable = self._error(f"cannot be reached: {str(error) or type(error).__name__}")
                continue
            with self._lock:
                self._free.append(connection)
            return answer
        raise unreachable

    def ensure(self) -> None:
        """Start a keeper, unless there is one.

        :raises Unreachable: that is not possible.
        """
        with self._starting:
            with contextlib.suppress(OSError):
                self._connect().close()
                return
            package = Path(__file__).parents[3]
            env = inherited(os.environ, MARKS)
            env["PYTHONPATH"] = str(package)
            try:
                made = subprocess.run(
                    [
                        *(
                            sys.executable,
                            "-S",
                            "-P",
                            "-X",
                            "utf8",
                            "-m",
                            "launchcore.builtin.process.keeper",
                        ),
                        *(str(self.root), "--idle", str(self._idle_seconds)),
                    ],
                    env=env,
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=ANSWER_SECONDS,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise self._error(f"cannot be started: {error}") from None
            if made.returncode != 0:
                last = (made.stderr.strip().splitlines() or ["no reason given"])[-1]
                raise self._error(f"cannot be started: {last}")

    def events(self) -> Events:
        """A connection that carries events from now on, after the state of everything.

        :raises Unreachable: there is no keeper, and cannot be one.
        """
        self.ensure()
        try:
            connection = self._connect()
            connection.setblocking(True)
            connection.sendall(encode({"op": "watch"}))
        except OSError as error:
            raise self._error(f"cannot be reached: {error}") from None
        return Events(connection)

    def close(self) -> None:
        """Close the connections that are not in use. Others are made when they are needed."""
        with self._lock:
            free, self._free = self._free, []
        for connection in free:
            connection.close()

    def _take(self) -> Line:
        with self._lock:
            if self._free:
                return self._free.pop()
        return Line(self._connect())

    def _connect(self) -> socket.socket:
        """:raises OSError: nobody listens."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(ANSWER_SECONDS)
        path = str(self.root / "keeper.sock")
        try:
            if len(os.fsencode(path)) < 100:
                connection.connect(path)
            else:  # an address has at most 108 bytes (unix(7))
                folder = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    connection.connect(f"/proc/self/fd/{folder}/keeper.sock")
                finally:
                    os.close(folder)
        except OSError:
            connection.close()
            raise
        return connection

    def _error(self, what: str) -> Unreachable:
        return Unreachable(
            f"the keeper of processes {what}",
            reason=Reason.INFRASTRUCTURE,
            hint=f"its log is {self.root / 'keeper.log'}",
            retryable=True,
        )


class Line:
    """A connection for requests, one at a time. A runner has no end of its own, so it closes itself."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(True)
        patience = struct.pack("ll", int(ANSWER_SECONDS), 0)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connection.setsockopt(socket.SOL_SOCKET, option, patience)
        self._fd = connection.detach()
        self._lines = Lines()

    def ask(self, line: bytes) -> dict[str, Any]:
        """:raises OSError, ValueError: no answer."""
        try:
            while line:
                line = line[os.write(self._fd, line) :]
            while True:
                data = os.read(self._fd, 1 << 18)
                if not data:
                    raise ConnectionResetError("the keeper hung up")
                for message in self._lines.feed(data):
                    answer: dict[str, Any] = message
                    return answer
        except BlockingIOError:
            raise TimeoutError from None

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


class Events:
    """What happens at a keeper, until it ends or :meth:`close` is called (from any thread)."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.settimeout(None)
        self._lines = Lines()

    def next(self) -> list[dict[str, Any]]:
        """Wait for events.

        :raises OSError, ValueError: the connection is lost, or closed.
        """
        data = self._socket.recv(1 << 18)
        if not data:
            raise ConnectionResetError("the keeper hung up")
        return [event for message in self._lines.feed(data) for event in message["events"]]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

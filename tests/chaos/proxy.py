"""A proxy between agents and a server that does what networks do: each request may meet a fault.

It knows just enough of HTTP/1.1 to know where a request and an answer end. What it does to which request
comes from a seeded generator, so that a history can be played again (as far as threads allow).
"""

from __future__ import annotations

import contextlib
import enum
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import IO

import attrs


class Fault(enum.Enum):
    """What can happen to one request."""

    NONE = "none"
    REFUSE = "refuse"
    """The connection ends before the request has gone anywhere."""
    CUT_REQUEST = "cut_request"
    """Half of the request reaches the server."""
    SWALLOW = "swallow"
    """The server has done it; nobody hears of it."""
    CUT_ANSWER = "cut_answer"
    """Half of the answer comes back."""
    DELAY = "delay"
    """It all takes a while."""
    TWICE = "twice"
    """The server gets it two times; the second answer comes back."""
    STALL = "stall"
    """Nothing happens for seconds; then the connection ends."""


@attrs.define
class Weather:
    """How likely each fault is, for now. Changed while the proxy runs."""

    chance: float = 0.0
    """That a request meets any fault."""
    faults: tuple[Fault, ...] = tuple(fault for fault in Fault if fault is not Fault.NONE)
    delay: float = 0.5
    """Seconds, at most."""
    stall: float = 2.0
    """Seconds."""


class _Gone(Exception):
    """One side has hung up, or must be hung up on."""


class Proxy:
    """Listens on loopback, on ``url``. ``upstream``: the server's port, which may change."""

    def __init__(self, upstream: int, *, seed: int) -> None:
        self.upstream = upstream
        self.weather = Weather()
        self.met: Counter[Fault] = Counter()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def hang_up(self) -> None:
        """Cut every connection that there is now."""
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End, and wait for all threads."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join(30)

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(client)
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(_Gone, OSError), client.makefile("rb") as incoming:
            while not self._closed:
                request = _message(incoming)
                self._carry(client, request, self._choose())
        with self._lock:
            self._open.discard(client)

    def _choose(self) -> Fault:
        with self._lock:
            weather = self.weather
            fault = Fault.NONE
            if self._random.random() < weather.chance:
                fault = self._random.choice(weather.faults)
            self.met[fault] += 1
            return fault

    def _carry(self, client: socket.socket, request: bytes, fault: Fault) -> None:
        if fault is Fault.REFUSE:
            raise _Gone
        if fault is Fault.STALL:
            self._pause(self.weather.stall)
            raise _Gone
        if fault is Fault.DELAY:
            self._pause(self._random.uniform(0, self.weather.delay))
        if fault is Fault.CUT_REQUEST:
            self._ask(request[: len(request) // 2], listen=False)
            raise _Gone
        if fault is Fault.TWICE:
            self._ask(request)
        answer = self._ask(request)
        if fault is Fault.SWALLOW:
            raise _Gone
        if fault is Fault.CUT_ANSWER:
            client.sendall(answer[: len(answer) // 2])
            raise _Gone
        client.sendall(answer)

    def _ask(self, request: bytes, *, listen: bool = True) -> bytes:
        """One request on a connection of its own, and its answer."""
        with socket.create_connection(("127.0.0.1", self.upstream), timeout=90) as server:
            with self._lock:
                self._open.add(server)
            try:
                server.sendall(request)
                if not listen:
                    return b""
                with server.makefile("rb") as incoming:
                    return _message(incoming, bodiless=request.startswith(b"HEAD "))
            finally:
                with self._lock:
                    self._open.discard(server)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._closed and time.monotonic() < until:
            time.sleep(min(0.05, seconds))


def _message(incoming: IO[bytes], *, bodiless: bool = False) -> bytes:
    """One whole request or answer.

    :raises _Gone: the other side hung up before its end.
    """
    head, length, chunked = b"", 0, False
    while True:
        line = incoming.readline(65536)
        if not line.endswith(b"\n"):
            raise _Gone
        head += line
        if line in (b"\r\n", b"\n"):
            break
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        elif name.lower() == b"transfer-encoding":
            chunked = b"chunked" in value.lower()
    status = head.split(b" ", 2)[1] if head.startswith(b"HTTP/") else b""
    if bodiless or status in (b"204", b"304"):
        return head
    if status == b"100":
        return head + _message(incoming)
    if chunked:
        return head + _chunks(incoming)
    body = incoming.read(length)
    if len(body) < length:
        raise _Gone
    return head + body


def _chunks(incoming: IO[bytes]) -> bytes:
    body = b""
    while True:
        line = incoming.readline(1024)
        if not line.endswith(b"\n"):
            raise _Gone
        size = int(line.split(b";")[0], 16)
        piece = incoming.read(size + 2)
        if len(piece) < size + 2:
            raise _Gone
        body += line + piece
        if size == 0:
            return body

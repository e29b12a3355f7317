"""A server that does what a real one will not do on demand: swallow answers, cut them, say nonsense."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Any

import attrs

Act = Callable[["Line"], bool]
"""What is done with a request. True: the connection can take another one."""


@attrs.frozen(kw_only=True)
class Request:
    """What has come."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Line:
    """One connection."""

    def __init__(self, connected: socket.socket, closing: threading.Event) -> None:
        self.socket = connected
        self.closing = closing
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def _until(self, mark: bytes) -> bytes | None:
        while mark not in self._buffer:
            more = self.socket.recv(1 << 16)
            if not more:
                return None
            self._buffer += more
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            more = self.socket.recv(1 << 16)
            if not more:
                break
            self._buffer += more
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found

    def request(self) -> Request | None:
        head = self._until(b"\r\n\r\n")
        if head is None:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
        body = self._exactly(int(headers.get("content-length", "0")))
        return Request(method=method, target=target, headers=headers, body=body)


class Scripted:
    """Answers on loopback. Requests are answered by the acts of :attr:`acts`, in order, then by the last.

    :param tls: a context, for https.
    """

    def __init__(self, *acts: Act, tls: ssl.SSLContext | None = None) -> None:
        self.acts: list[Act] = list(acts)
        self.requests: list[Request] = []
        self.seen: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._tls = tls
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._lines: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._lines.add(connected)
            thread = threading.Thread(target=self._serve, args=(connected,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connected: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(self._forget, connected)
            if self._tls is not None:
                connected = self._tls.wrap_socket(connected, server_side=True)
            stack.callback(connected.close)
            line = Line(connected, self._closing)
            while (request := line.request()) is not None:
                with self._lock:
                    self.requests.append(request)
                    act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
                self.seen.put(request)
                if not act(line):
                    return

    def _forget(self, connected: socket.socket) -> None:
        with self._lock:
            self._lines.discard(connected)
        connected.close()


def answer(body: Any = b"", *, status: int = 200, kind: str = "application/json", **headers: str) -> Act:
    """A whole answer. ``body``: bytes, or a value that goes as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def act(line: Line) -> bool:
        lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(data)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        line.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data)
        return True

    return act


def problem(kind: str, status: int, **fields: Any) -> Act:
    """A problem document."""
    body = {"type": f"urn:launchcore:problem:{kind}", "title": kind, "status": status, **fields}
    return answer(body, status=status, kind="application/problem+json")


def swallow(_line: Line) -> bool:
    """The request was read, and perhaps carried out; the answer never comes."""
    return False


def cut(line: Line) -> bool:
    """The answer ends in its middle."""
    line.send(
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{"queues": ['
    )
    return False


def cut_head(line: Line) -> bool:
    """The answer ends before it has said how long it is."""
    line.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Le")
    return False


def garbage(line: Line) -> bool:
    line.send(bytes(range(256)) * 4)
    return False


def silent(line: Line) -> bool:
    """No answer, until the client or the test hangs up."""
    line.socket.settimeout(60)
    with contextlib.suppress(OSError):
        line.socket.recv(1)
    return False


HTML = answer(b"<html><h1>Welcome to nginx!</h1></html>", kind="text/html")
BAD_GATEWAY = answer(b"<html><h1>502 Bad Gateway</h1></html>", status=502, kind="text/html")
LATER = answer(b"", status=503, Retry_After="0")

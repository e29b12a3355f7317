"""The raw bytes of a streamed answer, taken without blocking: so that one thread follows many."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Any

from launch_k8s.errors import ApiAway

SIZE = 256 * 1024
LONGEST_HEAD = 64 * 1024
LONGEST_REFUSAL = 16 * 1024


class Chunks:
    """Undoes HTTP's chunked transfer coding (RFC 9112, section 7.1)."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = 0
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """:raises ValueError: this is not chunked."""
        self._buffer += data
        buffer = bytes(self._buffer)
        found, at, size = [], 0, len(buffer)
        while not self.ended:
            if self._left:
                # The rest of a chunk; the last two of its bytes are a line end.
                end = min(at + self._left, size)
                body = min(end, at + self._left - 2)
                if body > at:
                    found.append(buffer[at:body])
                self._left -= end - at
                at = end
                if self._left:
                    break
            line = buffer.find(b"\r\n", at)
            if line < 0:
                if size - at > 1024:
                    raise ValueError("not a chunk")
                break
            length = int(buffer[at:line].partition(b";")[0], 16)
            at = line + 2
            self.ended = length == 0
            self._left = length + 2 if length else 0
        del self._buffer[:at]
        return b"".join(found)


class Refusal(Exception):
    """The answer is no: its code, its headers (names in lower case) and what it says."""

    def __init__(self, code: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(f"HTTP {code}")
        self.code = code
        self.headers = headers
        self.body = body


class Wire:
    """The answer to one GET, from its head on (RFC 9112). ``ended``: it is complete; ``broken``: it stopped
    before that. A server may keep its head back until there is something to send: a log that is silent."""

    def __init__(self, connection: Any) -> None:
        """:param connection: urllib3's, on which the request was just sent."""
        self._connection = connection
        self._socket: socket.socket = connection.sock
        self._timeout = self._socket.gettimeout()
        keep_alive(self._socket)
        self._head: bytearray | None = bytearray()
        self._code = 0
        self._headers: dict[str, str] = {}
        self._refused = bytearray()
        self._chunks: Chunks | None = None
        self._left: int | None = None
        self.ended = False
        self.broken = False

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def over(self) -> bool:
        return self.ended or self.broken

    def read(self, *, wait: bool = False) -> bytes:
        """What has come of the body; b"" if nothing has, or if the stream is :attr:`over`.

        :param wait: wait for something, at most as long as the connection's timeout.
        :raises ApiAway: it waited in vain.
        :raises Refusal: the answer is no.
        """
        while not self.over:
            data = self._receive(wait)
            if data is None:
                return b""
            if not data:
                self.ended = self._head is None and self._chunks is None and self._left is None
                self.broken = not self.ended
                body = b""
            else:
                try:
                    body = self._body(data)
                except ValueError:
                    self.broken = True
                    return b""
            if self._code >= 300:
                self._refused += body[:LONGEST_REFUSAL]
                if self._complete() or len(self._refused) >= LONGEST_REFUSAL:
                    raise Refusal(self._code, self._headers, bytes(self._refused))
            elif body:
                return body
        return b""

    def _complete(self) -> bool:
        return self.over

    def shut(self) -> None:
        """End it from another thread: a read that waits returns."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Idempotent."""
        with contextlib.suppress(Exception):
            self._connection.close()

    def _body(self, data: bytes) -> bytes:
        """:raises ValueError: this is not HTTP."""
        if self._head is not None:
            self._head += data
            while self._head is not None:
                end = self._head.find(b"\r\n\r\n")
                if end < 0:
                    if len(self._head) > LONGEST_HEAD:
                        raise ValueError("not a head")
                    return b""
                head, data = bytes(self._head[:end]), bytes(self._head[end + 4 :])
                self._begin(head)
                self._head = bytearray(data) if 100 <= self._code < 200 else None
        if self._chunks is not None:
            body = self._chunks.feed(data)
            self.ended = self._chunks.ended
            return body
        if self._left is not None:
            self._left -= len(data)
            self.ended = self._left <= 0
        return data

    def _begin(self, head: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self._code = int(lines[0].split(" ", 2)[1])
        pairs = (line.partition(":") for line in lines[1:])
        self._headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        if "chunked" in self._headers.get("transfer-encoding", "").lower():
            self._chunks = Chunks()
        elif self._headers.get("content-length", "").isdigit():
            self._left = int(self._headers["content-length"])

    def _receive(self, wait: bool) -> bytes | None:
        """None: nothing there. b"": the other side has closed."""
        try:
            self._socket.settimeout(self._timeout if wait else 0)
            return self._socket.recv(SIZE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except TimeoutError:
            raise ApiAway("nothing comes any more", sent=True) from None
        except (OSError, ValueError):
            return b""


def keep_alive(sock: socket.socket) -> None:
    """Let the kernel find out about a connection whose other end has gone without a word."""
    options = [(socket.SOL_SOCKET, "SO_KEEPALIVE", 1)]
    options += [
        (socket.IPPROTO_TCP, name, value)
        for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
    ]
    for level, name, value in options:
        number = getattr(socket, name, None)
        if number is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(level, number, value)

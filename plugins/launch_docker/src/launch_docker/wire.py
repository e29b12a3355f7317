"""The raw bytes of a streamed answer, read without blocking: so that one thread follows many logs."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Any

from launch_docker.errors import EngineAway
from launch_docker.frames import Chunks

if TYPE_CHECKING:
    import requests

SIZE = 256 * 1024


class Wire:
    """The body of one answer of the engine. ``ended``: it is complete; ``broken``: it stopped before that."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        # The socket under urllib3 and http.client: the SDK reaches for it in the same way to attach.
        body: Any = response.raw
        reader = body._fp.fp  # noqa: SLF001
        self._socket: socket.socket = reader.raw._sock  # noqa: SLF001
        self._reader: Any | None = reader
        coding = response.headers.get("Transfer-Encoding", "")
        self._chunks = Chunks() if "chunked" in coding.lower() else None
        # Podman's answer has a length when it is short.
        length = response.headers.get("Content-Length") if self._chunks is None else None
        self._left = None if length is None else int(length)
        self._timeout = self._socket.gettimeout()
        self.ended = self._left == 0
        self.broken = False

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def over(self) -> bool:
        return self.ended or self.broken

    def read(self, *, wait: bool = False) -> bytes:
        """What has come; b"" if nothing has, or if the stream is :attr:`over`.

        :param wait: wait for something, at most as long as the request's timeout.
        :raises EngineAway: it waited in vain.
        """
        while not self.over:
            data = self._receive(wait)
            if data is None:
                return b""
            if not data:
                self.ended = self._chunks is None and not self._left
                self.broken = not self.ended
                return b""
            if self._left is not None:
                self._left -= len(data)
                self.ended = self._left <= 0
            if self._chunks is None:
                return data
            try:
                body = self._chunks.feed(data)
            except ValueError:
                self.broken = True
                return b""
            self.ended = self._chunks.ended
            if body:
                return body
        return b""

    def close(self) -> None:
        """Idempotent."""
        with contextlib.suppress(Exception):
            self._response.close()

    def _receive(self, wait: bool) -> bytes | None:
        """None: nothing there. b"": the other side has closed."""
        try:
            if self._reader is not None:
                # What came together with the head of the answer.
                self._socket.settimeout(0)
                early: bytes | None = self._early()
                if early:
                    return early
                self._reader = None
            self._socket.settimeout(self._timeout if wait else 0)
            return self._socket.recv(SIZE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except TimeoutError:
            raise EngineAway("the engine does not go on with its answer") from None
        except (OSError, ValueError):
            return b""

    def _early(self) -> bytes | None:
        assert self._reader is not None
        try:
            found: bytes | None = self._reader.read1(SIZE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        return found

"""AWS JSON 1.1 over HTTP: reads calls, writes answers. Signatures are not verified; who signed is read."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import uuid
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from launch_sagemaker.testing.faults import Cut, Refusal, Refused

REGION: Final = "us-east-1"
_SCOPE: Final = re.compile(r"Credential=([^/,\s]+)/\d+/([^/,\s]+)/sagemaker/aws4_request")
_TARGET: Final = "SageMaker."

Answer = Callable[[str, str, str, dict[str, Any]], Mapping[str, Any] | None]
"""(operation, region, access key, body) → the answer's body."""


class Server(ThreadingHTTPServer):
    """On a free port of loopback. Connections are kept open until :meth:`close`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, answer: Answer, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.answer = answer
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.05,), name="sagemaker-endpoint", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Hear nobody any more."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._connections.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            status, body = self._answer(data)
        except Cut:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(status)
        self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, data: bytes) -> tuple[int, bytes]:
        try:
            operation, (key_id, region) = self._operation(), self._signer()
            made = self.server.answer(operation, region, key_id, self._read(data))
        except Refused as refused:
            told = {"__type": refused.refusal.code, "message": refused.refusal.message}
            return refused.refusal.status, json.dumps(told).encode()
        return 200, b"" if made is None else json.dumps(made).encode()

    def _operation(self) -> str:
        target = self.headers.get("X-Amz-Target") or ""
        if not target.startswith(_TARGET):
            raise Refused(Refusal("UnknownOperationException", ""))
        return target.removeprefix(_TARGET)

    def _signer(self) -> tuple[str, str]:
        """The access key, and the region that the signature is for."""
        found = _SCOPE.search(self.headers.get("Authorization") or "")
        if found is None:
            raise Refused(Refusal("MissingAuthenticationTokenException", "Missing Authentication Token"))
        return found[1], found[2]

    @staticmethod
    def _read(data: bytes) -> dict[str, Any]:
        try:
            body = json.loads(data or b"{}")
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Refused(Refusal("SerializationException", ""))
        return body

    def log_message(self, format: str, *args: Any) -> None:
        """The endpoint has a log of its own."""

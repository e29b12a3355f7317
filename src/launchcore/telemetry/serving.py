"""``/metrics``, ``/healthz`` and ``/readyz`` of an agent, on an address of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from launchcore.config.address import address
from launchcore.plugin import LaunchError, Reason
from launchcore.telemetry.gauges import Gauges

_TEXT = "text/plain; charset=utf-8"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def healthy(now: Gauges, *, lease_seconds: float) -> bool:
    """Its threads work: leases are renewed, or it knows that the queue is away."""
    return now.queue_away > 0 or now.renewed_age <= 3 * lease_seconds


class Endpoint:
    """Serves until it is closed, on one thread and one more for each request."""

    def __init__(
        self, where: str, *, metrics: Callable[[], bytes], look: Callable[[], Gauges], lease_seconds: float
    ) -> None:
        """:raises LaunchError: the address cannot be had."""
        host, port = address(where)

        def answer(path: str) -> tuple[int, str, bytes]:
            if path == "/metrics":
                return 200, _PROMETHEUS, metrics()
            now = look()
            if path == "/healthz":
                good = healthy(now, lease_seconds=lease_seconds)
                return (200, _TEXT, b"ok\n") if good else (503, _TEXT, b"leases are not renewed\n")
            if path == "/readyz":
                why = "draining" if now.draining else "the queue is away" if now.queue_away else ""
                return (503, _TEXT, f"{why}\n".encode()) if why else (200, _TEXT, b"ok\n")
            return 404, _TEXT, b"/metrics, /healthz, /readyz\n"

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            address_family = _family(host)

        try:
            self._server = Server((host, port), _handler(answer))
        except OSError as error:
            raise LaunchError(
                f"metrics_address: cannot listen on {where}: {error.strerror}",
                reason=Reason.CONFIG_ERROR,
                hint="is another agent there? Give each an address of its own, or leave it out",
            ) from None
        shown = f"[{host}]" if ":" in host else host or "0.0.0.0"  # noqa: S104
        self.url = f"http://{shown}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving, and free the address."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _family(host: str) -> Any:
    import socket

    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _handler(answer: Callable[[str], tuple[int, str, bytes]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds: a client that says nothing holds nothing
        server_version = "launchcore"
        sys_version = ""

        def do_GET(self) -> None:
            status, kind, body = answer(self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes are not news."""

    return Handler

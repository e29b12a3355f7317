"""For tests and benchmarks of the context store: an S3 service of our own, and a proxy that misbehaves."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import importlib.util
import random
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs

from launch_kaniko.store_objects import ContextStore, open_store
from launch_kaniko.store_options import StoreOptions
from launch_kaniko.store_places import parse_store
from launchcore.plugin import EnvVar, Secret

ACCESS: Final = (
    EnvVar(name="ACCESS_KEY_ID", value="testing"),
    EnvVar(name="SECRET_ACCESS_KEY", value=Secret("canary-of-the-store")),
    EnvVar(name="REGION", value="us-east-1"),
)
"""The storage library knows these names without a cloud's word before them, too."""
_SERVE: Final = """
import logging, sys, threading
logging.getLogger("werkzeug").setLevel(logging.ERROR)
from werkzeug.serving import make_server
from moto.server import DomainDispatcherApplication, create_backend_app
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
"""


def missing() -> str | None:
    """Why there can be no S3 service here, or ``None``."""
    needed = ("moto", "flask")
    absent = [name for name in needed if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """moto's S3 as a process; its address. It ends with us, however we end: its standard input closes."""
    command = [sys.executable, "-c", _SERVE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("moto's server did not start")
            yield f"http://127.0.0.1:{int(line)}"
        finally:
            process.kill()


def options_for(endpoint: str, **more: Any) -> StoreOptions:
    """Options for a server of ours."""
    return StoreOptions(endpoint=endpoint, allow_http=True, **more)


class World:
    """A bucket in such a server, looked at by plain requests: it takes anybody's word, but for contents."""

    def __init__(self, address: str, bucket: str) -> None:
        self.address = address
        self.bucket = bucket
        self.put("", b"")

    def open(self, address: str | None = None, prefix: str = "/contexts", **options: Any) -> ContextStore:
        """A store below ``prefix``; ``address``: by way of a proxy."""
        place = parse_store(f"s3://{self.bucket}{prefix}")
        return open_store(place, ACCESS, options_for(address or self.address, **options))

    def put(self, key: str, data: bytes) -> None:
        """Somebody else's object; without a key, the bucket itself."""
        self._ask("PUT", f"/{key}" if key else "", data)

    def keys(self) -> list[str]:
        """Of all objects, 1,000 at most."""
        return re.findall("<Key>(.*?)</Key>", self._ask("GET", "?list-type=2").decode())

    def unfinished(self) -> list[str]:
        """Uploads in parts that are neither complete nor aborted."""
        return re.findall("<Upload>.*?<Key>(.*?)</Key>", self._ask("GET", "?uploads").decode(), re.DOTALL)

    def content(self, key: str) -> bytes:
        """An object's bytes; the server gives them to somebody with a login only."""
        import obstore
        from obstore.store import from_url

        config: Any = {"endpoint": self.address, "access_key_id": "testing", "secret_access_key": "testing"}
        store = from_url(f"s3://{self.bucket}", config=config, client_options={"allow_http": True})
        return bytes(obstore.get(store, key).bytes())

    def _ask(self, method: str, rest: str, data: bytes | None = None) -> bytes:
        url = f"{self.address}/{self.bucket}{rest}"
        request = urllib.request.Request(url, data, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return bytes(answer.read())


@attrs.frozen(kw_only=True)
class Asked:
    """One request that came to the proxy; ``number`` counts from 1."""

    method: str
    path: str
    number: int

    @property
    def part(self) -> bool:
        """It carries a part of an upload."""
        return self.method == "PUT" and "partNumber=" in self.path


Script = Callable[[Asked], "int | str | None"]
"""What to do with a request: a status to answer with, ``cut`` (the server never has it), ``swallow`` (it has
it, and its answer is lost), ``hang`` (until the proxy ends), or ``None``: pass it on."""


class Proxy:
    """Stands before an HTTP server. ``script`` may be replaced at any time."""

    def __init__(self, target: str) -> None:
        self.script: Script = lambda _asked: None
        self.asked: list[Asked] = []
        self.hanging = threading.Event()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        found = re.fullmatch(r"http://([^:/]+):(\d+)", target)
        assert found is not None
        self._target = (found[1], int(found[2]))
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _do(self) -> None:
                proxy._serve(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _do  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, request: http.server.BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        with self._lock:
            asked = Asked(method=request.command, path=request.path, number=len(self.asked) + 1)
            self.asked.append(asked)
        what = self.script(asked)
        if what == "hang":
            self.hanging.set()
            self._ended.wait()
        if what in ("cut", "hang"):
            request.close_connection = True
            return
        if isinstance(what, int):
            status, headers, answer = what, {"Content-Length": "0"}, b""
        else:
            status, headers, answer = self._passed(request, body)
        if what == "swallow":
            request.close_connection = True
            return
        request.send_response_only(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(answer)

    def _passed(
        self, request: http.server.BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        headers = {name: value for name, value in request.headers.items() if name.lower() != "connection"}
        with contextlib.closing(http.client.HTTPConnection(*self._target, timeout=60)) as connection:
            connection.request(request.command, request.path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            kept = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() not in ("connection", "transfer-encoding", "content-length")
            }
        length = answer.getheader("Content-Length") if request.command == "HEAD" else None
        return answer.status, kept | {"Content-Length": length or str(len(data))}, data


def noise(megabytes: int) -> Iterator[bytes]:
    """Bytes that no gzip makes smaller."""
    source = random.Random(megabytes)
    for _ in range(megabytes):
        yield source.randbytes(1 << 20)


def never() -> None:
    """It is wanted."""

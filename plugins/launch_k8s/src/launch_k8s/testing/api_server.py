"""A small API server for tests, which also does on demand what a real one will not.

It keeps objects, lists, watches, patches and deletes them as the Kubernetes API does, runs the containers of
its pods as processes of this machine (:mod:`launch_k8s.testing.api_pods`), and obeys a script of faults: 410
at any point, storms of 429 and 500, streams that are silent or cut, versions that go back, repeated events,
answers that are lost.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs

from launch_k8s.testing.api_faults import Fault, Faults, refusal
from launch_k8s.testing.api_pods import Machine
from launch_k8s.testing.api_store import Change, Refused, Store, matches

_PATH = re.compile(
    r"/(?:api|apis)/(?P<version>v1|[^/]+/[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?P<part>/log|/status|/eviction)?"
)
_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@attrs.frozen
class Target:
    """What a path names."""

    plural: str
    namespace: str
    name: str
    part: str


class ApiServer:
    """One server on a loopback port of its own; started by ``with``."""

    def __init__(self, token: str | None = None) -> None:
        self.store = Store()
        self.machine = Machine(self.store)
        self.faults = Faults()
        self.token = token
        self.requests: Counter[str] = Counter()
        """``METHOD plural[/part]`` → how often; watches as ``WATCH plural``."""
        self.denied: set[tuple[str, str]] = set()
        """Verbs and plurals (``pods/log``) that the agent may not use."""
        self.repeat_events = False
        self.silent = False
        self.bookmark_seconds = 0.5
        self._streams: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    def __enter__(self) -> ApiServer:
        self.machine.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.machine.close()

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    @property
    def listens(self) -> bool:
        return self._server is not None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen, after :meth:`stop` on the same port again."""
        api = self

        class Handler(_Handler):
            server_api = api

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Hang up, and do not listen. What runs goes on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        self.cut_streams()

    def cut_streams(self) -> None:
        """Every watch and every followed log breaks off."""
        for stream in list(self._streams):
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)

    def kubeconfig(self, path: Path, namespace: str = "default") -> Path:
        """Write the credentials for this server."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url}}],
            "users": [{"name": "test", "user": {"token": self.token or "none"}}],
            "contexts": [
                {"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}
            ],
        }
        path.write_text(json.dumps(config))
        return path

    @contextlib.contextmanager
    def streaming(self, connection: socket.socket) -> Iterator[None]:
        self._streams.add(connection)
        try:
            yield
        finally:
            self._streams.discard(connection)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_api: ApiServer
    # The body goes out in one piece with its head: two small ones would wait for each other (Nagle).
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        return

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PATCH(self) -> None:
        self._serve("PATCH")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        api, parts = self.server_api, urlsplit(self.path)
        params = dict(parse_qsl(parts.query))
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        watch = params.get("watch") in ("true", "1")
        found = _PATH.fullmatch(parts.path)
        plural = f"{found['plural']}{found['part'] or ''}" if found else parts.path
        api.requests[f"{'WATCH' if watch else method} {plural}"] += 1
        fault = api.faults.next(method, parts.path, watch)
        try:
            if fault is not None and fault.drop:
                self._hang_up()
                return
            if fault is not None and fault.code is not None:
                raise refusal(fault)
            self._check_token()
            if found is None or parts.path == _REVIEW:
                self._answer(200, self._other(method, parts.path, body))
                return
            target = Target(
                found["plural"], found["namespace"] or "", found["name"] or "", found["part"] or ""
            )
            self._check_allowed(method, target, watch)
            if watch:
                self._watch(target, params, fault)
            elif target.part == "/log":
                self._log(target, params)
            else:
                answer = self._plain(method, target, params, body)
                if fault is not None and fault.swallow:
                    self._hang_up()
                    return
                self._answer(201 if method == "POST" else 200, answer)
        except Refused as refused:
            self._answer(refused.code, refused.body, dict(fault.headers) if fault else {})

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _check_token(self) -> None:
        token = self.server_api.token
        if token is not None and self.headers.get("Authorization") != f"Bearer {token}":
            raise Refused(401, "Unauthorized", "Unauthorized")

    def _check_allowed(self, method: str, target: Target, watch: bool) -> None:
        verbs = {"POST": "create", "PATCH": "patch", "DELETE": "delete", "GET": "get"}
        verb = "watch" if watch else verbs[method]
        if method == "GET" and not target.name and not watch:
            verb = "list"
        if method == "DELETE" and not target.name:
            verb = "deletecollection"
        what = target.plural + target.part
        if (verb, what) in self.server_api.denied:
            raise Refused(
                403, "Forbidden", f'{what} is forbidden: User "agent" cannot {verb} resource "{what}"'
            )

    def _other(self, method: str, path: str, body: Any) -> Any:
        api = self.server_api
        if path == _REVIEW:
            asked = body["spec"]["resourceAttributes"]
            what = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
            return {**body, "status": {"allowed": (asked["verb"], what) not in api.denied}}
        if path == "/version":
            return {"gitVersion": "v1.33.0-scripted"}
        version = path.removeprefix("/apis/").removeprefix("/api/")
        if version in api.store.kinds:
            kinds = api.store.kinds[version].items()
            return {"resources": [{"name": name, "kind": kind, "namespaced": True} for name, kind in kinds]}
        raise Refused(404, "NotFound", f"the server could not find the requested resource: {path}")

    def _plain(self, method: str, target: Target, params: dict[str, str], body: Any) -> Any:
        store = self.server_api.store
        where = (target.plural, target.namespace)
        if method == "POST":
            return store.create(*where, body)
        if method == "PATCH":
            return store.patch(*where, target.name, body)
        if method == "DELETE" and target.name:
            store.delete(*where, target.name, body)
            return {"kind": "Status", "status": "Success"}
        if method == "DELETE":
            for thing in store.items(*where, params.get("labelSelector", "")):
                with contextlib.suppress(Refused):
                    store.delete(*where, thing["metadata"]["name"], body)
            return {"kind": "Status", "status": "Success"}
        if target.name:
            return store.get(*where, target.name)
        return self._list(target, params)

    def _list(self, target: Target, params: dict[str, str]) -> Any:
        store = self.server_api.store
        with store.changed:
            things = store.items(target.plural, target.namespace, params.get("labelSelector", ""))
            version = store.version
        things = [thing for thing in things if _fields(thing, params.get("fieldSelector", ""))]
        begin = 0
        if params.get("continue"):
            version, begin = map(int, params["continue"].split("."))
        end = begin + int(params["limit"]) if params.get("limit") else len(things)
        meta = {"resourceVersion": str(version)}
        if end < len(things):
            meta["continue"] = f"{version}.{end}"
        for thing in things:  # an item of a list does not say its kind
            thing.pop("kind", None)
            thing.pop("apiVersion", None)
        return {"kind": "List", "metadata": meta, "items": things[begin:end]}

    # -- streams ---------------------------------------------------------------------------------

    def _watch(self, target: Target, params: dict[str, str], fault: Fault | None) -> None:
        api, store = self.server_api, self.server_api.store
        number = store.begin(int(params.get("resourceVersion") or 0))
        until = time.monotonic() + float(params.get("timeoutSeconds") or 60)
        marked = time.monotonic()
        self._begin("application/json")
        with api.streaming(self.connection):
            if fault is not None and fault.event is not None:
                body = Refused(fault.event, fault.reason or "Expired", "scripted").body
                self._event("ERROR", body)
                self._end()
                return
            while time.monotonic() < until and self.server_api.listens:
                with store.changed:
                    changes = [] if api.silent else store.since(number, target.plural, target.namespace)
                    version, newest = store.version, store.number
                for change in changes:
                    self._change(change, params.get("labelSelector", ""))
                number = number if api.silent else newest
                if not changes:
                    if time.monotonic() - marked > api.bookmark_seconds and not api.silent:
                        marked = time.monotonic()
                        self._event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})
                    store.wait(0.1)
            self._end()

    def _change(self, change: Change, selector: str) -> None:
        after = matches(change.thing["metadata"].get("labels") or {}, selector)
        if not after and not matches(change.before, selector):
            return
        what = change.what if after else "DELETED"
        for _ in range(2 if self.server_api.repeat_events else 1):
            self._event(what, change.thing)

    def _log(self, target: Target, params: dict[str, str]) -> None:
        self.server_api.store.get(*attrs.astuple(target)[:3])
        log = self.server_api.machine.log(
            target.namespace, target.name, params.get("container"), previous=params.get("previous") == "true"
        )
        follow = params.get("follow") == "true"
        since, at = params.get("sinceTime", ""), 0
        started = False
        with self.server_api.streaming(self.connection):
            while True:
                over = log.over  # looked at before the lines: what comes after is seen next time
                lines, at = log.lines(at)
                text = b"".join(
                    (f"{time_} ".encode() if params.get("timestamps") == "true" else b"") + line
                    for time_, line in lines
                    if time_[:19] >= since[:19]
                )
                # As the real one: nothing is sent, not even the head, before there is something to say.
                if (text or over or not follow) and not started:
                    self._begin("text/plain")
                    started = True
                if text:
                    self._chunk(text)
                if (over or not follow) and not lines:
                    break
                if not lines:
                    log.wait(0.1)
            self._end()

    def _event(self, what: str, thing: Any) -> None:
        self._chunk(json.dumps({"type": what, "object": thing}).encode() + b"\n")

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _answer(self, code: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()


def _fields(thing: Any, selector: str) -> bool:
    for part in filter(None, selector.split(",")):
        path, _, value = part.partition("=")
        found = thing
        for key in path.split("."):
            found = (found or {}).get(key)
        if found != value:
            return False
    return True

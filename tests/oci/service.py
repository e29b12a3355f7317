"""A registry of forty lines with every way of asking for a login: real HTTP on loopback."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

DIGEST = "sha256:" + "ab" * 32


class Service:
    """``auth``: none, basic or bearer. ``answers``: statuses to give first, with headers, before serving."""

    def __init__(self, auth: str = "none", user: str = "ann", password: str = "s3cret") -> None:
        self.auth = auth
        self.user, self.password = user, password
        self.images = {"team/x:1": DIGEST}
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.realm: str | None = None
        self.digest_header = True
        self.expires_in = 300
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                service.answer(self)

            def do_GET(self) -> None:
                service.answer(self)

            def do_POST(self) -> None:
                service.answer(self)

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def paths(self) -> list[str]:
        return [path for _, path, _ in self.seen]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        self.seen.append((request.command, request.path, dict(request.headers)))
        length = int(request.headers.get("Content-Length") or 0)
        form = parse_qs(request.rfile.read(length).decode()) if length else {}
        if parts.path == "/token":
            return self.token(request, parse_qs(parts.query), form)
        if self.answers:
            status, headers = self.answers.pop(0)
            return send(request, status, headers)
        if not self.allowed(request.headers.get("Authorization", "")):
            realm = self.realm or f"http://{self.host}/token"
            basic, bearer = 'Basic realm="r"', f'Bearer realm="{realm}",service="reg",scope="x"'
            return send(request, 401, {"WWW-Authenticate": basic if self.auth == "basic" else bearer})
        name, _, what = parts.path.removeprefix("/v2/").partition("/manifests/")
        digest = self.images.get(f"{name}:{what}") or (what if what in self.images.values() else None)
        if digest is None:
            return send(request, 404, {}, {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "unknown"}]})
        return send(request, 200, {"Docker-Content-Digest": digest} if self.digest_header else {}, {"a": 1})

    def allowed(self, header: str) -> bool:
        if self.auth == "basic":
            return header == f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"
        return self.auth == "none" or header == "Bearer good"

    def token(self, request: BaseHTTPRequestHandler, query: dict[str, Any], form: dict[str, Any]) -> None:
        header = request.headers.get("Authorization", "")
        right = f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"
        if header not in ("", right) or (form and form["refresh_token"] != [self.password]):
            return send(request, 401, {}, {"errors": [{"message": "incorrect username or password"}]})
        known = header == right or bool(form)
        scope = (query.get("scope") or form.get("scope") or [""])[0]
        good = known and scope == "repository:team/x:pull"
        key = "access_token" if form else "token"
        return send(request, 200, {}, {key: "good" if good else "anonymous", "expires_in": self.expires_in})


def send(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: Any = None) -> None:
    data = json.dumps(body).encode() if body is not None else b""
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(data)

"""Real repositories, and a real server for them on the loopback interface."""

from __future__ import annotations

import base64
import contextlib
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from launchcore.builtin.git.settings import GitSettings
from launchcore.builtin.git.source import GitSource
from launchcore.plugin import SourceTree
from tests.sources.support import Stage, fresh, plan, tree

ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_ALLOW_PROTOCOL": "file:http:https",
}

HTTP = GitSettings(protocols=("http", "https", "ssh"))
"""As an agent's owner would allow plain http, for tests of what https does."""


class Repo:
    """A repository with a work tree."""

    def __init__(self, path: Path, *, branch: str = "main") -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", branch, "--template=")

    def git(self, *arguments: str, stdin: bytes | None = None) -> str:
        result = subprocess.run(
            ["git", *arguments], cwd=self.path, env=ENV, input=stdin, capture_output=True, check=False
        )
        assert result.returncode == 0, result.stderr.decode()
        return os.fsdecode(result.stdout).strip()

    def commit(self, files: dict[str, str | bytes] | None = None) -> str:
        tree(self.path, files or {})
        self.git("add", "--all", "--force")
        self.git("commit", "-q", "--allow-empty", "-m", "a change")
        return self.git("rev-parse", "HEAD")

    def raw_tree(self, *entries: tuple[bytes, bytes, str]) -> str:
        """A tree object with any modes and names, also those that git itself would not make."""
        data = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(sha) for mode, name, sha in entries)
        return self.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", stdin=data)

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", stdin=content)

    def commit_tree(self, tree_id: str, branch: str = "main") -> str:
        commit = self.git("commit-tree", tree_id, "-m", "made by hand")
        self.git("update-ref", f"refs/heads/{branch}", commit)
        return commit

    def submodule(self, path: str, url: str, commit: str, **settings: str) -> None:
        """A submodule without cloning it: an entry in .gitmodules, and the link."""
        lines = [f"\tpath = {path}", f"\turl = {url}", *(f"\t{k} = {v}" for k, v in settings.items())]
        with (self.path / ".gitmodules").open("a") as file:
            file.write(f'[submodule "{path}"]\n' + "\n".join(lines) + "\n")
        self.git("add", ".gitmodules")
        self.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
        self.git("commit", "-q", "-m", "a submodule")


@attrs.define
class Fetcher:
    """Fetches into new directories below ``root``, with one cache."""

    root: Path
    settings: GitSettings = attrs.field(factory=GitSettings)
    stage: Stage = attrs.field(factory=Stage)
    local: bool = True
    count: int = 0

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    def __call__(self, url: str | Path, **fields: Any) -> SourceTree:
        self.count += 1
        source = GitSource(self.settings)
        into = fresh(self.root / f"into-{self.count}")
        return source.fetch(
            plan("git", self.cache, local=self.local, url=str(url), **fields), into, self.stage
        )

    @property
    def said(self) -> str:
        return "\n".join(self.stage.lines)


class Server(http.server.ThreadingHTTPServer):
    """Serves the repositories below ``root``: by ``git http-backend``, or as plain files ("dumb")."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.dumb = False
        self.token: str | None = None
        self.redirect: str | None = None
        self.status: int | None = None
        self.seen: list[str] = []
        """Method, path and what was in the Authorization header."""
        self.packs = 0
        self.pause_after: int | None = None
        """How many bytes of a pack to send before waiting for ``go``."""
        self.paused = threading.Event()
        self.go = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is what some tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self._serve(body)

    def _serve(self, body: bytes) -> None:
        given = self.headers.get("Authorization", "")
        given = base64.b64decode(given.removeprefix("Basic ")).decode() if given else ""
        self.server.seen.append(f"{self.command} {self.path} [{given}]")
        if self.server.status is not None:
            self._answer(self.server.status, b"")
        elif self.server.redirect is not None:
            self._answer(302, b"", {"Location": self.server.redirect + self.path})
        elif self.server.token is not None and given.partition(":")[2] != self.server.token:
            self._answer(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
        elif self.server.dumb:
            path = self.server.root / self.path.partition("?")[0].lstrip("/")
            self._answer(200 if path.is_file() else 404, path.read_bytes() if path.is_file() else b"")
        else:
            self._backend(body)

    def _backend(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        env = {
            **ENV,
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
        status = int(fields.pop("Status", "200").split()[0])
        is_pack = b"PACK" in content
        self.server.packs += is_pack
        self._answer(status, content, fields, pause=is_pack)

    def _answer(
        self, status: int, content: bytes, fields: Mapping[str, str] | None = None, *, pause: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in (fields or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if pause and self.server.pause_after is not None:
            self.wfile.write(content[: self.server.pause_after])
            self.wfile.flush()
            self.server.paused.set()
            self.server.go.wait(60)
            content = content[self.server.pause_after :]
        self.wfile.write(content)


@contextlib.contextmanager
def serving(root: Path) -> Iterator[Server]:
    with Server(root) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.go.set()
            server.shutdown()
            thread.join()

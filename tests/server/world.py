"""A real server on a loopback socket, over a database of its own, and callers with tokens."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs
import msgspec
import requests

from launchcore.plugin import AgentInfo, QueueConfig, RunSpec, SourceRef
from launchcore.queues.embedded import EmbeddedService
from launchcore.queues.wire import TokenCreate
from launchcore.server.admin import DatabaseAdmin
from launchcore.server.options import Auth, Options
from launchcore.server.serving import Serving
from launchcore.store.database import Database
from tests.store.rig import new_server_database, on_server

T = TypeVar("T")
PATIENCE = 30.0
LEASE = 30.0


@attrs.define
class Caller:
    """Somebody with a token, or without one."""

    url: str
    secret: str | None = None
    session: requests.Session = attrs.field(factory=requests.Session)

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = dict(options.pop("headers", {}))
        if self.secret is not None:
            headers.setdefault("Authorization", f"Bearer {self.secret}")
        if "value" in options:
            options["data"] = msgspec.json.encode(options.pop("value"))
            headers.setdefault("Content-Type", "application/json")
        options.setdefault("timeout", PATIENCE)
        return self.session.request(method, self.url + path, headers=headers, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, value: Any, **options: Any) -> requests.Response:
        return self.ask("POST", path, value=value, **options)

    def value(self, kind: type[T], method: str, path: str, **options: Any) -> T:
        """The value of a success."""
        answer = self.ask(method, path, **options)
        assert answer.ok, (answer.status_code, answer.text[:500])
        return msgspec.json.decode(answer.content, type=kind)

    def submit(self, queue: str = "default", **parts: Any) -> str:
        """Submit a run, and return its id."""
        answer = self.post("/v1/runs", {"queue": queue, "spec": spec(**parts)})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def register(self, info: AgentInfo) -> None:
        answer = self.post("/v1/agents/register", {"agent": info, "lease_seconds": LEASE})
        assert answer.status_code == 204, answer.text

    def claim(self, info: AgentInfo, *queues: str, wait: float = 0.0, key: str = "") -> requests.Response:
        asked = {
            "agent": info,
            "queues": queues or info.queues,
            "limit": 1,
            "lease_seconds": LEASE,
            "wait": wait,
            "key": key,
        }
        return self.post("/v1/agents/claim", asked)

    def one(self, info: AgentInfo, *queues: str) -> dict[str, Any]:
        """The claim of the one run that there is."""
        (claim,) = self.claim(info, *queues).json()["claims"]
        found: dict[str, Any] = claim
        return found

    def write(self, lease: Any, **update: Any) -> Any:
        """One write; what was wrong with it, or ``None``."""
        answer = self.post("/v1/attempts/writes", {"writes": [{"lease": lease, "update": update}]})
        assert answer.status_code == 200, answer.text
        return answer.json()["results"][0]


@attrs.define
class World:
    """A database, and a server over it."""

    database: Database
    serving: Serving
    where: Path | str
    """Of the database."""

    @property
    def admin(self) -> DatabaseAdmin:
        return DatabaseAdmin(self.database, "test")

    @property
    def service(self) -> EmbeddedService:
        return EmbeddedService(self.database)

    def caller(self, *scopes: str, name: str = "somebody", expires_at: float | None = None) -> Caller:
        """Somebody with a new token of these scopes; without scopes, nobody."""
        if not scopes:
            return Caller(self.serving.url)
        made = self.admin.create(TokenCreate(name=name, scopes=scopes, expires_at=expires_at))
        return Caller(self.serving.url, made.secret)

    def queue(self, *names: str) -> None:
        for name in names or ("default",):
            self.service.create_queue(name, QueueConfig(type="process"))


@contextlib.contextmanager
def world(folder: Path, **options: Any) -> Iterator[World]:
    """For use as a context. Without other options, every request needs a token.

    As the store's tests: with ``LAUNCHCORE_TEST_DATABASE=postgresql`` the database is on the tests' server.
    """
    where = new_server_database() if on_server() else folder / "queue.db"
    database = Database(where)
    try:
        with Serving(
            database, Options(**{"auth": Auth.REQUIRED, "sweep_seconds": 3600.0, **options})
        ) as serving:
            yield World(database, serving, where)
    finally:
        database.close()


def spec(**parts: Any) -> RunSpec:
    source = SourceRef(type="image", fields={"image": "busybox"})
    return RunSpec(**{"source": source, "command": ("true",), **parts})


def agent(name: str = "one", queues: Sequence[str] = ("default",), session: str = "s") -> AgentInfo:
    return AgentInfo(
        name=name, session=f"{name}-{session}", host="here", pid=1, version="0", queues=tuple(queues)
    )


class Later:
    """A call on a thread of its own."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Any:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "it did not return"
        if self._error is not None:
            raise self._error
        return self._value

    def _run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:
            self._error = error


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition, with a deadline."""
    import time

    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)

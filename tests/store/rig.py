"""A queue in a directory of its own, with a clock that tests move, and agents on made-up hosts."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from launchcore.plugin import (
    AgentInfo,
    Claim,
    Failure,
    Fault,
    Lease,
    Outcome,
    QueueClient,
    QueueConfig,
    Reason,
    RunHandle,
    RunSpec,
    RunState,
    SourceRef,
    Stage,
    Update,
    Verdict,
)
from launchcore.queues.base import RunInfo, Service
from launchcore.queues.embedded import EmbeddedService
from launchcore.queues.embedded_client import EmbeddedClient
from launchcore.queues.http_client import HttpClient
from launchcore.queues.http_service import HttpService
from launchcore.queues.http_settings import HttpSettings
from launchcore.store.database import Database
from tests.serving import Served, over_http

LEASE = 30.0
LOST_AFTER = 600.0
START = 1_000_000.0


class Clock:
    """The store's clock: stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


@attrs.define
class Agent:
    """An agent's side: a client and who it is."""

    client: QueueClient
    info: AgentInfo

    def register(self, *, previous_is_dead: bool = False) -> None:
        self.client.register(self.info, lease_seconds=LEASE, previous_is_dead=previous_is_dead)

    def claim(self, *queues: str, limit: int = 1, wait: float = 0.0) -> Sequence[Claim]:
        return self.client.claim(
            self.info, queues or ("default",), limit=limit, lease_seconds=LEASE, wait=wait
        )

    def one(self, *queues: str) -> Claim:
        (claim,) = self.claim(*queues)
        return claim

    def renew(self, *claims: Claim) -> Sequence[str]:
        return self.client.renew(self.info, [claim.lease for claim in claims], lease_seconds=LEASE)

    def reclaim(self) -> Sequence[Claim]:
        return self.client.reclaim(self.info, lease_seconds=LEASE)

    def write(self, claim: Claim | Lease, **parts: Any) -> None:
        self.client.write(claim if isinstance(claim, Lease) else claim.lease, Update(**parts))

    def start(self, claim: Claim) -> None:
        """Take it to running, with a handle."""
        self.write(claim, state=RunState.STARTING)
        self.write(claim, state=RunState.RUNNING, handle=handle(claim))

    def end(self, claim: Claim, verdict: Verdict = Verdict.SUCCEEDED, **parts: Any) -> None:
        self.write(claim, outcome=outcome(verdict, **parts))

    def restart(self, session: str) -> Agent:
        """Another session of the same agent, on the same host; not registered yet."""
        return Agent(self.client, attrs.evolve(self.info, session=session))


class _Remote(HttpService):
    """Like the embedded queue's, it closes what it is on with itself: the server, and the database."""

    def __init__(self, served: Served, database: Database) -> None:
        super().__init__(served.url, HttpSettings())
        self._served = served
        self._database = database

    def close(self) -> None:
        super().close()
        self._served.close()
        self._database.close()


class Rig:
    """A database with both of its sides.

    It is a file in ``folder``, or with ``LAUNCHCORE_TEST_DATABASE=postgresql`` one on the tests' server.
    Both sides have it open themselves, or with ``LAUNCHCORE_TEST_DOOR=http`` reach it through a server.
    """

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.path = folder / "queue.db"
        """The file. Tests that use it are marked with ``sqlite``."""
        self.where: Path | str = new_server_database() if on_server() else self.path
        self.database = self.open()
        self.served = Served(self.database, lost_after=LOST_AFTER) if over_http() else None
        self.service: Service = (
            EmbeddedService(self.database) if self.served is None else _Remote(self.served, self.database)
        )

    def client(self) -> QueueClient:
        """The agent's side."""
        if self.served is None:
            return EmbeddedClient(self.database, lost_after=LOST_AFTER)
        return HttpClient(self.served.url, HttpSettings())

    def waits(self, topic: str) -> bool:
        """Whether somebody waits for a topic of the bell."""
        return topic in self.database.bell._counts if self.served is None else self.served.waits(topic)

    def waiting(self) -> int:
        """How many calls wait."""
        return len(self.database.bell._ears) if self.served is None else self.served.waiting()

    @property
    def url(self) -> str:
        return self.where if isinstance(self.where, str) else f"sqlite://{self.where}"

    def open(self, clock: Callable[[], float] | None = None, **options: Any) -> Database:
        """The same database, opened once more, as another process would."""
        return Database(self.where, clock=clock or self.clock, **options)

    def queue(self, name: str = "default", **parts: Any) -> None:
        # Not through a server, whose audit trail would tell of it.
        EmbeddedService(self.database).create_queue(name, QueueConfig(**{"type": "process", **parts}))

    def submit(self, queue: str = "default", **parts: Any) -> RunInfo:
        named = {key: parts.pop(key) for key in ("priority", "submitter", "key") if key in parts}
        return self.service.submit(queue, spec(**parts), **named)

    def agent(
        self,
        name: str = "one",
        *,
        host: str = "here",
        queues: tuple[str, ...] = (),
        host_bound: tuple[str, ...] = (),
    ) -> Agent:
        """A registered agent."""
        info = AgentInfo(
            name=name,
            session=f"{name}-1",
            host=host,
            pid=1,
            version="0",
            queues=queues,
            host_bound=host_bound,
        )
        agent = Agent(self.client(), info)
        agent.register()
        return agent

    def run(self, run: RunInfo | Claim | str) -> RunInfo:
        if isinstance(run, Claim):
            return self.service.run(run.run_id)
        return self.service.run(run if isinstance(run, str) else run.id)

    def notes(self, run: RunInfo) -> list[str]:
        """What the time-line remarks."""
        return [event.detail for _, event in self.service.timeline(run.id) if event.what == "note"]


def on_server() -> bool:
    """Whether tests are to use PostgreSQL."""
    return os.environ.get("LAUNCHCORE_TEST_DATABASE", "sqlite") == "postgresql"


def new_server_database() -> str:
    """The URL of a new database on the tests' server, with all tables and nothing in them."""
    from tests.postgres import server

    made = server()
    return made.url(made.database(made.template("store", lambda url: Database(url).close())))


def spec(**parts: Any) -> RunSpec:
    source = SourceRef(type="image", fields={"image": "busybox"})
    return RunSpec(**{"source": source, "command": ("true",), **parts})


def handle(claim: Claim) -> RunHandle:
    return RunHandle(runner=claim.queue_config.type, attempt_id=claim.attempt_id, data={"pid": 7})


def failure(reason: Reason = Reason.USER_ERROR, detail: str = "exit code 1") -> Failure:
    return Failure(reason=reason, fault=Fault.USER, stage=Stage.EXECUTE, detail=detail)


def outcome(verdict: Verdict, reason: Reason = Reason.USER_ERROR, **parts: Any) -> Outcome:
    if verdict is not Verdict.SUCCEEDED and "failure" not in parts:
        parts["failure"] = failure(reason)
    return Outcome(verdict=verdict, **parts)

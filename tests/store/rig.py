"""A queue in a directory of its own, with a clock that tests move, and agents on made-up hosts."""

from __future__ import annotations

from collections.abc import Sequence
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
from launchcore.queues.base import RunInfo
from launchcore.queues.embedded import EmbeddedService
from launchcore.queues.embedded_client import EmbeddedClient
from launchcore.store.database import Database

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

    client: EmbeddedClient
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


class Rig:
    """A database with both of its sides."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.path = folder / "queue.db"
        self.database = Database(self.path, clock=self.clock)
        self.service = EmbeddedService(self.database)

    def queue(self, name: str = "default", **parts: Any) -> None:
        self.service.create_queue(name, QueueConfig(**{"type": "process", **parts}))

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
        agent = Agent(EmbeddedClient(self.database, lost_after=LOST_AFTER), info)
        agent.register()
        return agent

    def run(self, run: RunInfo | Claim | str) -> RunInfo:
        if isinstance(run, Claim):
            return self.service.run(run.run_id)
        return self.service.run(run if isinstance(run, str) else run.id)

    def notes(self, run: RunInfo) -> list[str]:
        """What the time-line remarks."""
        return [event.detail for _, event in self.service.timeline(run.id) if event.what == "note"]


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

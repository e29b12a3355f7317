"""The agent's side of the queue, played by a test: a run goes through its states as the test says."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from launchcore.plugin import (
    AgentInfo,
    Claim,
    Failure,
    LogAppend,
    Outcome,
    QueueClient,
    QueueConfig,
    RunHandle,
    RunState,
    Stage,
    TimelineEvent,
    Update,
    Verdict,
)
from launchcore.queues.connect import open_client, open_service


class Player:
    """One agent."""

    def __init__(self, client: QueueClient, queue: str, name: str = "box") -> None:
        self._client = client
        self.info = AgentInfo(
            name=name, session="s1", host="box", pid=4242, version="0.1.0", queues=(queue,), max_jobs=4
        )
        client.register(self.info, lease_seconds=60)

    def claim(self) -> Claim:
        (claim,) = self._client.claim(self.info, self.info.queues, limit=1, lease_seconds=60, wait=60)
        return claim

    def start(self, claim: Claim) -> None:
        fetched = TimelineEvent(
            at=time.time(), stage=Stage.SOURCE, what="finished", detail="4b1d2c9, 3 files", seconds=0.5
        )
        handle = RunHandle(runner="process", attempt_id=claim.attempt_id)
        self._client.write(claim.lease, Update(state=RunState.PREPARING, events=(fetched,)))
        self._client.write(claim.lease, Update(state=RunState.STARTING))
        self._client.write(claim.lease, Update(state=RunState.RUNNING, handle=handle))

    def log(self, claim: Claim, data: bytes, offset: int = 0) -> None:
        append = LogAppend(offset=offset, data=data, cursor=str(offset + len(data)))
        self._client.write(claim.lease, Update(log=append))

    def end(self, claim: Claim, failure: Failure | None = None, exit_code: int = 0) -> None:
        verdict = Verdict.SUCCEEDED if failure is None else Verdict.FAILED
        outcome = Outcome(verdict=verdict, failure=failure, exit_code=exit_code)
        self._client.write(claim.lease, Update(outcome=outcome))

    def perform(self, log: bytes = b"hello\n", failure: Failure | None = None, exit_code: int = 0) -> Claim:
        """A whole run."""
        claim = self.claim()
        self.start(claim)
        self.log(claim, log)
        self.end(claim, failure, exit_code)
        return claim


def create_queue(name: str) -> None:
    """A queue of processes, made without the command line, which is not what most tests are about."""
    service = open_service(os.environ["LAUNCHCORE_BASE_URL"])
    service.create_queue(name, QueueConfig(type="process"))
    service.close()


@contextmanager
def player(base_url: str, queue: str = "default") -> Iterator[Player]:
    client = open_client(base_url)
    try:
        yield Player(client, queue)
    finally:
        client.close()

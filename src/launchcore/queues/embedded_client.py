"""The agent's side of the embedded queue, over one database file."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import IO

from launchcore.plugin import (
    AgentInfo,
    Claim,
    Lease,
    QueueConfig,
    QueueUnavailable,
    Stop,
    Update,
)
from launchcore.store import (
    adoption,
    agents,
    attempts,
    claims,
    lookup,
    stops,
)
from launchcore.store.bell import Ear
from launchcore.store.database import Database

_SHORTEST_SLEEP = 0.02
"""Seconds: a deadline of the store's clock that is due already is looked at again after these."""


class EmbeddedClient:
    """Implements :class:`launchcore.plugin.QueueClient`. Closes the database with itself.

    :param host_bound_types: names of runners whose objects only an agent of the same host can see;
        their attempts are adopted on that host only.
    :param lost_after: seconds after its lease's end when an attempt that nobody adopted is given up.
    """

    def __init__(
        self,
        database: Database,
        *,
        host_bound_types: frozenset[str] = frozenset(),
        lost_after: float = 600.0,
    ) -> None:
        self._database = database
        self._host_bound_types = host_bound_types
        self._lost_after = lost_after
        self._wakes = 0
        self._seen = {"claim": 0, "stops": 0}
        self._wake_lock = threading.Lock()

    def identity(self) -> str:
        with self._database.read() as connection:
            return lookup.identity(connection)

    def queue_config(self, name: str) -> QueueConfig:
        with self._database.read() as connection:
            row = lookup.find_queue(connection, name)
            return lookup.config_of(connection, self._database.configs, row.id, row.revision)

    def register(self, agent: AgentInfo, *, lease_seconds: float, previous_is_dead: bool = False) -> None:
        self._database.write(
            lambda tx: agents.register(
                tx, agent, lease_seconds=lease_seconds, previous_is_dead=previous_is_dead
            )
        )

    def unregister(self, agent: AgentInfo) -> None:
        self._database.write(lambda tx: agents.unregister(tx, agent))

    def claim(
        self, agent: AgentInfo, queues: Sequence[str], *, limit: int, lease_seconds: float, wait: float
    ) -> Sequence[Claim]:
        end = time.monotonic() + wait
        found = self._claim(agent, queues, limit, lease_seconds)
        if found.claims or wait <= 0:
            return found.claims
        woken = self._seen["claim"]
        with self._database.bell.listen([self._topic, *(f"queue:{name}" for name in queues)]) as ear:
            while True:
                found = self._claim(agent, queues, limit, lease_seconds)
                left = end - time.monotonic()
                if found.claims or left <= 0 or self._woken("claim", woken):
                    return found.claims
                self._sleep(ear, left, found.next_at)

    def reclaim(self, agent: AgentInfo, *, lease_seconds: float) -> Sequence[Claim]:
        return self._database.write(
            lambda tx: adoption.reclaim(
                tx,
                agent,
                lease_seconds=lease_seconds,
                host_bound=self._host_bound(agent),
            )
        )

    def renew(self, agent: AgentInfo, leases: Sequence[Lease], *, lease_seconds: float) -> Sequence[str]:
        return self._database.write(
            lambda tx: agents.renew(
                tx,
                agent,
                leases,
                lease_seconds=lease_seconds,
                lost_after=self._lost_after,
                complete=True,
            )
        )

    def stops(self, agent: AgentInfo, known: frozenset[str], *, wait: float) -> Sequence[Stop]:
        end = time.monotonic() + wait
        woken = self._seen["stops"]
        with self._database.bell.listen([self._topic, f"agent:{agent.name}"]) as ear:
            while True:
                with self._database.read() as connection:
                    found, next_at = stops.find(connection, agent.session, known, now=self._database.clock())
                left = end - time.monotonic()
                if found or left <= 0 or self._woken("stops", woken):
                    return found
                self._sleep(ear, left, next_at)

    def write(self, lease: Lease, update: Update) -> None:
        asked = attempts.Write(lease.attempt_id, lease.token, update)
        self._database.write(lambda tx: attempts.write(tx, asked))

    def release(self, lease: Lease, detail: str) -> None:
        self._database.write(lambda tx: attempts.release(tx, lease.attempt_id, lease.token, detail))

    def ended(self, attempt_ids: Sequence[str]) -> frozenset[str]:
        with self._database.read() as connection:
            return attempts.ended(connection, attempt_ids)

    def open_archive(self, digest: str) -> IO[bytes]:
        return self._database.archives.open(digest)

    def wake(self) -> None:
        """Like the protocol's; a call that begins just after it may return early as well."""
        with self._wake_lock:
            self._wakes += 1
        self._database.bell.ring_here([self._topic])

    def close(self) -> None:
        self._database.close()

    def _claim(
        self, agent: AgentInfo, names: Sequence[str], limit: int, lease_seconds: float
    ) -> claims.Found:
        return self._database.write(
            lambda tx: claims.claim(
                tx,
                agent,
                names,
                limit=limit,
                lease_seconds=lease_seconds,
                lost_after=self._lost_after,
                host_bound=self._host_bound(agent),
            )
        )

    def _host_bound(self, agent: AgentInfo) -> frozenset[str]:
        return self._host_bound_types.union(agent.host_bound)

    def _woken(self, call: str, before: int) -> bool:
        """Whether :meth:`wake` was called since a call of this kind last noticed one."""
        with self._wake_lock:
            if self._wakes == before:
                return False
            self._seen[call] = self._wakes
            return True

    def _sleep(self, ear: Ear, left: float, next_at: float | None) -> None:
        """Until the bell rings, the time is up, or something is due on the store's clock."""
        if next_at is not None:
            left = min(left, max(_SHORTEST_SLEEP, next_at - self._database.clock()))
        ear.wait(left)
        if self._database.closed:
            raise QueueUnavailable("the queue database has been closed")

    @property
    def _topic(self) -> str:
        return f"client:{id(self)}"

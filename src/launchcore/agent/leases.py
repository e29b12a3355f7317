"""Renews the agent's session and all its leases, in one batch, on a thread that does nothing else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from launchcore.agent.attempt import Attempt
from launchcore.agent.failpoints import Failpoints
from launchcore.agent.roster import Roster
from launchcore.plugin import (
    AgentInfo,
    AgentNameTaken,
    Claim,
    LaunchError,
    QueueClient,
    QueueDamaged,
    QueueUnavailable,
)

log = logging.getLogger("launchcore.agent")


class LeaseKeeper:
    """The renewing thread."""

    def __init__(
        self,
        client: QueueClient,
        agent: AgentInfo,
        roster: Roster,
        failpoints: Failpoints,
        *,
        lease_seconds: float,
        lost: Callable[[Attempt], None],
        unavailable: Callable[[str], None],
        damaged: Callable[[QueueDamaged], None],
        replaced: Callable[[str], None],
        returned: Callable[[Sequence[Claim]], None],
    ) -> None:
        self._client = client
        self._agent = agent
        self._roster = roster
        self._failpoints = failpoints
        self._lease_seconds = lease_seconds
        self._lost = lost
        self._replaced = replaced
        self._returned = returned
        self._away = False
        self._beginning = threading.Lock()
        self._unavailable = unavailable
        self._damaged = damaged
        self._stopped = threading.Event()
        self.renewed_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        pause = self._lease_seconds / 3
        while not self._stopped.wait(pause):
            try:
                self._failpoints.hit("renew.before")
                if self._away:
                    self.begin_again()
                else:
                    self._renew()
                pause = self._lease_seconds / 3
            except QueueDamaged as error:
                self._damaged(error)
                return
            except QueueUnavailable as error:
                self._away = True
                self._unavailable(str(error))
                asked = min(error.retry_after or 0.0, self._lease_seconds / 3)
                pause = max(min(1.0, self._lease_seconds / 10), asked)
            except AgentNameTaken as error:
                self._replaced(str(error))
                return
            except Exception:
                log.exception("renewing leases failed unexpectedly")
                pause = min(1.0, self._lease_seconds / 10)

    def begin_again(self) -> None:
        """The queue was away, or does not know this session: it may know less than before. A database that
        was restored from a copy has attempts in the hands of an earlier session, or in nobody's.

        :raises AgentNameTaken: another session of this name is alive.
        """
        with self._beginning:
            try:
                self._client.register(self._agent, lease_seconds=self._lease_seconds)
            except QueueDamaged:
                raise
            except LaunchError as error:
                log.warning("cannot register again: %s", error)  # one of its queues was removed, perhaps
            self._renew()
            claims = self._client.reclaim(self._agent, lease_seconds=self._lease_seconds)
            self._away = False
        self._returned(claims)

    def _renew(self) -> None:
        attempts = self._roster.all()
        asked = time.time()
        lost = self._client.renew(
            self._agent, [each.claim.lease for each in attempts], lease_seconds=self._lease_seconds
        )
        self.renewed_at = time.monotonic()
        gone = frozenset(lost)
        for attempt in attempts:
            if attempt.id in gone:
                self._lost(attempt)
            else:
                attempt.renewed(asked + self._lease_seconds)

"""Claims runs while there is room for them, and hears which ones are to be stopped."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence

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
    Stop,
)

log = logging.getLogger("launchcore.agent")

WAIT = 20.0
"""Seconds that one waiting call to the queue lasts."""
BATCH = 16
"""Runs claimed in one transaction at most."""


LONGEST_PAUSE = 15.0
"""Seconds: a queue that asks to be left alone for longer is asked again all the same."""


class Patience:
    """How long to wait before asking again a queue that is away: doubling, jittered, interruptible."""

    def __init__(self, stopped: threading.Event, unavailable: Callable[[str], None]) -> None:
        self._stopped = stopped
        self._unavailable = unavailable
        self._delay = 0.2

    def wait(self, error: Exception) -> None:
        self._unavailable(str(error))
        asked = min(getattr(error, "retry_after", None) or 0.0, LONGEST_PAUSE)
        self._stopped.wait(max(asked, self._delay * random.uniform(0.5, 1.0)))
        self._delay = min(self._delay * 2, 10.0)

    def reset(self) -> None:
        self._delay = 0.2


class Intake:
    """The claiming thread."""

    def __init__(
        self,
        client: QueueClient,
        agent: AgentInfo,
        roster: Roster,
        failpoints: Failpoints,
        *,
        lease_seconds: float,
        take: Callable[[Claim], None],
        begin_again: Callable[[], None],
        unavailable: Callable[[str], None],
        replaced: Callable[[str], None],
        damaged: Callable[[QueueDamaged], None],
    ) -> None:
        self._client = client
        self._agent = agent
        self._roster = roster
        self._failpoints = failpoints
        self._lease_seconds = lease_seconds
        self._take = take
        self._begin_again = begin_again
        self._replaced = replaced
        self._damaged = damaged
        self._stopped = threading.Event()
        self._patience = Patience(self._stopped, unavailable)
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No new claims. Waits for the call in flight, whose claims are still taken: none is lost."""
        self._stopped.set()
        self._roster.close()
        self._client.wake()
        self._thread.join()

    def _run(self) -> None:
        queues = list(self._agent.queues)
        while not self._stopped.is_set():
            free = self._roster.wait_free()
            if free == 0:
                return
            claims = self._claim(queues, min(free, BATCH))
            for claim in claims:
                self._take(claim)
            queues = rotate(queues, claims)

    def _ask(self, queues: list[str], limit: int) -> Sequence[Claim]:
        self._failpoints.hit("claim.before")
        try:
            claims = self._client.claim(
                self._agent, queues, limit=limit, lease_seconds=self._lease_seconds, wait=WAIT
            )
        except AgentNameTaken:
            # By a session that is alive, or by an earlier one of ours, in a database that was restored.
            self._begin_again()
            return ()
        if claims:
            self._failpoints.hit("claim.after")
        return claims

    def _claim(self, queues: list[str], limit: int) -> Sequence[Claim]:
        try:
            claims = self._ask(queues, limit)
        except QueueUnavailable as error:
            self._patience.wait(error)
            return ()
        except AgentNameTaken as error:
            self._replaced(str(error))
            self._stopped.set()
            return ()
        except QueueDamaged as error:
            self._damaged(error)
            self._stopped.set()
            return ()
        except LaunchError as error:
            log.warning("cannot claim: %s", error)
            self._patience.wait(error)
            return ()
        except Exception as error:
            log.exception("claiming failed unexpectedly")
            self._patience.wait(error)
            return ()
        self._patience.reset()
        return claims


def rotate(queues: list[str], claims: Sequence[Claim]) -> list[str]:
    """Those that gave a run go to the end: every queue has its turn, however long another one is."""
    gave = {claim.queue for claim in claims}
    return [name for name in queues if name not in gave] + [name for name in queues if name in gave]


class StopListener:
    """The thread that hears of cancels and deadlines, as soon as they are there."""

    def __init__(
        self,
        client: QueueClient,
        agent: AgentInfo,
        roster: Roster,
        *,
        stop: Callable[[Stop], None],
        unavailable: Callable[[str], None],
        damaged: Callable[[QueueDamaged], None],
    ) -> None:
        self._client = client
        self._agent = agent
        self._roster = roster
        self._stop = stop
        self._damaged = damaged
        self._stopped = threading.Event()
        self._patience = Patience(self._stopped, unavailable)
        self._thread = threading.Thread(target=self._run, name="stops", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        self._client.wake()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopped.is_set():
            known = frozenset(each.id for each in self._roster.all() if each.stop is not None)
            try:
                stops = self._client.stops(self._agent, known, wait=WAIT)
            except QueueDamaged as error:
                self._damaged(error)
                return
            except Exception as error:
                if not isinstance(error, QueueUnavailable):
                    log.exception("listening for cancels failed unexpectedly")
                self._patience.wait(error)
                continue
            self._patience.reset()
            for each in stops:
                self._stop(each)
            if stops and not any(self._roster.get(each.attempt_id) for each in stops):
                # Told of attempts that are not here (yet): do not ask again at once, in a circle.
                self._stopped.wait(0.5)

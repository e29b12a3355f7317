"""The agent's side of a queue service that is reached over HTTP."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Final, TypeVar

from launchcore.plugin import (
    AgentInfo,
    Claim,
    LaunchError,
    Lease,
    LeaseLost,
    QueueConfig,
    QueueDamaged,
    QueueUnavailable,
    Stop,
    Update,
)
from launchcore.queues.base import QueueInfo
from launchcore.queues.http_calls import Calls, cleaned, segment
from launchcore.queues.http_problems import Refused, error_of
from launchcore.queues.http_settings import HttpSettings
from launchcore.queues.http_sockets import HungUp, Wait, Waits
from launchcore.queues.http_writes import Writes
from launchcore.queues.wire import (
    LONGEST_WAIT,
    AttemptWrite,
    ClaimRequest,
    Claims,
    Ended,
    EndedRequest,
    Reclaim,
    Register,
    Release,
    Renew,
    Renewed,
    Stops,
    StopsRequest,
    Unregister,
    Written,
)
from launchcore.queues.wire import (
    Writes as WritesRequest,
)

T = TypeVar("T")

PATIENCE: Final = 2.0
"""Seconds for which a call is repeated before the agent is told that the queue is away: it has loops of
its own, and patience without end."""
BULK: Final = 64 * 1024
"""Bytes of log from which on a write goes with others of its size: a short one never waits behind it."""
AT_ONCE: Final = 1000
"""Attempts in one question."""


class HttpClient:
    """Implements :class:`launchcore.plugin.QueueClient`.

    A service that no longer lets the agent in (its token was revoked, a certificate has expired, a proxy
    answers in its place) is *away* for an agent at work, since what runs must not die of it. Only
    ``identity``, ``queue_config`` and ``register`` say it, with which an agent begins.

    :raises LaunchError: ``config_error``: the address or the settings cannot be used.
    """

    def __init__(self, url: str, settings: HttpSettings, *, patience: float = PATIENCE) -> None:
        self._calls = Calls(url, settings, patience=patience)
        self._short = Writes(self._send)
        self._bulk = Writes(self._send)
        self._lock = threading.Lock()
        self._waits = Waits()
        self._keys: dict[str, str] = {}
        self._wakes = 0
        self._seen = {"claim": 0, "stops": 0}

    def identity(self) -> str:
        return self._calls.identity().identity

    def queue_config(self, name: str) -> QueueConfig:
        return self._calls.get(QueueInfo, f"/queues/{segment('queue', name)}").config

    def register(self, agent: AgentInfo, *, lease_seconds: float, previous_is_dead: bool = False) -> None:
        body = Register(agent=agent, lease_seconds=lease_seconds, previous_is_dead=previous_is_dead)
        self._calls.send(type(None), "/agents/register", body)

    def unregister(self, agent: AgentInfo) -> None:
        with _let_in():
            self._calls.send(type(None), "/agents/unregister", Unregister(agent=agent))

    def claim(
        self, agent: AgentInfo, queues: Sequence[str], *, limit: int, lease_seconds: float, wait: float
    ) -> Sequence[Claim]:
        """See the protocol. Each claim has a key, which stays the same until an answer has come: an answer
        that was lost, or that :meth:`wake` has cut off, is given again."""
        woken = self._seen["claim"]
        with self._lock:
            key = self._keys.pop(agent.session, None) or uuid.uuid4().hex

        def ask(seconds: float, by: Wait | None) -> Sequence[Claim]:
            body = ClaimRequest(
                agent=agent,
                queues=tuple(queues),
                limit=limit,
                lease_seconds=lease_seconds,
                wait=seconds,
                key=key,
            )
            return self._calls.send(Claims, "/agents/claim", body, seconds=seconds, wait=by).claims

        try:
            with _let_in():
                return self._until("claim", woken, wait, ask)
        except QueueUnavailable:
            with self._lock:
                self._keys[agent.session] = key
            raise

    def reclaim(self, agent: AgentInfo, *, lease_seconds: float) -> Sequence[Claim]:
        body = Reclaim(agent=agent, lease_seconds=lease_seconds)
        with _let_in():
            return self._calls.send(Claims, "/agents/reclaim", body).claims

    def renew(self, agent: AgentInfo, leases: Sequence[Lease], *, lease_seconds: float) -> Sequence[str]:
        body = Renew(agent=agent, leases=tuple(leases), lease_seconds=lease_seconds)
        with _let_in():
            return self._calls.send(Renewed, "/agents/renew", body).lost

    def stops(self, agent: AgentInfo, known: frozenset[str], *, wait: float) -> Sequence[Stop]:
        woken = self._seen["stops"]

        def ask(seconds: float, by: Wait | None) -> Sequence[Stop]:
            body = StopsRequest(agent=agent, known=known, wait=seconds)
            return self._calls.send(Stops, "/agents/stops", body, seconds=seconds, wait=by).stops

        with _let_in():
            return self._until("stops", woken, wait, ask)

    def write(self, lease: Lease, update: Update) -> None:
        large = update.log is not None and len(update.log.data) >= BULK
        writes = self._bulk if large else self._short
        with _let_in():
            writes.run(AttemptWrite(lease=lease, update=cleaned(update)))

    def release(self, lease: Lease, detail: str) -> None:
        with _let_in():
            body = Release(lease=lease, detail=detail)
            self._calls.send(type(None), "/attempts/release", body, eager=False)

    def ended(self, attempt_ids: Sequence[str]) -> frozenset[str]:
        found: frozenset[str] = frozenset()
        with _let_in():
            for start in range(0, len(attempt_ids), AT_ONCE):
                body = EndedRequest(attempts=tuple(attempt_ids[start : start + AT_ONCE]))
                found |= self._calls.send(Ended, "/attempts/ended", body, eager=False).attempts
        return found

    def open_archive(self, digest: str) -> IO[bytes]:
        with _let_in():
            return self._calls.open_archive(digest)

    def wake(self) -> None:
        """Like the protocol's; a call that begins just after it may return early as well.

        Hangs up on the service, which notices. What a cut off claim may have got is asked for again.
        """
        with self._lock:
            self._wakes += 1
        self._waits.hang_up()

    def close(self) -> None:
        self._waits.hang_up(for_good=True)
        self._calls.transport.close()

    # -- inside --------------------------------------------------------------------------------

    def _until(
        self, kind: str, before: int, wait: float, ask: Callable[[float, Wait | None], Sequence[T]]
    ) -> Sequence[T]:
        """Ask, for as long as one request may wait, until there is something or time is up."""
        end = time.monotonic() + wait
        while True:
            with self._waits.waiting() as by:
                left = 0.0 if self._woken(kind, before) else end - time.monotonic()
                try:
                    found = ask(max(0.0, min(left, LONGEST_WAIT)), by if left > 0 else None)
                except HungUp:
                    self._woken(kind, before)
                    return ask(0.0, None)
            if found or left <= 0 or end <= time.monotonic():
                return found

    def _woken(self, kind: str, before: int) -> bool:
        """Whether :meth:`wake` was called since a call of this kind last noticed one."""
        with self._lock:
            if self._wakes == before:
                return False
            self._seen[kind] = self._wakes
            return True

    def _send(self, writes: Sequence[AttemptWrite]) -> Sequence[Exception | None]:
        body = WritesRequest(writes=tuple(writes))
        try:
            written = self._calls.send(Written, "/attempts/writes", body, eager=False)
        except (Refused, QueueDamaged):
            raise
        except LaunchError as error:
            if len(writes) == 1:
                return [error]
            # One of them makes the request unreadable: each by itself, so that the others are stored.
            return [result for write in writes for result in self._send([write])]
        return [None if each is None else _fenced(error_of(each)) for each in written.results]


@contextlib.contextmanager
def _let_in() -> Iterator[None]:
    """Of an agent at work: who is not let in finds the service away."""
    try:
        yield
    except Refused as refused:
        raise QueueUnavailable(f"{refused.detail} ({refused.hint})") from None


def _fenced(error: Exception) -> Exception:
    """A write that this agent may not do any more is about an attempt that is not its own."""
    return LeaseLost(error.detail) if isinstance(error, Refused) else error

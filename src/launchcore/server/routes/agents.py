"""Agents: who is there, what they may take, and what they have to stop."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable
from typing import Any

from launchcore.plugin import AgentInfo
from launchcore.queues.wire import (
    LONGEST_WAIT,
    AgentList,
    ClaimRequest,
    Claims,
    Reclaim,
    Register,
    Renew,
    Renewed,
    Stops,
    StopsRequest,
    Unregister,
)
from launchcore.server.core import record
from launchcore.server.endpoints import Answer, Call, Endpoint
from launchcore.server.problems import Refusal
from launchcore.store import adoption, agents, claims, guards, stops
from launchcore.store.writer import Transaction

_SHORTEST_SLEEP = 0.02
_LONGEST_LEASE = 86400.0
_MOST_CLAIMS = 1000


async def listed(call: Call) -> Answer:
    return Answer(body=AgentList(agents=tuple(await call.core.call(call.core.reading.agents))))


async def register(call: Call) -> Answer:
    asked: Register = call.body
    _lease(asked.lease_seconds)
    _for_these(call, asked.agent.queues)
    if call.who.queues is not None and not asked.agent.queues:
        raise Refusal("forbidden", "an agent with this token has to say which queues it serves")

    def begin(transaction: Transaction) -> None:
        _may_be(call, transaction, asked.agent)
        agents.register(
            transaction,
            asked.agent,
            lease_seconds=asked.lease_seconds,
            previous_is_dead=asked.previous_is_dead,
        )
        where = f"{', '.join(asked.agent.queues)} on {asked.agent.host}"
        record(transaction, call.who, "register agent", asked.agent.name, where)

    await call.core.write(begin)
    return Answer(status=204)


async def unregister(call: Call) -> Answer:
    asked: Unregister = call.body

    def end(transaction: Transaction) -> None:
        _may_be(call, transaction, asked.agent)
        agents.unregister(transaction, asked.agent)
        record(transaction, call.who, "unregister agent", asked.agent.name)

    await call.core.write(end)
    return Answer(status=204)


async def claim(call: Call) -> Answer:
    """Lease runs; wait for the first. Of all agents that wait for a queue, a new run wakes one."""
    asked: ClaimRequest = call.body
    _lease(asked.lease_seconds)
    _for_these(call, asked.queues)
    end = time.monotonic() + max(0.0, min(asked.wait, LONGEST_WAIT))
    found = await _claim(call, asked)
    if found.claims or asked.wait <= 0 or call.core.room.closed:
        return _claimed(call, found)
    shared = [f"queue:{name}" for name in asked.queues]
    gone = asyncio.ensure_future(call.gone())
    try:
        with call.core.room.waiter(shared=shared, own=(f"adopt:{name}" for name in asked.queues)) as waiter:
            gone.add_done_callback(lambda _: waiter.ring())
            while not gone.done():
                chosen = waiter.looking()
                found = await _claim(call, asked)
                left = end - time.monotonic()
                if found.claims:
                    call.core.room.wake_one(chosen)  # there may be more
                if found.claims or left <= 0 or call.core.room.closed:
                    return _claimed(call, found)
                if found.next_at is not None:
                    due = max(_SHORTEST_SLEEP, found.next_at - call.core.database.clock())
                    call.core.room.wake_at(shared, due)
                await waiter.sleep(left)
            return Answer(body=Claims())
    finally:
        gone.cancel()


async def reclaim(call: Call) -> Answer:
    asked: Reclaim = call.body
    _lease(asked.lease_seconds)

    def take(transaction: Transaction) -> Any:
        _may_be(call, transaction, asked.agent)
        found = adoption.reclaim(
            transaction,
            asked.agent,
            lease_seconds=asked.lease_seconds,
            host_bound=frozenset(asked.agent.host_bound),
        )
        _for_these(call, (each.queue for each in found))
        return found

    found = tuple(await call.core.write(take))
    call.core.metrics.claimed(found)
    return Answer(body=Claims(claims=found))


async def renew(call: Call) -> Answer:
    asked: Renew = call.body
    _lease(asked.lease_seconds)

    def prolong(transaction: Transaction) -> tuple[str, ...]:
        _may_be(call, transaction, asked.agent)
        return agents.renew(
            transaction,
            asked.agent,
            asked.leases,
            lease_seconds=asked.lease_seconds,
            lost_after=call.core.options.lost_after,
            complete=asked.complete,
        )

    return Answer(body=Renewed(lost=tuple(await call.core.write(prolong))))


async def stops_of(call: Call) -> Answer:
    """What this agent has to stop now; waits for something."""
    asked: StopsRequest = call.body
    end = time.monotonic() + max(0.0, min(asked.wait, LONGEST_WAIT))
    agent, database = asked.agent, call.core.database

    def look(connection: Any) -> Any:
        return stops.find(connection, agent.session, asked.known, now=database.clock())

    gone = asyncio.ensure_future(call.gone())
    try:
        with call.core.room.waiter(own=[f"agent:{agent.name}"]) as waiter:
            gone.add_done_callback(lambda _: waiter.ring())
            while True:
                found, next_at = await call.core.read(look)
                left = end - time.monotonic()
                if found or left <= 0 or gone.done() or call.core.room.closed:
                    return Answer(body=Stops(stops=found))
                if next_at is not None:
                    left = min(left, max(_SHORTEST_SLEEP, next_at - database.clock()))
                await waiter.sleep(left)
    finally:
        gone.cancel()


async def _claim(call: Call, asked: ClaimRequest) -> claims.Found:
    def take(transaction: Transaction) -> claims.Found:
        return claims.claim(
            transaction,
            asked.agent,
            asked.queues,
            limit=min(asked.limit, _MOST_CLAIMS),
            lease_seconds=asked.lease_seconds,
            lost_after=call.core.options.lost_after,
            host_bound=frozenset(asked.agent.host_bound),
            key=asked.key,
        )

    return await call.core.write(take)


def _claimed(call: Call, found: claims.Found) -> Answer:
    call.core.metrics.claimed(found.claims)
    return Answer(body=Claims(claims=tuple(found.claims)))


def _lease(seconds: float) -> None:
    if not (math.isfinite(seconds) and 0 < seconds <= _LONGEST_LEASE):
        raise Refusal("invalid", f"a lease has to be above 0 s and at most {_LONGEST_LEASE:g} s")


def _for_these(call: Call, queues: Iterable[str]) -> None:
    """:raises Refusal: this token is not for one of these queues."""
    for queue in queues:
        if not call.who.serves(queue):
            raise Refusal(
                "forbidden",
                f"this token is not for queue {queue[:80]!r}",
                hint=f"a token for it has the scope agent:{queue[:80]}",
            )


def _may_be(call: Call, transaction: Transaction, agent: AgentInfo) -> None:
    """A token of one queue never acts in the name of an agent of another.

    :raises Refusal: the agent of this name serves a queue that this token is not for.
    """
    if call.who.queues is None:
        return
    served = guards.queues_of_agent(transaction.connection, agent.name)
    if served is not None and (not served or any(queue not in call.who.queues for queue in served)):
        raise Refusal("forbidden", f"the agent {agent.name[:80]!r} serves queues that this token is not for")


ENDPOINTS = (
    Endpoint(method="GET", path="/v1/agents", does=listed, summary="List agents.", answer=AgentList),
    Endpoint(
        method="POST",
        path="/v1/agents/register",
        does=register,
        summary="Begin a session.",
        body=Register,
        status=204,
    ),
    Endpoint(
        method="POST",
        path="/v1/agents/unregister",
        does=unregister,
        summary="End a session; what it started can be adopted at once.",
        body=Unregister,
        status=204,
    ),
    Endpoint(
        method="POST",
        path="/v1/agents/claim",
        does=claim,
        summary="Lease runs; waits for the first.",
        body=ClaimRequest,
        answer=Claims,
        waits=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/agents/reclaim",
        does=reclaim,
        summary="Lease the attempts of this agent's earlier sessions again.",
        body=Reclaim,
        answer=Claims,
    ),
    Endpoint(
        method="POST",
        path="/v1/agents/renew",
        does=renew,
        summary="Renew the session and all its leases; answers with those that are lost.",
        body=Renew,
        answer=Renewed,
    ),
    Endpoint(
        method="POST",
        path="/v1/agents/stops",
        does=stops_of,
        summary="The attempts that are to be stopped; waits for one.",
        body=StopsRequest,
        answer=Stops,
        waits=True,
    ),
)

"""For those who run the server: is it well, how busy is it, what can it do, and who is asking."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from launchcore.plugin import LaunchError, QueueUnavailable
from launchcore.queues.wire import Identity
from launchcore.server import metrics
from launchcore.server.endpoints import TEXT, Answer, Call, Endpoint
from launchcore.server.problems import Refusal
from launchcore.store import lookup, numbers


async def healthz(_: Call) -> Answer:
    """The process answers. It says nothing about the database: restarting would not help that."""
    return Answer(body=b"ok\n", kind=TEXT)


async def readyz(call: Call) -> Answer:
    """Requests can be served: the database answers, and the server is not about to stop."""
    if call.core.stopping:
        raise Refusal("unavailable", "this server is about to stop", headers={"Retry-After": "1"})
    try:
        await call.core.read(lookup.identity)
    except (QueueUnavailable, LaunchError):
        raise Refusal(
            "unavailable", "the database does not answer as it should", headers={"Retry-After": "5"}
        ) from None
    return Answer(body=b"ok\n", kind=TEXT)


async def identity(call: Call) -> Answer:
    clock = call.core.database.clock
    found, now = await call.core.read(lambda connection: (lookup.identity(connection), clock()))
    return Answer(
        body=Identity(
            identity=found,
            version=version("launchcore"),
            who=call.who.name,
            scopes=call.who.scopes,
            time=now,
        )
    )


async def measured(call: Call) -> Answer:
    clock = call.core.database.clock

    def look(connection: Any) -> numbers.Numbers:
        return numbers.numbers(connection, now=clock())

    found = await call.core.read(look)
    call.core.metrics.waiting.set(call.core.room.waiting)
    return Answer(body=call.core.metrics.render(found), kind=metrics.CONTENT_TYPE)


async def described(_: Call) -> Answer:
    from launchcore.server.openapi import document
    from launchcore.server.table import ENDPOINTS as ALL

    return Answer(body=document(ALL, version("launchcore")))


ENDPOINTS = (
    Endpoint(method="GET", path="/healthz", does=healthz, summary="The process lives.", kind=TEXT),
    Endpoint(method="GET", path="/readyz", does=readyz, summary="Requests can be served.", kind=TEXT),
    Endpoint(
        method="GET",
        path="/metrics",
        does=measured,
        summary="Metrics for Prometheus.",
        kind=metrics.CONTENT_TYPE,
    ),
    Endpoint(method="GET", path="/openapi.json", does=described, summary="This document.", answer=dict),
    Endpoint(
        method="GET",
        path="/v1/identity",
        does=identity,
        summary="Of the service, and whom it takes the caller for.",
        answer=Identity,
    ),
)

"""Queues: for their owners, and for those who use them."""

from __future__ import annotations

import attrs

from launchcore.queues.base import QueueInfo
from launchcore.queues.wire import QueueCreate, QueueEdit, QueueList
from launchcore.server.access import AGENT, kinds
from launchcore.server.endpoints import Answer, Call, Endpoint
from launchcore.server.problems import Refusal


@attrs.frozen(kw_only=True)
class DeleteQuery:
    """``force``: cancel the runs that wait in it first."""

    force: bool = False


async def listed(call: Call) -> Answer:
    found = await call.core.call(call.core.reading.list_queues)
    return Answer(body=QueueList(queues=tuple(queue for queue in found if _visible(call, queue.name))))


async def create(call: Call) -> Answer:
    asked: QueueCreate = call.body
    service = call.core.service(call.who, "create queue", asked.name, asked.config.type)
    return Answer(body=await call.core.call(service.create_queue, asked.name, asked.config), status=201)


async def one(call: Call) -> Answer:
    name = call.path["name"]
    if not _visible(call, name):
        raise Refusal("forbidden", f"this token is not for queue {name[:80]!r}")
    return Answer(body=await call.core.call(call.core.reading.queue, name))


async def edit(call: Call) -> Answer:
    asked: QueueEdit = call.body
    name = call.path["name"]
    said = "" if asked.paused is None else ("paused" if asked.paused else "open")
    detail = " ".join(filter(None, (said, f"release {asked.release}" if asked.release else "")))
    service = call.core.service(call.who, "edit queue", name, detail)

    def change() -> QueueInfo:
        return service.edit_queue(name, asked.config, paused=asked.paused, release=asked.release)

    return Answer(body=await call.core.call(change))


async def delete(call: Call) -> Answer:
    name, force = call.path["name"], call.query.force
    service = call.core.service(call.who, "delete queue", name, "with all that waits in it" if force else "")
    await call.core.call(lambda: service.delete_queue(name, force=force))
    return Answer(status=204)


def _visible(call: Call, name: str) -> bool:
    """An agent's token is for its own queues; all others may see them all."""
    return kinds(call.who.scopes) != {AGENT} or call.who.serves(name)


ENDPOINTS = (
    Endpoint(method="GET", path="/v1/queues", does=listed, summary="List queues.", answer=QueueList),
    Endpoint(
        method="POST",
        path="/v1/queues",
        does=create,
        summary="Make a queue.",
        body=QueueCreate,
        answer=QueueInfo,
        status=201,
    ),
    Endpoint(method="GET", path="/v1/queues/{name}", does=one, summary="One queue.", answer=QueueInfo),
    Endpoint(
        method="PUT",
        path="/v1/queues/{name}",
        does=edit,
        summary="Change a queue; attempts that were claimed keep the configuration that they have.",
        body=QueueEdit,
        answer=QueueInfo,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/queues/{name}",
        does=delete,
        summary="Delete a queue that has no live runs.",
        query=DeleteQuery,
        status=204,
    ),
)

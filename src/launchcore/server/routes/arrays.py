"""Run arrays: runs that differ in some values only."""

from __future__ import annotations

from launchcore.plugin import LaunchError
from launchcore.queues.base import ArrayInfo, NotFound
from launchcore.queues.wire import Cancel, Check, SubmitArray
from launchcore.server.endpoints import Answer, Call, Endpoint
from launchcore.server.problems import Refusal


async def check(call: Call) -> Answer:
    """Whether a submit would be accepted: asked before anything is packed and uploaded."""
    asked: Check = call.body
    service, submitter = call.core.reading, call.who.submitter(asked.submitter)

    def look() -> None:
        service.check(asked.queue, asked.spec, priority=asked.priority, submitter=submitter, axes=asked.axes)

    await call.core.call(look)
    return Answer(status=204)


async def submit(call: Call) -> Answer:
    asked: SubmitArray = call.body
    submitter = call.who.submitter(asked.submitter)
    service = call.core.service(call.who, "submit array", str, asked.queue)

    def accept() -> ArrayInfo:
        return service.submit_array(
            asked.queue,
            asked.spec,
            asked.axes,
            max_parallel=asked.max_parallel,
            priority=asked.priority,
            submitter=submitter,
            key=call.key,
        )

    made = await call.core.call(accept)
    if not call.who.sees_all and made.submitter != call.who.name:
        hint = "use a new one, a UUID for example"
        raise Refusal("conflict", "this idempotency key has been used", hint=hint)
    return Answer(body=made, status=201)


async def one(call: Call) -> Answer:
    return Answer(body=await call.core.call(_find, call))


async def cancel(call: Call) -> Answer:
    asked: Cancel = call.body
    array = await call.core.call(_find, call)
    by = call.who.submitter(asked.by)
    service = call.core.service(call.who, "cancel array", array.id)
    return Answer(body=await call.core.call(lambda: service.cancel_array(array.id, by=by)))


def _find(call: Call) -> ArrayInfo:
    """:raises NotFound: there is none that this caller may see. Nothing about others' is said."""
    ref = call.path["ref"]
    if call.who.sees_all:
        return call.core.reading.array(ref)
    try:
        found = call.core.reading.array(ref)
    except LaunchError:
        found = None
    if found is None or found.submitter != call.who.name:
        raise NotFound(f"no run array {ref[:80]!r} of yours", hint="`launch runs` lists your runs")
    return found


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/runs/check",
        does=check,
        summary="Whether a submit would be accepted now, whatever the fields of its source.",
        body=Check,
        status=204,
    ),
    Endpoint(
        method="POST",
        path="/v1/arrays",
        does=submit,
        summary="Submit a run for each combination of the values of the axes: all or none.",
        body=SubmitArray,
        answer=ArrayInfo,
        status=201,
        keyed=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/arrays/{ref}",
        does=one,
        summary="One run array: by its id, the id's unambiguous beginning, or its name.",
        answer=ArrayInfo,
    ),
    Endpoint(
        method="POST",
        path="/v1/arrays/{ref}/cancel",
        does=cancel,
        summary="Cancel every member of a run array that has not ended.",
        body=Cancel,
        answer=ArrayInfo,
    ),
)

"""Runs, for those who submit them."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Annotated

import attrs
import msgspec

from launchcore.plugin import RunState
from launchcore.queues.base import Page, RunFilter, RunInfo
from launchcore.queues.wire import LONGEST_WAIT, Cancel, Retry, Submit, Timeline, TimelineEntry
from launchcore.server.endpoints import Answer, Call, Endpoint, Large, Seconds
from launchcore.server.problems import Refusal
from launchcore.server.routes.seen import find, narrowed, run_of

Text = Annotated[str, msgspec.Meta(max_length=255)]


@attrs.frozen(kw_only=True)
class ListQuery:
    """Which runs; ``state`` may be repeated, ``before`` is the ``next`` of the page before."""

    queue: Text | None = None
    state: tuple[RunState, ...] = ()
    job: Text | None = None
    name: Text | None = None
    submitter: Text | None = None
    since: float | None = None
    limit: Large = 50
    before: Text | None = None
    array: Text | None = None


@attrs.frozen(kw_only=True)
class WaitQuery:
    """``changes``: of the run as the caller knows it; ``timeout``: seconds, at most 55 count."""

    changes: Large = 0
    timeout: Seconds = 0.0


async def submit(call: Call) -> Answer:
    asked: Submit = call.body
    submitter = call.who.submitter(asked.submitter)
    service = call.core.service(call.who, "submit run", _id_of_new, asked.queue)

    def accept() -> RunInfo:
        return service.submit(
            asked.queue, asked.spec, priority=asked.priority, submitter=submitter, key=call.key
        )

    run = await call.core.call(accept)
    _own(call, run)
    return Answer(body=run, status=201)


async def listed(call: Call) -> Answer:
    asked: ListQuery = call.query
    if asked.since is not None and not math.isfinite(asked.since):
        raise Refusal("invalid", "`since` is no time")
    wanted = RunFilter(
        queue=asked.queue,
        states=asked.state,
        job=asked.job,
        name=asked.name,
        submitter=asked.submitter,
        since=asked.since,
        limit=asked.limit,
        before=asked.before,
        array=asked.array,
    )
    return Answer(body=await call.core.call(call.core.reading.list_runs, narrowed(call, wanted)))


async def one(call: Call) -> Answer:
    return Answer(body=await run_of(call))


async def timeline(call: Call) -> Answer:
    def read() -> Timeline:
        found = call.core.reading.timeline(find(call, call.path["ref"]).id)
        return Timeline(events=tuple(TimelineEntry(attempt=number, event=event) for number, event in found))

    return Answer(body=await call.core.call(read))


async def wait(call: Call) -> Answer:
    """Answer when the run has changed since ``changes``, or when time is up."""
    asked: WaitQuery = call.query
    end = time.monotonic() + min(asked.timeout, LONGEST_WAIT)
    run = await run_of(call)
    if run.changes != asked.changes or asked.timeout <= 0:
        return Answer(body=run)
    gone = asyncio.ensure_future(call.gone())
    try:
        with call.core.room.waiter(own=[f"run:{run.id}"]) as waiter:
            gone.add_done_callback(lambda _: waiter.ring())
            while True:
                run = await call.core.call(call.core.reading.run, run.id)
                left = end - time.monotonic()
                if run.changes != asked.changes or left <= 0 or gone.done() or call.core.room.closed:
                    return Answer(body=run)
                await waiter.sleep(left)
    finally:
        gone.cancel()


async def cancel(call: Call) -> Answer:
    asked: Cancel = call.body
    run = await run_of(call)
    by = call.who.submitter(asked.by)
    service = call.core.service(call.who, "cancel run", run.id)
    return Answer(body=await call.core.call(lambda: service.cancel(run.id, by=by)))


async def retry(call: Call) -> Answer:
    asked: Retry = call.body
    run = await run_of(call)
    submitter = call.who.submitter(asked.submitter)
    service = call.core.service(call.who, "retry run", _id_of_new, run.id)
    made = await call.core.call(lambda: service.retry(run.id, submitter=submitter, key=call.key))
    _own(call, made)
    return Answer(body=made, status=201)


def _id_of_new(stored: RunInfo | str) -> str | None:
    """A key that was used before makes no new run."""
    return stored.id if isinstance(stored, RunInfo) else None


def _own(call: Call, run: RunInfo) -> None:
    """Another's idempotency key gives nobody another's run."""
    if not call.who.sees_all and run.submitter != call.who.name:
        raise Refusal(
            "conflict", "this idempotency key has been used", hint="use a new one, a UUID for example"
        )


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/runs",
        does=submit,
        summary="Submit a run. With the same idempotency key again, the run of the first time.",
        body=Submit,
        answer=RunInfo,
        status=201,
        keyed=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/runs",
        does=listed,
        summary="List runs, the newest first; without `read`, the caller's own.",
        query=ListQuery,
        answer=Page,
    ),
    Endpoint(
        method="GET",
        path="/v1/runs/{ref}",
        does=one,
        summary="One run: by its id, the id's unambiguous beginning, or its name (the newest of it).",
        answer=RunInfo,
    ),
    Endpoint(
        method="GET",
        path="/v1/runs/{ref}/timeline",
        does=timeline,
        summary="What happened to a run, in order.",
        answer=Timeline,
    ),
    Endpoint(
        method="GET",
        path="/v1/runs/{ref}/wait",
        does=wait,
        summary="The run, when it has changed since `changes` or time is up.",
        query=WaitQuery,
        answer=RunInfo,
        waits=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/runs/{ref}/cancel",
        does=cancel,
        summary="Cancel a run. Once this is answered, nothing of it starts any more.",
        body=Cancel,
        answer=RunInfo,
    ),
    Endpoint(
        method="POST",
        path="/v1/runs/{ref}/retry",
        does=retry,
        summary="Submit a run that has ended again, as a new one.",
        body=Retry,
        answer=RunInfo,
        status=201,
        keyed=True,
    ),
)

"""Logs and events of runs: in pieces, and as they come.

Nothing that a run has written is ever sent as a page: a log goes as plain text that no browser guesses
about, an event as JSON.
"""

from __future__ import annotations

import asyncio
import codecs
import time
from collections.abc import AsyncIterator
from typing import Annotated

import attrs
import msgspec

from launchcore.queues.base import LogChunk, RunInfo
from launchcore.queues.wire import LOG_ATTEMPT, LOG_END, LOG_NEXT, LOG_OFFSET, TimelineEntry
from launchcore.server.endpoints import EVENTS, TEXT, Answer, Call, Endpoint, Large
from launchcore.server.problems import Refusal
from launchcore.server.routes.seen import find, run_of
from launchcore.server.waiting import Waiter

_PIECE = 64 * 1024
_QUIET_SECONDS = 15.0
"""After which a comment says that the stream still lives."""
_SHORTEST_PAUSE = 0.1
"""Between two events of a run that changes all the time."""
_NO_BUFFER = {"X-Accel-Buffering": "no"}

Number = Annotated[int, msgspec.Meta(ge=1, le=1 << 31)]


@attrs.frozen(kw_only=True)
class LogsQuery:
    """Of the given attempt, or of the newest that has a log; ``limit`` bytes from ``offset``."""

    attempt: Number | None = None
    offset: Large = 0
    limit: Large = 1 << 20


@attrs.frozen(kw_only=True)
class StreamQuery:
    """The same for a stream; the header ``Last-Event-ID`` goes before ``offset``."""

    attempt: Number | None = None
    offset: Large = 0


@attrs.frozen(kw_only=True)
class LogEvent:
    """An ``event: log``: text at ``offset``, up to ``next``, which is the event's id, too."""

    attempt: str
    offset: int
    next: int
    text: str


@attrs.frozen(kw_only=True)
class RunEvent:
    """An ``event: run``: the run as it stands, and what is new in its time-line. Its id is ``changes``."""

    run: RunInfo
    timeline: tuple[TimelineEntry, ...] = ()


async def piece(call: Call) -> Answer:
    asked: LogsQuery = call.query

    def read() -> LogChunk:
        run = find(call, call.path["ref"])
        return call.core.reading.logs(run.id, attempt=asked.attempt, offset=asked.offset, limit=asked.limit)

    chunk = await call.core.call(read)
    headers = {
        LOG_ATTEMPT: chunk.attempt_id,
        LOG_OFFSET: str(chunk.offset),
        LOG_NEXT: str(chunk.next),
        LOG_END: "true" if chunk.end else "false",
    }
    return Answer(body=chunk.data, kind=TEXT, headers=headers)


async def stream(call: Call) -> Answer:
    asked: StreamQuery = call.query
    run = await run_of(call)
    offset = _resumed(call, asked.offset)
    attempt = asked.attempt
    first = await _chunk(call, run.id, attempt, offset)  # a wrong attempt is told as a problem
    return Answer(body=_log(call, run.id, attempt, first), kind=EVENTS, headers=_NO_BUFFER)


async def events(call: Call) -> Answer:
    run = await run_of(call)
    return Answer(body=_changes(call, run.id, _resumed(call, -1)), kind=EVENTS, headers=_NO_BUFFER)


async def _log(call: Call, run_id: str, attempt: int | None, chunk: LogChunk) -> AsyncIterator[bytes]:
    """The log of one attempt up to its end; bytes that are no text yet wait for the rest of theirs."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    sent = chunk.offset
    with call.core.room.waiter(own=[f"run:{run_id}"]) as waiter:
        while True:
            if attempt is None and chunk.attempt_id:
                attempt = int(chunk.attempt_id.rpartition("-")[2])
            text = decoder.decode(chunk.data, final=chunk.end)
            held = len(decoder.getstate()[0])
            if text:
                reached = chunk.next - held
                value = LogEvent(attempt=chunk.attempt_id, offset=sent, next=reached, text=text)
                yield _event("log", str(reached), value)
                sent = reached
            if chunk.end:
                yield _event("end", str(sent), {"attempt": chunk.attempt_id})
                return
            if not chunk.data:
                async for comment in _quiet(waiter):
                    yield comment
                if call.core.room.closed:
                    return
            chunk = await _chunk(call, run_id, attempt, chunk.next)


async def _changes(call: Call, run_id: str, known: int) -> AsyncIterator[bytes]:
    """The run each time that it has changed, up to its end."""
    told = 0
    with call.core.room.waiter(own=[f"run:{run_id}"]) as waiter:
        while True:
            run, line = await call.core.call(_standing, call, run_id)
            if run.changes != known or told < len(line):
                value = RunEvent(run=run, timeline=line[told:])
                known, told = run.changes, len(line)
                yield _event("run", str(run.changes), value)
            if run.state.final:
                yield _event("end", str(run.changes), {"state": run.state.value})
                return
            async for comment in _quiet(waiter):
                yield comment
            if call.core.room.closed:
                return
            await asyncio.sleep(_SHORTEST_PAUSE)


async def _quiet(waiter: Waiter) -> AsyncIterator[bytes]:
    """Wait for a ring; say something in between, so that nothing on the way hangs up."""
    began = time.monotonic()
    await waiter.sleep(_QUIET_SECONDS)
    if time.monotonic() - began >= _QUIET_SECONDS:
        yield b": still here\n\n"


def _standing(call: Call, run_id: str) -> tuple[RunInfo, tuple[TimelineEntry, ...]]:
    service = call.core.reading
    line = service.timeline(run_id)
    return service.run(run_id), tuple(TimelineEntry(attempt=number, event=event) for number, event in line)


async def _chunk(call: Call, run_id: str, attempt: int | None, offset: int) -> LogChunk:
    service = call.core.reading
    return await call.core.call(lambda: service.logs(run_id, attempt=attempt, offset=offset, limit=_PIECE))


def _event(name: str, number: str, value: object) -> bytes:
    return b"event: %s\nid: %s\ndata: %s\n\n" % (name.encode(), number.encode(), msgspec.json.encode(value))


def _resumed(call: Call, otherwise: int) -> int:
    given = call.headers.get("last-event-id")
    if given is None:
        return otherwise
    if not (given.isascii() and given.isdecimal() and len(given) <= 15):
        raise Refusal("invalid", "Last-Event-ID is none that this server has given out")
    return int(given)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/v1/runs/{ref}/logs",
        does=piece,
        summary="A piece of a log, as it is.",
        query=LogsQuery,
        kind=TEXT,
    ),
    Endpoint(
        method="GET",
        path="/v1/runs/{ref}/logs/stream",
        does=stream,
        summary="The log of an attempt as it comes (server-sent events `log`, then `end`).",
        query=StreamQuery,
        kind=EVENTS,
        waits=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/runs/{ref}/events",
        does=events,
        summary="A run each time that it changes (server-sent events `run`, then `end`).",
        kind=EVENTS,
        waits=True,
    ),
)

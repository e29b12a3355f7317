"""What agents report about their attempts: fenced by the lease, and by the token's queues."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from launchcore.plugin import Fault, LaunchError, RunState
from launchcore.queues.wire import Ended, EndedRequest, Problem, Release, Writes, Written
from launchcore.server import problems
from launchcore.server.auth import Principal
from launchcore.server.endpoints import Answer, Call, Endpoint
from launchcore.server.problems import Refusal
from launchcore.store import attempts, guards
from launchcore.store.joint import Joint
from launchcore.store.writer import Transaction

_MOST_ASKED = 10_000
_LONGEST_LOG = 1 << 53


async def writes(call: Call) -> Answer:
    """Each write by itself, in order: one that is refused does not keep the others from being stored."""
    asked: Writes = call.body
    _sizes(call, asked)
    operations = [
        Joint(
            _write,
            _write_many,
            _Asked(call.who, attempts.Write(each.lease.attempt_id, each.lease.token, each.update)),
        )
        for each in asked.writes
    ]
    done = await call.core.write_many(operations)
    results: list[Problem | None] = []
    for each, (_, error) in zip(asked.writes, done, strict=True):
        if error is None:
            call.core.metrics.written(each.update)
        elif not isinstance(error, problems.EXPECTED):
            raise error  # nothing of it, or nobody knows how much, is stored: all may be sent again
        results.append(None if error is None else problems.of_write(error))
    return Answer(body=Written(results=tuple(results)))


async def release(call: Call) -> Answer:
    asked: Release = call.body
    lease = asked.lease

    def give_back(transaction: Transaction) -> None:
        _may_write(call.who, transaction, lease.attempt_id)
        attempts.release(transaction, lease.attempt_id, lease.token, asked.detail)

    try:
        await call.core.write(give_back)
    except LaunchError as error:
        if error.fault is not Fault.CORE:
            raise
        raise Refusal("conflict", error.detail) from None
    return Answer(status=204)


async def ended(call: Call) -> Answer:
    asked: EndedRequest = call.body
    if len(asked.attempts) > _MOST_ASKED:
        raise Refusal("invalid", f"more than {_MOST_ASKED} attempts at once")

    def look(connection: object) -> frozenset[str]:
        found = attempts.ended(connection, asked.attempts)  # type: ignore[arg-type]
        if call.who.queues is None:
            return found
        return frozenset(
            each for each in found if call.who.serves(guards.queue_of_attempt(connection, each) or "")
        )

    return Answer(body=Ended(attempts=await call.core.read(look)))


@attrs.frozen
class _Asked:
    """A write, and who wants it written."""

    who: Principal
    write: attempts.Write


def _write(transaction: Transaction, asked: _Asked) -> None:
    _may_write(asked.who, transaction, asked.write.attempt_id)
    attempts.write(transaction, asked.write)


def _write_many(transaction: Transaction, asked: Sequence[_Asked]) -> list[bool]:
    """Those that are refused are not written here: by itself, each learns why."""
    bound = [each.write.attempt_id for each in asked if each.who.queues is not None]
    queues = guards.queues_of_attempts(transaction.connection, bound)
    allowed = [
        place for place, each in enumerate(asked) if each.who.serves(queues.get(each.write.attempt_id, ""))
    ]
    stored = attempts.write_many(transaction, [asked[place].write for place in allowed])
    done = {place for place, over in zip(allowed, stored, strict=True) if over}
    return [place in done for place in range(len(asked))]


def _may_write(who: Principal, transaction: Transaction, attempt_id: str) -> None:
    """The lease says whose attempt it is; this says that the token is for its queue."""
    if who.queues is None:
        return
    queue = guards.queue_of_attempt(transaction.connection, attempt_id)
    if queue is not None and not who.serves(queue):
        raise Refusal("forbidden", f"attempt {attempt_id[:80]!r} is of a queue that this token is not for")


def _sizes(call: Call, asked: Writes) -> None:
    limit = call.core.options.max_append
    for write in asked.writes:
        log = write.update.log
        if log is not None and len(log.data) > limit:
            raise Refusal("too_large", f"a piece of a log has {len(log.data)} bytes; {limit} are the most")
        if log is not None and not 0 <= log.offset <= _LONGEST_LOG:
            raise Refusal("invalid", "no log has such an offset")
        state = write.update.state
        if state is not None and (state.final or state is RunState.QUEUED):
            raise Refusal("invalid", f"an attempt cannot be written as {state.value}; it ends by its outcome")


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/attempts/writes",
        does=writes,
        summary="Fenced writes about attempts, each by itself.",
        body=Writes,
        answer=Written,
    ),
    Endpoint(
        method="POST",
        path="/v1/attempts/release",
        does=release,
        summary="Give an attempt that started nothing back to its queue.",
        body=Release,
        status=204,
    ),
    Endpoint(
        method="POST",
        path="/v1/attempts/ended",
        does=ended,
        summary="Those of these attempts that have ended.",
        body=EndedRequest,
        answer=Ended,
    ),
)

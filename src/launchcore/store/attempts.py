"""What the holder of a lease writes about its attempt.

Every write is one UPDATE guarded by attempt, token and "not ended" (:mod:`~launchcore.store.guarded`); where
it changes no row, the attempt is looked at to say why. Writes about several attempts may share the UPDATE.
A write may be repeated: what is stored already stays as it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import attrs
import sqlalchemy as sa
from sqlalchemy import bindparam

from launchcore.plugin import (
    Cancelled,
    Fault,
    LaunchError,
    LeaseLost,
    LogAppend,
    LogBehind,
    LogPosition,
    Reason,
    RunState,
    Update,
)
from launchcore.store import codec, guarded, logs, outcomes, stops, timeline
from launchcore.store.ids import split_attempt_id
from launchcore.store.lookup import ATTEMPT_OF_RUN
from launchcore.store.tables import attempts, runs
from launchcore.store.writer import Transaction

_AT_ONCE = 500
_ENDED = (
    sa.select(runs.c.id, attempts.c.number)
    .join(runs, runs.c.seq == attempts.c.run_seq)
    .where(runs.c.id.in_(bindparam("runs", expanding=True)), attempts.c.ended_at.is_not(None))
)
_HELD = ATTEMPT_OF_RUN.with_for_update(of=[attempts, runs])


@attrs.frozen
class Write:
    """What the holder of a lease hands in."""

    attempt_id: str
    token: str
    update: Update


@attrs.frozen
class _Asked:
    """A write that makes sense. ``update`` is what of it is not stored yet."""

    run_id: str
    number: int
    token: str
    update: Update


def write(transaction: Transaction, asked: Write) -> None:
    """Write about one attempt.

    :raises LeaseLost: the token is not this attempt's any more, or the attempt has ended otherwise.
    :raises Cancelled: it was to enter ``STARTING``, and the run's cancel has been acknowledged.
    :raises LaunchError: (core) the update makes no sense: a gap in the log, a state that is none.
    """
    left = _checked(asked)
    while not _store(transaction, [left]):
        rest = _without_what_is_stored(transaction, left)
        if rest is None:
            return
        left = attrs.evolve(left, update=rest)


def write_many(transaction: Transaction, writes: Sequence[Write]) -> list[bool]:
    """Carry out those of the writes that nothing stands in the way of, in a few statements for all of them.

    Says which they are. Of the others nothing is stored: :func:`write` finds out why, or stores the rest.
    Of several writes about one attempt the first is taken at most.
    """
    together: dict[str, int] = {}
    asked: list[tuple[int, _Asked]] = []
    for place, each in enumerate(writes):
        with contextlib.suppress(LeaseLost, LaunchError):
            if together.setdefault(each.attempt_id, place) == place:
                asked.append((place, _checked(each)))
    asked.sort(key=lambda each: (each[1].run_id, each[1].number))  # locked in one order by everybody
    stored = _store(transaction, [each for _, each in asked])
    done = {asked[index][0] for index in stored}
    return [place in done for place in range(len(writes))]


def release(transaction: Transaction, attempt_id: str, token: str, detail: str) -> None:
    """Give an attempt that started nothing back to its queue, uncounted. May be repeated.

    :raises LeaseLost: the token is not this attempt's any more.
    :raises LaunchError: (core) something was started: there is a handle.
    """
    parsed = split_attempt_id(attempt_id)
    row = parsed and transaction.execute(_HELD, {"run": parsed[0], "number": parsed[1]}).first()
    if not row or not token or row.lease_token != token:
        raise LeaseLost(f"the lease of attempt {attempt_id[:80]!r} is another's")
    if row.verdict == outcomes.RELEASED:
        return
    if row.ended_at is not None:
        raise LeaseLost(f"attempt {attempt_id} has ended")
    if row.handle is not None:
        raise _misuse(f"attempt {attempt_id} has started something and cannot be given back")
    outcomes.release(transaction, row, detail)


def ended(connection: sa.Connection, attempt_ids: Sequence[str]) -> frozenset[str]:
    """Those of these attempts that have ended."""
    wanted = {text: parsed for text in attempt_ids if (parsed := split_attempt_id(text))}
    found: set[tuple[str, int]] = set()
    of_runs = sorted({run for run, _ in wanted.values()})
    for start in range(0, len(of_runs), _AT_ONCE):
        rows = connection.execute(_ENDED, {"runs": of_runs[start : start + _AT_ONCE]})
        found.update((row.id, row.number) for row in rows)
    return frozenset(text for text, parsed in wanted.items() if parsed in found)


def _checked(asked: Write) -> _Asked:
    """:raises LeaseLost: it is about nothing that there is.
    :raises LaunchError: (core) it makes no sense.
    """
    parsed = split_attempt_id(asked.attempt_id)
    if parsed is None or not asked.token:
        raise LeaseLost(f"no attempt {asked.attempt_id[:80]!r}")
    state = asked.update.state
    if state is not None and state not in guarded.ORDER:
        raise _misuse(f"an attempt cannot be written as {state.value}; it ends by its outcome")
    return _Asked(*parsed, asked.token, asked.update)


def _store(transaction: Transaction, asked: Sequence[_Asked]) -> list[int]:
    """The guarded UPDATEs, one for each combination of parts, and what follows from them. Gives the places of
    those writes that nothing stood in the way of."""
    alike: dict[tuple[Any, ...], list[int]] = {}
    for place, each in enumerate(asked):
        update = each.update
        parts = (update.state, update.handle is not None, update.log is not None, update.outcome is not None)
        alike.setdefault(parts, []).append(place)
    stored: list[tuple[int, Any]] = []
    for parts, places in alike.items():
        values = [_values(transaction.now, asked[place]) for place in places]
        changed = guarded.attempt_update(*parts).rows(transaction.connection, values)
        stored += [(places[index], row) for index, row in changed]
    if stored:
        _follow(transaction, [(asked[place], row) for place, row in stored])
    return [place for place, _ in stored]


def _values(now: float, asked: _Asked) -> dict[str, Any]:
    """The parameters of the guarded UPDATE."""
    update = asked.update
    values: dict[str, Any] = {
        "p_run": asked.run_id,
        "p_number": asked.number,
        "p_token": asked.token,
        "p_now": now,
    }
    if update.handle is not None:
        values["p_handle"] = codec.encode(update.handle)
    if (log := update.log) is not None:
        values |= {
            "p_offset": log.offset,
            "p_length": len(log.data),
            "p_end": log.offset + len(log.data),
            "p_tail": logs.last_chunk_offset(log.offset, len(log.data)),
            "p_cursor": log.cursor,
        }
    if update.outcome is not None:
        values |= outcomes.values_of(update.outcome)
    return values


def _follow(transaction: Transaction, stored: Sequence[tuple[_Asked, Any]]) -> None:
    """What follows from writes that succeeded: logs, events, the runs themselves, and whom to tell."""
    events, ends = [], []
    changes: dict[tuple[bool, bool, bool, bool], list[dict[str, Any]]] = {}
    for asked, row in stored:
        update = asked.update
        if (log := update.log) is not None:
            logs.store(transaction, row.id, offset=log.offset, data=log.data, tail=row.log_tail)
        events += [(row.run_seq, asked.number, event) for event in update.events]
        parts = (
            update.state is not None,
            update.state is RunState.RUNNING,
            update.pinned is not None,
            update.image is not None,
        )
        if any(parts) or update.outcome is None:
            changes.setdefault(parts, []).append(_run_values(transaction.now, row.run_seq, update))
        if update.outcome is not None:
            ends.append(outcomes.End(asked.run_id, asked.number, row.run_seq, update.outcome))
        elif row.stop_at is not None and (update.state is not None or update.handle is not None):
            transaction.ring(f"agent:{row.agent}")  # it has a new deadline to wait for
        transaction.ring(f"run:{asked.run_id}")
    timeline.add(transaction, events)
    for parts, values in changes.items():
        guarded.run_update(*parts).execute(transaction.connection, values)
    outcomes.settle(transaction, ends)


def _run_values(now: float, run_seq: int, update: Update) -> dict[str, Any]:
    values: dict[str, Any] = {"p_seq": run_seq, "p_now": now}
    if update.state is not None:
        values["p_state"] = update.state.value
    if update.pinned is not None:
        values["p_pinned"] = codec.encode(update.pinned)
    if update.image is not None:
        values["p_image"] = codec.text(update.image)
    return values


def _without_what_is_stored(transaction: Transaction, asked: _Asked) -> Update | None:
    """Why the guarded UPDATE changed nothing: the part that is still to be written, or an error."""
    run_id, number, token, update = asked.run_id, asked.number, asked.token, asked.update
    row = transaction.execute(ATTEMPT_OF_RUN, {"run": run_id, "number": number}).first()
    if row is None or row.lease_token != token:
        raise LeaseLost(f"the lease of attempt {run_id}-{number} is another's")
    if row.ended_at is not None:
        if update.outcome is not None and row.verdict != outcomes.RELEASED:
            return None  # its own report again: the answer to the first was lost
        raise LeaseLost(f"attempt {run_id}-{number} has ended")
    if update.state is RunState.STARTING and update.outcome is None:
        if row.cancel_requested_at is not None:
            raise Cancelled(stops.cancel_text(row.cancelled_by))
        if row.lease_expires_at <= transaction.now and row.state != RunState.RUNNING.value:
            raise LeaseLost(f"the lease of attempt {run_id}-{number} has expired: it must not start now")
    rest = update
    if update.state is not None and guarded.ORDER.index(update.state) < guarded.ORDER.index(
        RunState(row.state)
    ):
        rest = attrs.evolve(rest, state=None)
    elif update.state is RunState.STARTING and update.outcome is not None:
        rest = attrs.evolve(rest, state=None)  # it ends: that it could not have started is no matter
    if update.log is not None and update.log.offset != row.log_bytes:
        stored = LogPosition(offset=row.log_bytes, cursor=row.log_cursor)
        rest = attrs.evolve(rest, log=_log_rest(update.log, stored))
    if rest is update:
        raise _misuse(f"attempt {run_id}-{number} could not be written")
    return rest


def _log_rest(append: LogAppend, stored: LogPosition) -> LogAppend | None:
    """What of an append is not stored yet."""
    if append.offset > stored.offset:
        detail = f"log append at {append.offset}, but only {stored.offset} bytes are stored"
        raise LogBehind(detail, position=stored)
    data = append.data[stored.offset - append.offset :]
    return LogAppend(offset=stored.offset, data=data, cursor=append.cursor) if data else None


def _misuse(detail: str) -> LaunchError:
    return LaunchError(detail, reason=Reason.INFRASTRUCTURE, fault=Fault.CORE)

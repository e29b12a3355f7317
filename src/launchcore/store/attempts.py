"""What the holder of a lease writes about its attempt.

Every write is one UPDATE guarded by attempt, token and "not ended"; where it changes no row, the
attempt is looked at to say why. A write may be repeated: what is stored already stays as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import attrs
import sqlalchemy as sa
from sqlalchemy import bindparam, case, func

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
from launchcore.store import codec, logs, outcomes, stops, timeline
from launchcore.store.ids import split_attempt_id
from launchcore.store.lookup import ATTEMPT_OF_RUN, is_attempt
from launchcore.store.prepared import Prepared
from launchcore.store.tables import attempts, runs
from launchcore.store.writer import Transaction

_ORDER = (RunState.CLAIMED, RunState.PREPARING, RunState.STARTING, RunState.RUNNING)
_AT_ONCE = 500
_ENDED = (
    sa.select(runs.c.id, attempts.c.number)
    .join(runs, runs.c.seq == attempts.c.run_seq)
    .where(runs.c.id.in_(bindparam("runs", expanding=True)), attempts.c.ended_at.is_not(None))
)
_HELD = ATTEMPT_OF_RUN.with_for_update(of=[attempts, runs])
_NOW = bindparam("p_now", type_=sa.Float)
_STOP_BEFORE_RUNNING = case(
    (attempts.c.running_since.is_not(None), attempts.c.stop_at),
    else_=func.coalesce(attempts.c.stop_at, _NOW + attempts.c.start_seconds),
)
_STOP_WHILE_RUNNING = case(
    (attempts.c.cancel_requested_at.is_not(None), attempts.c.stop_at),
    else_=func.coalesce(attempts.c.deadline_at, _NOW + attempts.c.run_seconds),
)


def write(transaction: Transaction, attempt_id: str, token: str, update: Update) -> None:
    """Write about one attempt.

    :raises LeaseLost: the token is not this attempt's any more, or the attempt has ended otherwise.
    :raises Cancelled: it was to enter ``STARTING``, and the run's cancel has been acknowledged.
    :raises LaunchError: (core) the update makes no sense: a gap in the log, a state that is none.
    """
    parsed = split_attempt_id(attempt_id)
    if parsed is None or not token:
        raise LeaseLost(f"no attempt {attempt_id[:80]!r}")
    if update.state is not None and update.state not in _ORDER:
        raise _misuse(f"an attempt cannot be written as {update.state.value}; it ends by its outcome")
    run_id, number = parsed
    reduced: Update | None = update
    while reduced is not None:
        row = _apply(transaction, run_id, number, token, reduced)
        if row is not None:
            _follow(transaction, run_id, number, row, reduced)
            return
        reduced = _without_what_is_stored(transaction, run_id, number, token, reduced)


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


def _apply(transaction: Transaction, run_id: str, number: int, token: str, update: Update) -> Any:
    """The guarded UPDATE. Returns the row, or ``None`` when it changed nothing."""
    state, log, outcome = update.state, update.log, update.outcome
    values: dict[str, Any] = {
        "p_run": run_id,
        "p_number": number,
        "p_token": token,
        "p_now": transaction.now,
    }
    if update.handle is not None:
        values["p_handle"] = codec.encode(update.handle)
    if log is not None:
        values |= {
            "p_offset": log.offset,
            "p_length": len(log.data),
            "p_end": log.offset + len(log.data),
            "p_tail": logs.last_chunk_offset(log.offset, len(log.data)),
            "p_cursor": log.cursor,
        }
    if outcome is not None:
        values |= outcomes.values_of(outcome)
    statement = _statement(state, update.handle is not None, log is not None, outcome is not None)
    return statement.first(transaction.connection, values)


@functools.cache
def _statement(state: RunState | None, handle: bool, log: bool, outcome: bool) -> Prepared:
    """The UPDATE for one combination of parts; made once, so that it is compiled once."""
    changes: dict[str, Any] = {"state": attempts.c.state}
    guards = [
        is_attempt("p_run", "p_number"),
        attempts.c.lease_token == bindparam("p_token"),
        attempts.c.ended_at.is_(None),
    ]
    if handle:
        changes |= {"handle": bindparam("p_handle"), "stop_at": _STOP_BEFORE_RUNNING}
    if state is not None:
        changes["state"] = state.value
        before = _ORDER[: _ORDER.index(state) + 1]
        guards.append(sa.or_(*(attempts.c.state == earlier.value for earlier in before)))
    if state is RunState.STARTING:
        changes["stop_at"] = _STOP_BEFORE_RUNNING
        guards += [attempts.c.lease_expires_at > _NOW, attempts.c.cancel_requested_at.is_(None)]
    if state is RunState.RUNNING:
        changes |= {
            "running_since": func.coalesce(attempts.c.running_since, _NOW),
            "deadline_at": func.coalesce(attempts.c.deadline_at, _NOW + attempts.c.run_seconds),
            "stop_at": _STOP_WHILE_RUNNING,
        }
    if log:
        gathers = (
            bindparam("p_offset", type_=sa.Integer)
            - attempts.c.log_tail
            + bindparam("p_length", type_=sa.Integer)
        )
        changes |= {
            "log_bytes": bindparam("p_end"),
            "log_cursor": bindparam("p_cursor"),
            "log_tail": case(
                (bindparam("p_length", type_=sa.Integer) == 0, attempts.c.log_tail),
                (gathers <= logs.SMALL, attempts.c.log_tail),
                else_=bindparam("p_tail"),
            ),
        }
        guards.append(attempts.c.log_bytes == bindparam("p_offset"))
    if outcome:
        changes |= outcomes.ENDED
    return Prepared(
        attempts.update()
        .where(*guards)
        .values(changes)
        .returning(
            attempts.c.id,
            attempts.c.run_seq,
            attempts.c.agent,
            attempts.c.stop_at,
            attempts.c.log_tail,
        )
    )


def _follow(transaction: Transaction, run_id: str, number: int, row: Any, update: Update) -> None:
    """What follows from a write that succeeded: log, events, the run itself, and whom to tell."""
    if update.log is not None:
        logs.store(transaction, row.id, offset=update.log.offset, data=update.log.data, tail=row.log_tail)
    if update.events:
        timeline.add(transaction, row.run_seq, number, update.events)
    touched = update.state is not None or update.pinned is not None or update.image is not None
    if touched or update.outcome is None:
        values: dict[str, Any] = {"p_seq": row.run_seq, "p_now": transaction.now}
        if update.state is not None:
            values["p_state"] = update.state.value
        if update.pinned is not None:
            values["p_pinned"] = codec.encode(update.pinned)
        if update.image is not None:
            values["p_image"] = codec.text(update.image)
        statement = _run_statement(
            update.state is not None,
            update.state is RunState.RUNNING,
            update.pinned is not None,
            update.image is not None,
        )
        statement.run(transaction.connection, values)
    if update.outcome is not None:
        outcomes.settle(transaction, run_id, number, row.run_seq, update.outcome)
    elif row.stop_at is not None and (update.state is not None or update.handle is not None):
        transaction.ring(f"agent:{row.agent}")  # it has a new deadline to wait for
    transaction.ring(f"run:{run_id}")


@functools.cache
def _run_statement(state: bool, running: bool, pinned: bool, image: bool) -> Prepared:
    changes: dict[str, Any] = {"changes": runs.c.changes + 1}
    if state:
        changes["state"] = bindparam("p_state")
    if running:
        changes["started_at"] = func.coalesce(runs.c.started_at, _NOW)
    if pinned:
        changes["pinned"] = bindparam("p_pinned")
    if image:
        changes["image"] = bindparam("p_image")
    return Prepared(runs.update().where(runs.c.seq == bindparam("p_seq")).values(changes))


def _without_what_is_stored(
    transaction: Transaction, run_id: str, number: int, token: str, update: Update
) -> Update | None:
    """Why the guarded UPDATE changed nothing: the part that is still to be written, or an error."""
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
    if update.state is not None and _ORDER.index(update.state) < _ORDER.index(RunState(row.state)):
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

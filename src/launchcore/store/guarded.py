"""The statements of a write about an attempt: its own, guarded by the lease, and what follows for its run.

One for each combination of parts of an update, made once, so that it is compiled once.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import case, func

from launchcore.plugin import RunState
from launchcore.store import logs, outcomes
from launchcore.store.lookup import is_attempt
from launchcore.store.sets import Given, Many
from launchcore.store.tables import BigInt, attempts, runs

ORDER: Final = (RunState.CLAIMED, RunState.PREPARING, RunState.STARTING, RunState.RUNNING)
"""An attempt's states, from which and to which it is written; forward only."""


@functools.cache
def attempt_update(state: RunState | None, handle: bool, log: bool, outcome: bool) -> Many:
    """The UPDATE of attempts, by these parts of an update. Where it changes no row, a guard has held."""

    def write(given: Given) -> Any:
        now = given("p_now", sa.Float)
        changes: dict[str, Any] = {"state": attempts.c.state}
        guards = [
            attempts.c.lease_token == given("p_token"),
            attempts.c.ended_at.is_(None),
        ]
        if handle:
            changes |= {"handle": given("p_handle"), "stop_at": _stop_before_running(now)}
        if state is not None:
            changes["state"] = state.value
            before = ORDER[: ORDER.index(state) + 1]
            guards.append(sa.or_(*(attempts.c.state == earlier.value for earlier in before)))
        if state is RunState.STARTING:
            changes["stop_at"] = _stop_before_running(now)
            guards += [attempts.c.lease_expires_at > now, attempts.c.cancel_requested_at.is_(None)]
        if state is RunState.RUNNING:
            changes |= {
                "running_since": func.coalesce(attempts.c.running_since, now),
                "deadline_at": func.coalesce(attempts.c.deadline_at, now + attempts.c.run_seconds),
                "stop_at": _stop_while_running(now),
            }
        if log:
            changes |= _log_changes(given)
            guards.append(attempts.c.log_bytes == given("p_offset", BigInt))
        if outcome:
            changes |= outcomes.ended(given)
        told = (attempts.c.id, attempts.c.run_seq, attempts.c.agent, attempts.c.stop_at, attempts.c.log_tail)
        found = is_attempt("p_run", "p_number", given)
        return attempts.update().where(found, _opaque(*guards)).values(changes).returning(*told)

    return Many(write)


@functools.cache
def run_update(state: bool, running: bool, pinned: bool, image: bool) -> Many:
    """The UPDATE of runs, by what changes besides the number of changes."""

    def write(given: Given) -> Any:
        changes: dict[str, Any] = {"changes": runs.c.changes + 1}
        if state:
            changes["state"] = given("p_state")
        if running:
            changes["started_at"] = func.coalesce(runs.c.started_at, given("p_now", sa.Float))
        if pinned:
            changes["pinned"] = given("p_pinned")
        if image:
            changes["image"] = given("p_image")
        return runs.update().where(runs.c.seq == given("p_seq", BigInt)).values(changes)

    return Many(write)


def _opaque(*conditions: Any) -> Any:
    """All of them, as a planner cannot look into them: it would find an index of what is alive for them, or
    think that next to no row satisfies them, and so read all there are instead of searching for each."""
    return case((sa.and_(*conditions), sa.true()))


def _stop_before_running(now: Any) -> Any:
    return case(
        (attempts.c.running_since.is_not(None), attempts.c.stop_at),
        else_=func.coalesce(attempts.c.stop_at, now + attempts.c.start_seconds),
    )


def _stop_while_running(now: Any) -> Any:
    return case(
        (attempts.c.cancel_requested_at.is_not(None), attempts.c.stop_at),
        else_=func.coalesce(attempts.c.deadline_at, now + attempts.c.run_seconds),
    )


def _log_changes(given: Given) -> dict[str, Any]:
    offset, length = given("p_offset", BigInt), given("p_length", BigInt)
    return {
        "log_bytes": given("p_end", BigInt),
        "log_cursor": given("p_cursor"),
        "log_tail": case(
            (length == 0, attempts.c.log_tail),
            (offset - attempts.c.log_tail + length <= logs.SMALL, attempts.c.log_tail),
            else_=given("p_tail", BigInt),
        ),
    }

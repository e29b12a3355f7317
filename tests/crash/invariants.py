"""The invariants that hold whatever dies, checked from what the jobs themselves have written."""

from __future__ import annotations

import collections

from launchcore.plugin import RunState
from launchcore.queues.base import RunInfo
from tests.crash.world import World, expected_log, wait_until


def check_all(
    world: World, runs: list[RunInfo], *, limit: int, lines: int = 20, left_seconds: float = 30.0
) -> None:
    """I1 to I6 over a finished history in which every run was to succeed.

    :param left_seconds: what is left has to be gone by then.
    """
    starts_once(world)
    every_run_ended(runs)
    never_above(world, limit)
    nothing_left(world, seconds=left_seconds)
    for run in runs:
        log_is_exact(world, run, lines)
    terminal_states_stay(world, runs)


def starts_once(world: World) -> None:
    """I1: an attempt has at most one object, ever."""
    starts = collections.Counter(attempt for what, attempt, _ in world.records() if what == "start")
    twice = {attempt: count for attempt, count in starts.items() if count > 1}
    assert not twice, f"I1: started more than once: {twice}\n{world.report()}"


def every_run_ended(runs: list[RunInfo], state: RunState = RunState.SUCCEEDED) -> None:
    """I2: every accepted run reaches exactly one terminal state."""
    others = {run.id: (run.state.value, run.failure) for run in runs if run.state is not state}
    assert not others, f"I2: {others}"


def never_above(world: World, limit: int) -> None:
    """I4: never more at once than the queue allows, by the jobs' own clocks."""
    running: set[str] = set()
    for what, attempt, _ in sorted(world.records(), key=lambda record: record[2]):
        if what == "start":
            running.add(attempt)
        else:
            running.discard(attempt)
        assert len(running) <= limit, f"I4: {sorted(running)} ran at once"


def nothing_left(world: World, *, seconds: float = 30.0) -> None:
    """I5: a bounded time after the end nothing that is ours is left."""
    try:
        wait_until("nothing is left", lambda: not world.leftovers(), seconds=seconds)
    except AssertionError:
        raise AssertionError(f"I5: {world.leftovers()}\n{world.report()}") from None


def log_is_exact(world: World, run: RunInfo, lines: int) -> None:
    """I6: the stored log is what the job wrote, after what was said while it was prepared."""
    stored = world.log(run.id)
    wanted = expected_log(run.attempts[-1].id, lines)
    written = stored[stored.find(b"line 0 of") :]
    assert written == wanted, f"I6: {run.id}: {stored!r}\n{world.report()}"


def terminal_states_stay(world: World, runs: list[RunInfo]) -> None:
    """I3: what has ended stays as it ended."""
    now = {run.id: run for run in world.runs()}
    for run in runs:
        same = (now[run.id].state, now[run.id].exit_code, now[run.id].ended_at)
        assert same == (run.state, run.exit_code, run.ended_at), f"I3: {run.id}"

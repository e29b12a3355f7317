"""Status changes are pushed, and the watch finds back to its keeper by itself."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from launchcore.plugin import Phase, RunHandle, RunStatus
from tests.process.kit import NOTHING, Bench, eventually


class Seen:
    """What was pushed."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, Phase]] = []
        self.last: dict[str, RunStatus] = {}

    def __call__(self, handle: RunHandle, status: RunStatus) -> None:
        self.changes.append((handle.attempt_id, status.phase))
        self.last[handle.key] = status


def test_running_and_ended(bench: Bench) -> None:
    seen = Seen()
    with bench.runner.watch(seen):
        handle = bench.start(bench.shell("exit 3"))
        eventually(lambda: seen.last.get(handle.key) and seen.last[handle.key].phase.final)

        assert seen.last[handle.key] == bench.status(handle)
        assert seen.last[handle.key].exit_code == 3
        phases = [phase for key, phase in seen.changes if key == handle.key]
        assert phases[-1] is Phase.FAILED
        assert set(phases[:-1]) <= {Phase.RUNNING}


def test_what_another_runner_started_is_pushed_once_it_was_polled(bench: Bench, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    handle = bench.another().start(bench.shell(f"until [ -e {gate} ]; do sleep 0.01; done"), NOTHING)
    stranger = bench.another().start(bench.shell("exit 1"), NOTHING)
    seen = Seen()
    with bench.runner.watch(seen):
        assert bench.status(handle).phase is Phase.RUNNING
        gate.touch()
        eventually(lambda: (handle.key, Phase.SUCCEEDED) in seen.changes)
    assert stranger.key not in {key for key, _ in seen.changes}


def test_the_keeper_is_killed_while_watched(bench: Bench, tmp_path: Path) -> None:
    """And the runs end while there is none: nothing is missed."""
    gate = tmp_path / "gate"
    seen = Seen()
    with bench.runner.watch(seen):
        handles = [
            bench.start(bench.shell(f"until [ -e {gate} ]; do sleep 0.01; done; exit 4")) for _ in range(3)
        ]
        bench.kill_keeper()
        gate.touch()
        eventually(
            lambda: {key for key, phase in seen.changes if phase is Phase.FAILED} >= {h.key for h in handles}
        )

    assert {seen.last[handle.key].exit_code for handle in handles} == {4}


@pytest.mark.slow
def test_keeper_and_nanny_are_killed_while_watched(bench: Bench) -> None:
    import os

    seen = Seen()
    with bench.runner.watch(seen):
        handle = bench.start(bench.shell("sleep 1000"))
        before = bench.keepers()
        for pid in before:
            os.kill(pid, 9)
        eventually(lambda: len(bench.keepers()) == 2 and set(bench.keepers()).isdisjoint(before))
        bench.runner.cancel(handle, 5.0)
        eventually(lambda: (handle.key, Phase.FAILED) in seen.changes)


def test_a_keeper_in_another_directory(bench: Bench, tmp_path: Path) -> None:
    """A handle that was taken over from an agent with its own state directory."""
    other = Bench(tmp_path / "other")
    seen = Seen()
    try:
        handle = other.start(other.shell("sleep 1000"))
        with bench.runner.watch(seen):
            assert bench.status(handle).phase is Phase.RUNNING
            other.runner.cancel(handle, 5.0)
            eventually(lambda: (handle.key, Phase.FAILED) in seen.changes)
    finally:
        other.close()


def test_leaving_the_block_ends_the_threads(bench: Bench) -> None:
    def watchers() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if "process-watch" in thread.name]

    before = len(watchers())
    with bench.runner.watch(Seen()):
        bench.start(bench.shell("true"))
        assert len(watchers()) == before + 1
    assert len(watchers()) == before


def test_a_callback_that_raises_is_not_the_end(bench: Bench) -> None:
    seen = Seen()

    def broken(handle: RunHandle, status: RunStatus) -> None:
        seen(handle, status)
        raise RuntimeError("not my fault")

    with bench.runner.watch(broken):
        handles = [bench.start(bench.shell("exit 1")) for _ in range(3)]
        eventually(lambda: sum(phase is Phase.FAILED for _, phase in seen.changes) >= len(handles))


def test_a_watched_keeper_does_not_end_for_idleness(bench: Bench) -> None:
    bench.runner = bench.another(idle_seconds=0.05)
    with bench.runner.watch(Seen()):
        eventually((bench.keeper_root / "keeper.sock").exists)
        first = bench.keeper()
        until = time.monotonic() + 0.3
        eventually(lambda: time.monotonic() > until)
        assert bench.keeper() == first
    bench.runner = bench.another()
    eventually(lambda: bench.keepers() == [])

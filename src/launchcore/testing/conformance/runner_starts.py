"""Starting, and finding what was started. A part of the runner suite."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from launchcore.plugin import (
    LaunchError,
    Phase,
    RunHandle,
)
from launchcore.testing.conformance.bench import RunnerBench
from launchcore.testing.conformance.program import Program
from launchcore.testing.conformance.runner_suite import RunnerSuite, owned
from launchcore.testing.conformance.suite import undocumented


class RunnerStarts(RunnerSuite):
    """Starting, and finding what was started."""

    def test_every_setting_is_documented(self, bench: RunnerBench) -> None:
        """Help is all that a user reads of a setting.

        If this fails, check that every field is made with ``setting("…")``.
        """
        assert [*undocumented(bench.spec.settings), *undocumented(bench.spec.config)] == []

    def test_prepare_starts_nothing(self, bench: RunnerBench) -> None:
        """Preparing may be repeated and abandoned, so nothing may run because of it.

        If this fails, check that prepare makes nothing that carries the attempt's label.
        """
        plan = bench.plan(Program())
        for _ in range(2):
            bench.runner.prepare(plan, bench.given(), bench.context)

        assert plan.attempt_id not in owned(bench)

    def test_start_returns_before_the_run_ends(self, bench: RunnerBench) -> None:
        """The core starts many; a start that waits for the end holds up the others.

        If this fails, check that start does not wait for what it started.
        """
        handle = bench.start(Program(seconds=self.long))

        assert not bench.status(handle).phase.final

    def test_an_immediate_start_returns_something_that_runs(self, bench: RunnerBench) -> None:
        """``immediate`` in the descriptor saves the core a write: it must be true.

        If this fails, check the descriptor, or let start wait until the object runs.
        """
        if not bench.spec.immediate:
            pytest.skip("not immediate")
        handle = bench.start(Program(seconds=self.long))

        assert bench.status(handle).phase is Phase.RUNNING

    def test_two_starts_make_one_object(self, bench: RunnerBench) -> None:
        """A start whose answer was lost is repeated, perhaps by another process.

        If this fails, check that the backend name follows from the attempt alone, and that "already
        exists" with our label means adopt.
        """
        plan = bench.plan(Program(lines=("started",), seconds=0.2))
        first = bench.start(plan)
        second = bench.again().start(plan, bench.given())

        assert first == second
        assert owned(bench).count(plan.attempt_id) == len(owned(bench)) == 1
        bench.end(first)
        assert bench.log(first).splitlines().count(b"started") == 1

    def test_starts_at_the_same_time_make_one_object(self, bench: RunnerBench) -> None:
        """Two agents may believe that an attempt is theirs; the backend's name decides.

        If this fails, check that looking and making are one step (create, and see "already exists").
        """
        plan = bench.plan(Program(lines=("started",), seconds=0.2))
        given = bench.given()
        bench.runner.prepare(plan, given, bench.context)
        barrier = threading.Barrier(4)

        def start(_: int) -> RunHandle:
            runner = bench.again()
            barrier.wait()
            return bench.keep(runner.start(plan, given))

        with ThreadPoolExecutor(4) as pool:
            handles = list(pool.map(start, range(4)))

        assert all(handle == handles[0] for handle in handles)
        assert len(owned(bench)) == 1
        bench.end(handles[0])
        assert bench.log(handles[0]).splitlines().count(b"started") == 1

    def test_a_start_in_the_past_starts_nothing(self, bench: RunnerBench) -> None:
        """After ``start_before`` the lease may be another's.

        If this fails, check that start compares ``plan.start_before`` with the clock at the last
        moment, and raises LaunchError.
        """
        plan = bench.plan(Program(seconds=self.long), start_before=time.time() - 1)
        with pytest.raises(LaunchError):
            bench.start(plan)

        assert plan.attempt_id not in owned(bench)

    def test_find_gives_back_a_lost_handle(self, bench: RunnerBench) -> None:
        """An agent that dies between start and persist leaves nothing but the attempt's id.

        If this fails, check that find looks by the deterministic name or by the attempt's label.
        """
        handle = bench.start(Program(seconds=self.long))

        assert bench.again().find(handle.attempt_id) == handle

    def test_find_of_nothing_is_none(self, bench: RunnerBench) -> None:
        """An attempt that never started is started anew, so find must know nothing of it.

        If this fails, check that find returns None for an unknown name, and makes no object.
        """
        bench.start(Program(seconds=self.long))

        assert bench.runner.find(bench.plan(Program()).attempt_id) is None
        assert len(owned(bench)) == 1

    def test_after_find_has_said_none_a_late_start_is_refused(self, bench: RunnerBench) -> None:
        """None is a promise: a start that was delayed on its way must not make an object after it.

        If this fails, check that find leaves a mark (on this machine: a file) that start respects.
        """
        if not bench.spec.host_bound:
            pytest.skip("only a backend on this machine can promise it")
        plan = bench.plan(Program(seconds=self.long))
        assert bench.again().find(plan.attempt_id) is None
        with pytest.raises(LaunchError):
            bench.start(plan)

        assert owned(bench) == []

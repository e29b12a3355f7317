"""What was printed. A part of the runner suite."""

from __future__ import annotations

from launchcore.testing.conformance.bench import RunnerBench
from launchcore.testing.conformance.program import Program
from launchcore.testing.conformance.runner_suite import RunnerSuite
from launchcore.testing.conformance.suite import eventually


class RunnerLogs(RunnerSuite):
    """What was printed."""

    def test_logs_are_complete_and_resumable_from_any_cursor(self, bench: RunnerBench) -> None:
        """The stored log is a copy, made in pieces by agents that come and go.

        If this fails, check that a cursor means the same to every process, and that nothing is lost
        or repeated between two batches.
        """
        lines = tuple(f"line {number} {'.' * (number % 50)}" for number in range(200))
        handle = bench.start(Program(lines=lines))
        bench.end(handle)
        batches = bench.batches(handle, limit=500)
        whole = b"".join(data for _, data in batches)

        assert whole.decode().splitlines() == list(lines)
        assert len(batches) > 3
        for index, (cursor, _) in enumerate(batches):
            rest = b"".join(data for _, data in batches[index:])
            assert bench.log(handle, cursor, runner=bench.again(), limit=700) == rest

    def test_logs_of_a_running_run_are_there_and_open(self, bench: RunnerBench) -> None:
        """People follow a run while it runs: its first lines come at once, and are not all.

        If this fails, check buffering, and that ``end`` waits for the end of the run.
        """
        handle = bench.start(Program(lines=("first",), seconds=self.long))

        def look() -> bool | None:
            batch = bench.runner.logs(handle, None, 65536)
            assert not batch.end
            return True if b"first\n" in batch.data.replace(b"\r", b"") else None

        eventually("the first line", look, patience=self.patience)

    def test_standard_error_is_in_the_log(self, bench: RunnerBench) -> None:
        """Tracebacks go there.

        If this fails, check that both streams are collected.
        """
        handle = bench.start(Program(lines=("out",), errors=("err",)))
        bench.end(handle)

        assert {b"out", b"err"} <= set(bench.log(handle).splitlines())

    def test_logs_of_a_failed_run_are_kept(self, bench: RunnerBench) -> None:
        """Nobody reads a log as carefully as that of a failure.

        If this fails, check that a failure does not remove the object before its log is read.
        """
        handle = bench.start(Program(lines=("last words",), exit_code=1))
        bench.end(handle)

        assert b"last words" in bench.log(handle).splitlines()

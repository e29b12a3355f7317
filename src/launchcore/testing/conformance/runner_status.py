"""What a poll says. A part of the runner suite."""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec
import pytest

from launchcore.plugin import (
    Phase,
    RunHandle,
    RunStatus,
)
from launchcore.testing.conformance.bench import RunnerBench
from launchcore.testing.conformance.program import Program
from launchcore.testing.conformance.runner_suite import RunnerSuite
from launchcore.testing.conformance.suite import eventually

_RANK: Mapping[Phase, int] = {Phase.PENDING: 0, Phase.RUNNING: 1}


class RunnerStatuses(RunnerSuite):
    """What a poll says."""

    def test_status_goes_only_forward(self, bench: RunnerBench) -> None:
        """pending, running, ended; and an end never changes.

        If this fails, check the mapping of the backend's states, above all just after the end.
        """
        handle = bench.start(Program(seconds=0.3))
        seen: list[RunStatus] = []

        def look() -> bool | None:
            seen.append(bench.status(handle))
            return True if seen[-1].phase.final else None

        eventually("its end", look, patience=self.patience)
        seen += [bench.status(handle) for _ in range(3)]
        phases = [status.phase for status in seen if status.phase is not Phase.UNKNOWN]
        ranks = [_RANK.get(phase, 2) for phase in phases]

        assert ranks == sorted(ranks), phases
        ends = {(one.phase, one.exit_code, one.signal) for one in seen if one.phase.final}
        assert len(ends) == 1, ends

    @pytest.mark.parametrize("code", [0, 7])
    def test_the_exit_code_survives(self, bench: RunnerBench, code: int) -> None:
        """The exit code is the result; a restarted agent must see it too.

        If this fails, check where the exit code is kept once the process is gone.
        """
        handle = bench.start(Program(exit_code=code))
        status = bench.end(handle)

        assert status.phase is (Phase.FAILED if code else Phase.SUCCEEDED)
        assert (status.exit_code or 0, status.signal) == (code, None)
        assert bench.status(handle, bench.again()) == status

    def test_a_killed_run_has_a_signal_or_an_exit_code(self, bench: RunnerBench) -> None:
        """Not both: people read them as two different ends.

        If this fails, check how 128 + n is told apart from a signal.
        """
        status = bench.end(bench.start(Program(kills_itself=True)))

        assert status.phase is Phase.FAILED
        assert (status.exit_code is None) != (status.signal is None), status

    def test_an_end_has_its_times(self, bench: RunnerBench) -> None:
        """Durations are reported from them, in UNIX seconds.

        If this fails, check that started_at and finished_at are set, in this order, on the same clock.
        """
        status = bench.end(bench.start(Program(seconds=0.1)))

        assert status.started_at is not None
        assert status.finished_at is not None
        assert status.started_at <= status.finished_at
        assert abs(status.finished_at - time.time()) < 3600

    def test_poll_answers_for_every_handle(self, bench: RunnerBench) -> None:
        """One call for many; one odd handle does not spoil the answers for the others.

        If this fails, check that poll catches errors per handle, and answers by ``handle.key``.
        """
        done, runs = bench.start(Program()), bench.start(Program(seconds=self.long))
        bench.end(done)
        odd = RunHandle(runner=bench.spec.name, attempt_id="odd-1", data={})
        statuses = bench.runner.poll([odd, done, runs])

        assert set(statuses) == {odd.key, done.key, runs.key}
        assert statuses[done.key].phase is Phase.SUCCEEDED
        assert not statuses[runs.key].phase.final
        assert bench.runner.poll([]) == {}

    def test_what_is_not_there_has_not_failed(self, bench: RunnerBench) -> None:
        """ "Removed" and "could not see" are not results: only the backend's word is.

        If this fails, check that a missing object is GONE or UNKNOWN.
        """
        handle = bench.start(Program())
        ended = bench.end(handle)
        bench.runner.cleanup(handle)
        odd = RunHandle(runner=bench.spec.name, attempt_id="odd-1", data={})

        assert bench.status(odd, bench.again()).phase in (Phase.GONE, Phase.UNKNOWN)
        if bench.spec.keeps_records:
            assert bench.status(handle, bench.again()) == ended
        else:
            assert bench.status(handle, bench.again()).phase in (Phase.GONE, Phase.UNKNOWN)

    def test_a_handle_survives_json_and_a_fresh_process(self, bench: RunnerBench) -> None:
        """A handle is stored in the queue and used by whoever has the lease.

        If this fails, check that ``handle.data`` is plain JSON, and that nothing is kept in memory.
        """
        handle = bench.start(Program(lines=("hello",), seconds=0.2, exit_code=3))
        stored = msgspec.json.decode(msgspec.json.encode(handle), type=RunHandle)
        assert stored == handle
        status, log = bench.elsewhere(stored)

        assert (status.phase, status.exit_code) == (Phase.FAILED, 3)
        assert b"hello" in log.splitlines()

    def test_a_watch_pushes_the_end(self, bench: RunnerBench) -> None:
        """Whoever watches hears of an end without asking.

        If this fails, check that the watch covers what is started inside the block.
        """
        if not bench.spec.watches:
            pytest.skip("does not watch")
        pushed: list[tuple[str, Phase]] = []
        with bench.runner.watch(lambda handle, status: pushed.append((handle.key, status.phase))):
            handle = bench.start(Program(seconds=0.2))
            eventually(
                "the end to be pushed",
                lambda: True if (handle.key, Phase.SUCCEEDED) in pushed else None,
                patience=self.patience,
            )

"""Stopping, and cleaning up. A part of the runner suite."""

from __future__ import annotations

import attrs

from launchcore.plugin import (
    Phase,
    RunHandle,
)
from launchcore.testing.conformance.bench import RunnerBench
from launchcore.testing.conformance.program import Program
from launchcore.testing.conformance.runner_suite import RunnerSuite, owned
from launchcore.testing.conformance.suite import eventually


class RunnerEnds(RunnerSuite):
    """Stopping, and cleaning up."""

    def test_cancel_ends_the_run(self, bench: RunnerBench) -> None:
        """Asked to stop, it stops, and that is not a success.

        If this fails, check that the whole group is told, not a shell in front of it.
        """
        handle = bench.start(Program(seconds=self.long))
        bench.running(handle)
        bench.runner.cancel(handle, grace=5.0)

        assert bench.end(handle).phase is not Phase.SUCCEEDED

    def test_cancel_forces_what_does_not_listen(self, bench: RunnerBench) -> None:
        """After the grace nothing is asked any more.

        If this fails, check who forces the end when the agent has gone meanwhile.
        """
        handle = bench.start(Program(lines=("deaf now",), seconds=self.long, deaf=True))
        eventually(
            "it to be deaf",
            lambda: True if b"deaf now" in bench.runner.logs(handle, None, 1000).data else None,
            patience=self.patience,
        )
        bench.runner.cancel(handle, grace=0.2)

        assert bench.end(handle).phase is not Phase.SUCCEEDED

    def test_cancel_may_be_repeated(self, bench: RunnerBench) -> None:
        """Whoever has the lease cancels, again and again until it is over.

        If this fails, check that "not found" and "already stopping" are no errors.
        """
        handle = bench.start(Program(seconds=self.long))
        bench.runner.cancel(handle, grace=1.0)
        bench.again().cancel(handle, grace=1.0)
        bench.end(handle)
        bench.runner.cancel(handle, grace=1.0)

    def test_cancel_after_the_end_changes_nothing(self, bench: RunnerBench) -> None:
        """A cancel that comes too late is too late.

        If this fails, check that the end is kept, not asked anew.
        """
        handle = bench.start(Program(exit_code=4))
        before = bench.end(handle)
        bench.runner.cancel(handle, grace=0.0)

        assert bench.status(handle) == before

    def test_nothing_is_left_after_cleanup(self, bench: RunnerBench) -> None:
        """Orphans cost money: a bounded time after the end nothing with our label is left. (Where records are
        kept for good, what has ended is a record.)

        If this fails, check that cleanup removes by label, and ``owned`` lists what it would remove.
        """
        done, runs = bench.start(Program()), bench.start(Program(seconds=self.long))
        bench.end(done)
        left = [runs.attempt_id] if bench.spec.keeps_records else [done.attempt_id, runs.attempt_id]
        assert sorted(owned(bench)) == sorted(left)
        for handle in (done, runs, done):
            bench.runner.cleanup(handle)

        eventually(
            "nothing to be left", lambda: None if bench.again().owned() else True, patience=self.patience
        )
        if bench.spec.keeps_records:
            assert bench.end(runs).phase is Phase.FAILED
        assert bench.status(runs).phase in (Phase.GONE, Phase.UNKNOWN, Phase.FAILED)

    def test_owned_shows_only_this_owners(self, bench: RunnerBench) -> None:
        """Several agents share a backend; nobody sweeps what is another's.

        If this fails, check that ``owned`` filters by the owner's label.
        """
        handle = bench.start(Program(seconds=self.long))
        assert owned(bench) == [handle.attempt_id]
        mine = bench.site
        bench.site = attrs.evolve(mine, owner="somebody-else")
        if bench.spec.host_bound:
            # What is bound to this machine may as well be bound to the agent's own directory.
            (bench.root / "other").mkdir()
            bench.site = attrs.evolve(bench.site, state=bench.root / "other")

        theirs = list(bench.again().owned())
        bench.site = mine  # what was started is removed by whose it is
        assert theirs == []

    def test_cleanup_of_what_is_not_there_is_no_error(self, bench: RunnerBench) -> None:
        """Cleanup is repeated until it has been confirmed.

        If this fails, check that "not found" is no error.
        """
        odd = RunHandle(runner=bench.spec.name, attempt_id="odd-1", data={})
        bench.runner.cleanup(odd)
        bench.runner.cancel(odd, 0.0)

"""What the core relies on in every runner."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import attrs
import msgspec
import pytest

from launchcore.plugin import (
    Contribution,
    EnvVar,
    Kind,
    Label,
    LaunchError,
    Login,
    Phase,
    RunHandle,
    RunStatus,
    Secret,
    SecretFile,
    Volume,
)
from launchcore.testing.conformance import leaks
from launchcore.testing.conformance.bench import RunnerBench
from launchcore.testing.conformance.program import Program
from launchcore.testing.conformance.suite import Suite, eventually, undocumented

_RANK: Mapping[Phase, int] = {Phase.PENDING: 0, Phase.RUNNING: 1}


class RunnerConformance(Suite):
    """Subclass it, set ``plugin`` and ``name``, and override what is different for your runner."""

    plugin: ClassVar[str]
    """The plugin's module, as its entry point names it."""
    name: ClassVar[str]
    """The runner's name."""
    settings: ClassVar[Mapping[str, Any]] = {}
    """The agent's settings: ``plugins.<name>``."""
    config: ClassVar[Mapping[str, Any]] = {}
    """A queue's target configuration."""
    image: ClassVar[str] = "busybox:stable"
    """For runners that need one: an image with a POSIX shell."""
    patience: ClassVar[float] = 30.0
    """Seconds that anything may take: raise it for a slow backend."""
    long: ClassVar[float] = 300.0
    """Seconds of a program that is still running when it is looked at."""

    def command(self, program: Program) -> Sequence[str]:
        """How this runner is told to do what ``program`` does. Most execute shell commands."""
        return program.shell()

    def labels_of(self, bench: RunnerBench, handle: RunHandle) -> Mapping[str, str]:
        """The labels on what was started, asked from the backend. For runners that apply LABEL."""
        raise NotImplementedError(f"{self.name} applies labels: override labels_of")

    def logins_of(self, bench: RunnerBench, handle: RunHandle) -> Sequence[str]:
        """The registry hosts that what was started can log in to. For runners that apply LOGIN."""
        raise NotImplementedError(f"{self.name} applies logins: override logins_of")

    def volumes_of(self, bench: RunnerBench, handle: RunHandle) -> Mapping[str, str]:
        """Mount path → source of what was started. For runners that apply VOLUME."""
        raise NotImplementedError(f"{self.name} applies volumes: override volumes_of")

    def make_bench(self, root: Path) -> RunnerBench:
        return RunnerBench(
            root,
            plugin=self.plugin,
            name=self.name,
            command=self.command,
            settings=self.settings,
            config=self.config,
            image=self.image,
            patience=self.patience,
        )

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[RunnerBench]:
        made = self.make_bench(tmp_path)
        yield made
        made.close()

    # -- the descriptor ------------------------------------------------------------------------

    def test_every_setting_is_documented(self, bench: RunnerBench) -> None:
        """Help is all that a user reads of a setting.

        If this fails, check that every field is made with ``setting("…")``.
        """
        assert [*undocumented(bench.spec.settings), *undocumented(bench.spec.config)] == []

    # -- start and find ------------------------------------------------------------------------

    def test_prepare_starts_nothing(self, bench: RunnerBench) -> None:
        """Preparing may be repeated and abandoned, so nothing may run because of it.

        If this fails, check that prepare makes nothing that carries the attempt's label.
        """
        plan = bench.plan(Program())
        for _ in range(2):
            bench.runner.prepare(plan, bench.given(), bench.context)

        assert plan.attempt_id not in _owned(bench)

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
        assert _owned(bench).count(plan.attempt_id) == len(_owned(bench)) == 1
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
        assert len(_owned(bench)) == 1
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

        assert plan.attempt_id not in _owned(bench)

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
        assert len(_owned(bench)) == 1

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

        assert _owned(bench) == []

    # -- status --------------------------------------------------------------------------------

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
        bench.end(handle)
        bench.runner.cleanup(handle)
        odd = RunHandle(runner=bench.spec.name, attempt_id="odd-1", data={})

        for one in (handle, odd):
            assert bench.status(one, bench.again()).phase in (Phase.GONE, Phase.UNKNOWN)

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

    # -- logs ----------------------------------------------------------------------------------

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

    # -- what reaches the run ------------------------------------------------------------------

    def test_the_plans_environment_reaches_the_run(self, bench: RunnerBench) -> None:
        """Variables of queue and run, with every character.

        If this fails, check quoting.
        """
        value = "a b'c\"d$e\\f=g%h*é"
        assert self._shown(bench, Program(show_env=("PLAIN",)), env={"PLAIN": value}) == [f"PLAIN={value}"]

    def test_contributed_variables_reach_the_run(self, bench: RunnerBench) -> None:
        """Plain and secret ones alike.

        If this fails, check that ``given.env`` is applied, and that a Secret is revealed for it.
        """
        _needs(bench, Kind.ENV)
        program = Program(show_env=("PLAIN", "HIDDEN"))
        given = (EnvVar(name="PLAIN", value="one"), EnvVar(name="HIDDEN", value=Secret("two")))

        assert self._shown(bench, program, *given) == ["PLAIN=one", "HIDDEN=two"]

    def test_contributed_files_reach_the_run(self, bench: RunnerBench) -> None:
        """The runner picks the path, and names it in the variable that was asked for.

        If this fails, check that ``path_env`` is set to where the file is as the run sees it.
        """
        _needs(bench, Kind.FILE)
        file = SecretFile(name="token.txt", content=Secret("in the file"), path_env="TOKEN_PATH")

        assert self._shown(bench, Program(show_files=("TOKEN_PATH",)), file) == ["in the file"]

    def test_a_secret_file_is_gone_after_cleanup(self, bench: RunnerBench) -> None:
        """What was lent for a run is taken back.

        If this fails, check that cleanup removes files, also when the run has failed.
        """
        _needs(bench, Kind.FILE)
        file = SecretFile(name="token.txt", content=Secret("in the file"), path_env="TOKEN_PATH")
        handle = bench.start(Program(show_env=("TOKEN_PATH",)), file)
        bench.end(handle)
        path = bench.log(handle).decode().strip().partition("=")[2]
        bench.runner.cleanup(handle)

        assert path
        assert not Path(path).exists()

    def test_labels_reach_the_run(self, bench: RunnerBench) -> None:
        """By its labels an object is found, accounted for and removed.

        If this fails, check that the plan's labels and the contributed ones are on the object.
        """
        _needs(bench, Kind.LABEL)
        plan = bench.plan(Program(seconds=self.long))
        handle = bench.start(plan, Label(name="cost-centre", value="ml-42"))
        labels = self.labels_of(bench, handle)

        assert {**labels, **plan.labels, "cost-centre": "ml-42"} == dict(labels)

    def test_logins_reach_the_run(self, bench: RunnerBench) -> None:
        """Without them the image cannot be pulled.

        If this fails, check that ``given.logins`` becomes what the backend pulls with.
        """
        _needs(bench, Kind.LOGIN)
        login = Login(host="registry.invalid", username="u", password=Secret("p"))
        handle = bench.start(Program(seconds=self.long), login)

        assert "registry.invalid" in self.logins_of(bench, handle)

    def test_volumes_reach_the_run(self, bench: RunnerBench, tmp_path: Path) -> None:
        """A queue's owner asked for it.

        If this fails, check that ``given.volumes`` is mounted.
        """
        _needs(bench, Kind.VOLUME)
        volume = Volume(source=str(tmp_path), path="/data")
        handle = bench.start(Program(seconds=self.long), volume)

        assert self.volumes_of(bench, handle).get("/data") == str(tmp_path)

    # -- the end -------------------------------------------------------------------------------

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
        """Orphans cost money: a bounded time after the end nothing with our label is left.

        If this fails, check that cleanup removes by label, and ``owned`` lists what it would remove.
        """
        done, runs = bench.start(Program()), bench.start(Program(seconds=self.long))
        bench.end(done)
        assert sorted(_owned(bench)) == sorted([done.attempt_id, runs.attempt_id])
        for handle in (done, runs, done):
            bench.runner.cleanup(handle)

        eventually(
            "nothing to be left", lambda: None if bench.again().owned() else True, patience=self.patience
        )
        assert bench.status(runs).phase in (Phase.GONE, Phase.UNKNOWN, Phase.FAILED)

    def test_owned_shows_only_this_owners(self, bench: RunnerBench) -> None:
        """Several agents share a backend; nobody sweeps what is another's.

        If this fails, check that ``owned`` filters by the owner's label.
        """
        handle = bench.start(Program(seconds=self.long))
        assert _owned(bench) == [handle.attempt_id]
        bench.site = attrs.evolve(bench.site, owner="somebody-else")
        if bench.spec.host_bound:
            # What is bound to this machine may as well be bound to the agent's own directory.
            (bench.root / "other").mkdir()
            bench.site = attrs.evolve(bench.site, state=bench.root / "other")

        assert list(bench.again().owned()) == []

    def test_cleanup_of_what_is_not_there_is_no_error(self, bench: RunnerBench) -> None:
        """Cleanup is repeated until it has been confirmed.

        If this fails, check that "not found" is no error.
        """
        odd = RunHandle(runner=bench.spec.name, attempt_id="odd-1", data={})
        bench.runner.cleanup(odd)
        bench.runner.cancel(odd, 0.0)

    # -- secrets -------------------------------------------------------------------------------

    def test_secrets_show_nowhere(self, bench: RunnerBench) -> None:
        """Not in a log of ours, a handle, a status, a label, an error, a file of state, or an argv.

        If this fails, check what the text says where it was found: reveal a Secret only where it
        leaves for the run.
        """
        canary = f"canary-{uuid.uuid4().hex}"
        secret = Secret(canary)
        contributions: list[Contribution] = []
        if Kind.ENV in bench.spec.applies:
            contributions.append(EnvVar(name="CANARY", value=secret))
        if Kind.FILE in bench.spec.applies:
            contributions.append(SecretFile(name="canary", content=secret, path_env="CANARY_PATH"))
        if Kind.LOGIN in bench.spec.applies:
            contributions.append(Login(host="registry.invalid", username="u", password=secret))
        with leaks.Records() as records:
            plan = bench.plan(Program(lines=("quiet",), seconds=self.long))
            handle = bench.start(plan, *contributions)
            bench.running(handle)
            late = bench.plan(Program(), start_before=time.time() - 1)
            texts = {
                "the handle": msgspec.json.encode(handle).decode(),
                "the status": repr(bench.status(handle)),
                "what is owned": repr(bench.runner.owned()),
                "the runner's repr": f"{bench.runner!r} {bench.runner}",
                "the run's log": bench.runner.logs(handle, None, 65536).data.decode(errors="replace"),
                "the stage's log": "\n".join(bench.context.lines),
                "an error": leaks.error_of(lambda: bench.start(late, *contributions)),
                "files of state": leaks.in_files(bench.site.state, bench.site.cache, text=canary),
                "the arguments of a process": leaks.in_arguments(canary),
            }
            if Kind.LABEL in bench.spec.applies:
                texts["a label"] = repr(self.labels_of(bench, handle))
            bench.runner.cancel(handle, 0.0)
            bench.end(handle)
            bench.runner.cleanup(handle)
        texts["a log of ours"] = records.text()

        assert [where for where, text in texts.items() if canary in text] == []

    # -- inside --------------------------------------------------------------------------------

    def _shown(
        self, bench: RunnerBench, program: Program, *contributions: Contribution, **changes: Any
    ) -> list[str]:
        handle = bench.start(bench.plan(program, **changes), *contributions)
        bench.end(handle)
        return [line for line in bench.log(handle).decode().splitlines() if line]


def _owned(bench: RunnerBench) -> list[str]:
    return [handle.attempt_id for handle in bench.again().owned()]


def _needs(bench: RunnerBench, kind: Kind) -> None:
    if kind not in bench.spec.applies:
        pytest.skip(f"{bench.spec.name} does not apply {kind.value}")

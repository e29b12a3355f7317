"""Every way in which a run can end is told apart."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launchcore.builtin.process.settings import ProcessConfig, Python
from launchcore.plugin import Fault, LaunchError, Limits, Phase, Reason
from tests.process.kit import Bench, eventually, number_in


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One keeper for all: these tests do not care."""
    made = Bench(tmp_path_factory.mktemp("ends"))
    yield made
    made.close()


def test_a_command_that_succeeds(bench: Bench) -> None:
    handle = bench.start(bench.shell("echo out; echo err >&2"))
    status = bench.ended(handle)

    assert status.phase is Phase.SUCCEEDED
    assert (status.exit_code, status.signal, status.failure) == (0, None, None)
    assert status.started_at is not None
    assert status.finished_at is not None
    assert status.started_at <= status.finished_at
    assert status.usage["max_memory_bytes"] > 0
    assert "cpu_seconds" in status.usage
    assert bench.log(handle) == "out\nerr\n"


@pytest.mark.parametrize("code", [1, 3, 126, 127, 137, 255])
def test_exit_codes(bench: Bench, code: int) -> None:
    status = bench.run(bench.shell(f"exit {code}"))

    assert (status.phase, status.exit_code, status.signal) == (Phase.FAILED, code, None)
    assert status.failure is not None
    assert status.failure.reason is Reason.USER_ERROR


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_signals_that_we_did_not_send(bench: Bench, number: signal.Signals) -> None:
    status = bench.run(bench.shell(f"kill -{number.value} $$"))

    assert (status.phase, status.exit_code, status.signal) == (Phase.FAILED, None, number.value)
    assert status.failure is not None
    assert status.failure.reason is Reason.USER_ERROR
    assert number.name in status.failure.detail


def test_a_time_limit(bench: Bench) -> None:
    plan = bench.shell("sleep 100", limits=Limits(run_seconds=0.2, grace_seconds=5.0))
    status = bench.run(plan)

    assert (status.phase, status.signal) == (Phase.FAILED, signal.SIGTERM)
    assert status.failure is not None
    assert status.failure.reason is Reason.RUN_TIMEOUT
    assert "0.2 seconds" in status.failure.detail


def test_a_time_limit_for_a_job_that_does_not_listen(bench: Bench) -> None:
    plan = bench.shell(
        "trap '' TERM; while :; do sleep 0.05; done", limits=Limits(run_seconds=0.2, grace_seconds=0.2)
    )
    status = bench.run(plan)

    assert status.signal == signal.SIGKILL
    assert status.failure is not None
    assert status.failure.reason is Reason.RUN_TIMEOUT
    assert bench.marked(plan.attempt_id) == []


def test_cancel_asks_first(bench: Bench, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    handle = bench.start(
        bench.shell(f"trap 'echo bye; exit 7' TERM; echo $$ >{ready}; while :; do sleep 0.01; done")
    )
    number_in(ready)
    bench.runner.cancel(handle, 10.0)
    bench.runner.cancel(handle, 10.0)
    status = bench.ended(handle)

    assert status.exit_code == 7
    assert status.failure is not None
    assert status.failure.reason is Reason.CANCELLED
    assert bench.log(handle).endswith("bye\n")
    bench.runner.cancel(handle, 1.0)  # after the end: nothing
    assert bench.status(handle) == status


def test_cancel_forces_after_the_grace(bench: Bench, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    handle = bench.start(bench.shell(f"trap '' TERM; echo $$ >{ready}; while :; do sleep 0.01; done"))
    number_in(ready)
    bench.runner.cancel(handle, 60.0)
    bench.runner.cancel(handle, 0.1)  # a shorter grace counts
    status = bench.ended(handle)

    assert status.signal == signal.SIGKILL
    assert bench.marked(handle.attempt_id) == []


def test_cancel_of_a_stopped_process(bench: Bench, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    handle = bench.start(bench.shell(f"echo $$ >{ready}; kill -STOP $$; sleep 100"))
    number_in(ready)
    bench.runner.cancel(handle, 20.0)

    assert bench.ended(handle, seconds=15.0).signal == signal.SIGTERM


def test_a_command_that_does_not_exist(bench: Bench) -> None:
    plan = bench.plan("no-such-command-xyz", "--help")
    with pytest.raises(LaunchError) as caught:
        bench.start(plan)

    assert caught.value.detail == "command not found: no-such-command-xyz"
    assert (caught.value.reason, caught.value.fault) == (Reason.USER_ERROR, Fault.USER)
    assert plan.attempt_id not in {handle.attempt_id for handle in bench.runner.owned()}


@pytest.mark.parametrize(
    ("command", "detail", "hint"),
    [
        ("train.py", "command not found: train.py", "python train.py"),
        ("./trian.py", "command not found: ./trian.py", "train.py"),
        ("./train.py", "not executable: ./train.py", "chmod +x"),
        ("./data", "not a command: ./data is a directory", None),
        ("./windows.sh", r"#!/bin/sh\r", "Windows"),
        ("./plain", "no script with a first line", None),
        ("pythonn", "command not found: pythonn", "python"),
        ("echo hello", "command not found: echo hello", "separate words"),
    ],
)
def test_commands_that_cannot_be_executed(bench: Bench, command: str, detail: str, hint: str | None) -> None:
    tree = bench.tree(
        {"train.py": "print(1)\n", "data/x": "", "windows.sh": "#!/bin/sh\r\necho\r\n", "plain": "echo hi\n"}
    )
    (tree.path / "plain").chmod(0o755)
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    with pytest.raises(LaunchError) as caught:
        bench.start(bench.plan(command, tree=tree, env=env))

    assert detail in caught.value.detail
    assert caught.value.reason is Reason.USER_ERROR
    assert "\n" not in caught.value.detail
    if hint:
        assert hint in (caught.value.hint or "")


def test_arguments_that_are_too_long(bench: Bench) -> None:
    with pytest.raises(LaunchError, match="too long together"):
        bench.start(bench.plan("/bin/echo", "x" * 200_000))


def test_arguments_that_no_process_can_have(bench: Bench) -> None:
    plan = bench.plan("/bin/echo", "a\0b")
    with pytest.raises(LaunchError) as caught:
        bench.start(plan)

    assert caught.value.reason is Reason.USER_ERROR
    assert plan.attempt_id not in {handle.attempt_id for handle in bench.runner.owned()}


def test_no_command(bench: Bench) -> None:
    with pytest.raises(LaunchError, match="no command"):
        bench.start(bench.plan())


def test_a_source_that_is_gone(bench: Bench) -> None:
    tree = bench.tree(name="soon-gone")
    tree.path.rmdir()
    for settings in (ProcessConfig(python=Python.NONE), ProcessConfig()):
        with pytest.raises(LaunchError) as caught:
            bench.start(bench.plan("/bin/true", tree=tree, settings=settings))

        assert caught.value.reason is Reason.INFRASTRUCTURE


def test_scripts_of_the_tree_run_in_the_tree(bench: Bench) -> None:
    tree = bench.tree({"bin/go.sh": "#!/bin/sh\npwd; umask; cat; echo end\n"})
    handle = bench.start(bench.plan("bin/go.sh", tree=tree))
    bench.ended(handle)

    assert bench.log(handle) == f"{tree.path.resolve()}\n0022\nend\n"


def test_no_tree_means_the_scratch_directory(bench: Bench) -> None:
    plan = bench.plan("pwd", tree=None)
    handle = bench.start(plan)
    bench.ended(handle)

    assert bench.log(handle) == f"{plan.scratch.resolve()}\n"


def test_a_fresh_session_with_default_signals(bench: Bench) -> None:
    script = """
import os, signal
print(os.getsid(0) == os.getpgid(0) == os.getpid())
print(signal.pthread_sigmask(signal.SIG_BLOCK, []))
print(sorted(os.listdir('/proc/self/fd')), flush=True)
os.execv('/bin/grep', ['grep', 'SigIgn', '/proc/self/status'])
"""
    tree = bench.tree({"look.py": script}, name="session")
    handle = bench.start(bench.plan(sys.executable, "look.py", tree=tree))
    bench.ended(handle)

    own, mask, descriptors, ignored = bench.log(handle).splitlines()
    assert (own, mask) == ("True", "set()")
    assert descriptors == "['0', '1', '2', '3']"  # 3: of the listing itself
    others = {signal.SIGPIPE, signal.SIGXFSZ, 32, 33}  # Python ignores two itself; two are the C library's
    assert {n for n in range(1, 65) if int(ignored.split()[1], 16) >> (n - 1) & 1} <= others


def test_lower_priority(bench: Bench) -> None:
    import attrs

    plan = bench.shell("sleep 0.1; nice")
    plan = attrs.evolve(plan, settings=attrs.evolve(plan.settings, nice=7))
    handle = bench.start(plan)
    bench.ended(handle)

    assert int(bench.log(handle)) == min(os.nice(0) + 7, 19)


def test_the_job_kills_its_whole_group_itself(bench: Bench) -> None:
    plan = bench.shell("sleep 100 & kill -9 0")

    assert bench.run(plan).signal == signal.SIGKILL
    eventually(lambda: bench.marked(plan.attempt_id) == [])

"""Runs outlive the agent and the keeper, and nothing that is known of them is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from launchcore.builtin.process import procfs
from launchcore.builtin.process.records import Place
from launchcore.plugin import LaunchError, Limits, Phase, Reason, RunHandle
from tests.process.kit import NOTHING, Bench, alive, eventually, number_in


def test_another_runner_object_adopts(bench: Bench, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    handle = bench.start(bench.shell(f"until [ -e {gate} ]; do sleep 0.01; done; echo done; exit 4"))
    stored = msgspec.json.decode(msgspec.json.encode(handle), type=RunHandle)
    other = bench.another()

    assert other.find(handle.attempt_id) == handle
    assert other.poll([stored])[stored.key].phase is Phase.RUNNING
    gate.touch()
    bench.runner = other
    assert bench.ended(stored).exit_code == 4
    assert bench.log(stored) == "done\n"


AGENT = """
import os, signal, sys, time
from pathlib import Path
from tests.process.kit import Bench
bench = Bench(Path(sys.argv[1]))
handle = bench.start(bench.shell(sys.argv[2], attempt="r1-1"))
Path(sys.argv[1], "handle").write_text(str(handle.data["pid"]))
time.sleep(600)
"""


def test_the_agent_is_killed_with_its_whole_group(bench: Bench, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f"until [ -e {gate} ]; do sleep 0.01; done; echo survived; exit 5"
    agent = subprocess.Popen([sys.executable, "-c", AGENT, str(tmp_path), script], start_new_session=True)
    pid = number_in(tmp_path / "handle")
    os.killpg(agent.pid, signal.SIGKILL)
    agent.wait()

    assert alive(pid)
    handle = bench.runner.find("r1-1")
    assert handle is not None
    gate.touch()
    assert bench.ended(handle).exit_code == 5
    assert bench.log(handle) == "survived\n"


def test_a_deadline_holds_with_no_agent_alive(bench: Bench, tmp_path: Path) -> None:
    plan = bench.shell("sleep 100", limits=Limits(run_seconds=0.5, grace_seconds=1.0))
    handle = bench.start(plan)
    pid = handle.data["pid"]
    del bench.runner

    eventually(lambda: not alive(pid))
    place = Place(bench.keeper_root, plan.attempt_id)
    eventually(place.has_ended)
    bench.runner = bench.another()
    failure = bench.status(handle).failure
    assert failure is not None
    assert failure.reason is Reason.RUN_TIMEOUT


def test_a_cancelled_run_is_forced_with_no_agent_alive(bench: Bench, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    handle = bench.start(bench.shell(f"trap '' TERM; echo $$ >{ready}; while :; do sleep 0.01; done"))
    pid = number_in(ready)
    bench.runner.cancel(handle, 0.3)
    del bench.runner

    eventually(lambda: not alive(pid))
    bench.runner = bench.another()
    assert bench.ended(handle).signal == signal.SIGKILL


def test_the_keeper_is_killed_and_no_exit_code_is_lost(bench: Bench, tmp_path: Path) -> None:
    """The nanny is the parent now: it notes how runs end, before and after a new keeper watches."""
    gates = [tmp_path / f"gate{number}" for number in range(3)]
    handles = [
        bench.start(bench.shell(f"until [ -e {gate} ]; do sleep 0.01; done; echo out; exit {number + 10}"))
        for number, gate in enumerate(gates)
    ]
    first = bench.keeper()
    os.kill(first, signal.SIGSTOP)
    os.kill(first, signal.SIGKILL)
    gates[0].touch()  # as near to the keeper's death as it gets
    eventually(lambda: not alive(first))
    assert all(alive(handle.data["pid"]) for handle in handles[1:])
    gates[1].touch()
    assert bench.ended(handles[0]).exit_code == 10
    assert bench.ended(handles[1]).exit_code == 11
    assert bench.keeper() != first

    bench.kill_keeper()  # again: the nanny makes as many as it takes
    assert bench.status(handles[2]).phase is Phase.RUNNING
    gates[2].touch()
    assert bench.ended(handles[2]).exit_code == 12
    assert bench.status(handles[2]).usage["max_memory_bytes"] > 0
    assert bench.log(handles[2]) == "out\n"


def test_many_connections_to_a_killed_keeper(bench: Bench) -> None:
    import threading

    handles = [bench.start(bench.shell("sleep 100")) for _ in range(2)]
    threads = [threading.Thread(target=bench.runner.poll, args=(handles,)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bench.kill_keeper()

    assert bench.status(handles[0]).phase is Phase.RUNNING
    bench.runner.cancel(handles[0], 1.0)


@pytest.mark.slow
def test_a_new_keeper_still_enforces_everything(bench: Bench, tmp_path: Path) -> None:
    ready = [tmp_path / "a", tmp_path / "b"]
    scripts = [f"trap '' TERM; echo $$ >{path}; while :; do sleep 0.01; done" for path in ready]
    limited = bench.start(bench.shell(scripts[0], limits=Limits(run_seconds=1.0, grace_seconds=0.2)))
    cancelled = bench.start(bench.shell(scripts[1]))
    for path in ready:
        number_in(path)
    bench.kill_keeper()
    bench.runner.cancel(cancelled, 0.2)

    statuses = [bench.ended(limited), bench.ended(cancelled)]
    assert [status.signal for status in statuses] == [signal.SIGKILL, signal.SIGKILL]
    assert [status.failure and status.failure.reason for status in statuses] == [
        Reason.RUN_TIMEOUT,
        Reason.CANCELLED,
    ]


def test_keeper_and_nanny_are_both_killed(bench: Bench, tmp_path: Path) -> None:
    """Then nobody can know how it ended, and that is what is said: lost, not failed by its own fault."""
    gate = tmp_path / "gate"
    handle = bench.start(bench.shell(f"until [ -e {gate} ]; do sleep 0.01; done; exit 3"))
    pids = bench.keepers()
    assert len(pids) == 2
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(map(alive, pids)))

    assert bench.status(handle).phase is Phase.RUNNING
    assert alive(handle.data["pid"])
    gate.touch()
    status = bench.ended(handle)
    assert status.phase is Phase.FAILED
    assert (status.exit_code, status.signal) == (None, None)
    assert status.failure is not None
    assert status.failure.reason is Reason.LOST
    assert "nobody saw" in status.failure.detail


@pytest.mark.slow
def test_it_ended_while_nobody_watched(bench: Bench, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    handle = bench.start(bench.shell(f"until [ -e {gate} ]; do sleep 0.01; done"))
    for pid in bench.keepers():
        os.kill(pid, signal.SIGKILL)
    gate.touch()
    eventually(lambda: not alive(handle.data["pid"]))

    status = bench.ended(handle)
    assert status.failure is not None
    assert status.failure.reason is Reason.LOST


def test_after_a_restart_of_the_machine(bench: Bench) -> None:
    """Another boot: the pid is somebody else's now, and is left alone."""
    handle = bench.start(bench.shell("sleep 100"))
    place = Place(bench.keeper_root, handle.attempt_id)
    for pid in bench.keepers():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(map(alive, bench.keepers())))
    record = place.read()
    assert record is not None
    started = record["started"]
    place.begin({**started, "boot": "another"})

    status = bench.ended(handle)
    assert status.failure is not None
    assert status.failure.reason is Reason.LOST
    assert "restarted" in status.failure.detail
    assert alive(handle.data["pid"])
    os.kill(handle.data["pid"], signal.SIGKILL)


def _ticks() -> int:
    """The start that a process would have now."""
    with subprocess.Popen(["sleep", "100"]) as probe:
        found = procfs.look(probe.pid)
        probe.kill()
    assert found is not None
    return found.start


@pytest.mark.slow
def test_a_reused_pid_is_left_alone(bench: Bench) -> None:
    """The record's pid is another process's, which started at another time."""
    handle = bench.start(bench.shell("sleep 100"))
    place = Place(bench.keeper_root, handle.attempt_id)
    for pid in bench.keepers():
        os.kill(pid, signal.SIGKILL)
    record = place.read()
    assert record is not None
    started = record["started"]
    os.kill(started["pid"], signal.SIGKILL)
    eventually(lambda: _ticks() > started["start"])  # the kernel counts in hundredths of a second
    with subprocess.Popen(["sleep", "100"]) as bystander:
        place.begin({**started, "pid": bystander.pid})
        status = bench.ended(handle)
        bench.runner.cancel(handle, 0.0)
        bench.runner.cleanup(handle)

        assert status.failure is not None
        assert status.failure.reason is Reason.LOST
        assert bystander.poll() is None
        bystander.kill()


@pytest.mark.slow
def test_killed_between_making_the_process_and_writing_its_pid(bench: Bench, tmp_path: Path) -> None:
    """The record was there before the process; the process is found by its marks."""
    ran = tmp_path / "ran"
    gate = tmp_path / "gate"
    plan = bench.shell(f"echo x >>{ran}; until [ -e {gate} ]; do sleep 0.01; done; exit 9")
    handle = bench.start(plan)
    eventually(ran.exists)
    bench_pids = bench.keepers()
    os.kill(bench_pids[0], signal.SIGKILL)
    os.kill(bench_pids[1], signal.SIGKILL)
    place = Place(bench.keeper_root, handle.attempt_id)
    record = place.read()
    assert record is not None
    started = record["started"]
    place.begin({**started, "pid": 0, "start": 0})

    again = bench.start(plan)
    assert again.data["pid"] == handle.data["pid"]
    assert bench.status(again).phase is Phase.RUNNING
    gate.touch()
    assert bench.ended(again).failure is not None
    assert ran.read_text() == "x\n"


@pytest.mark.slow
def test_killed_before_the_pid_was_written_and_the_process_is_gone(bench: Bench) -> None:
    """It may have run, so it does not run again: lost."""
    plan = bench.shell("true")
    handle = bench.start(plan)
    bench.ended(handle)
    for pid in bench.keepers():
        os.kill(pid, signal.SIGKILL)
    place = Place(bench.keeper_root, handle.attempt_id)
    record = place.read()
    assert record is not None
    started = record["started"]
    place.begin({**started, "pid": 0, "start": 0})

    bench.start(plan)
    status = bench.ended(handle)
    assert status.failure is not None
    assert status.failure.reason is Reason.LOST


def test_a_record_that_was_never_whole_means_that_nothing_ran(bench: Bench) -> None:
    place = Place(bench.keeper_root, "r1-1")
    place.record.parent.mkdir(parents=True)
    place.record.write_text('\n{"started": {"attempt": "r1-1", "pi')

    assert bench.runner.owned() == []
    assert bench.run(bench.shell("exit 6", attempt="r1-1")).exit_code == 6


def test_a_stale_socket_and_an_old_lock_file(bench: Bench) -> None:
    import socket

    bench.keeper_root.mkdir(parents=True, exist_ok=True)
    os.chdir(bench.keeper_root)
    with socket.socket(socket.AF_UNIX) as old:
        old.bind("keeper.sock")
    os.chdir("/")
    (bench.keeper_root / "keeper.lock").write_text("12345\n")

    assert bench.run(bench.shell("exit 0")).phase is Phase.SUCCEEDED


def test_the_socket_of_a_living_keeper_is_removed(bench: Bench) -> None:
    bench.runner = bench.another(idle_seconds=0.2)
    handle = bench.start(bench.shell("sleep 100"))
    bench.runner = bench.another(idle_seconds=0.2)  # without open connections
    (bench.keeper_root / "keeper.sock").unlink()

    eventually((bench.keeper_root / "keeper.sock").exists)
    assert bench.status(handle).phase is Phase.RUNNING
    assert len(bench.keepers()) == 2


@pytest.mark.slow
def test_many_runners_start_one_keeper(bench: Bench) -> None:
    import threading

    runners = [bench.another() for _ in range(8)]
    plans = [bench.shell("sleep 100") for _ in runners]
    threads = [
        threading.Thread(target=runner.start, args=(plan, NOTHING))
        for runner, plan in zip(runners, plans, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    eventually(lambda: len(bench.keepers()) == 2)
    assert len(bench.runner.owned()) == 8


def test_a_very_long_directory(tmp_path: Path) -> None:
    bench = Bench(tmp_path / ("d" * 100) / ("e" * 100))
    try:
        assert bench.run(bench.shell("exit 2")).exit_code == 2
    finally:
        bench.close()


def test_an_idle_keeper_ends_and_its_records_stay(bench: Bench) -> None:
    bench.runner = bench.another(idle_seconds=0.1)
    handle = bench.start(bench.shell("exit 8"))
    bench.ended(handle)
    bench.runner = bench.another(idle_seconds=0.1)  # the old one's connections are closed with it
    eventually(lambda: bench.keepers() == [])

    assert bench.status(handle).exit_code == 8
    assert bench.keepers() == []  # the records were enough
    assert not (bench.keeper_root / "keeper.sock").exists()
    assert [each.attempt_id for each in bench.runner.owned()] == [handle.attempt_id]


def test_a_keeper_whose_directory_is_deleted_ends(bench: Bench) -> None:
    import shutil

    bench.runner = bench.another(idle_seconds=0.1)
    bench.run(bench.shell("true"))
    shutil.rmtree(bench.keeper_root)
    eventually(lambda: bench.keepers() == [])


def test_runs_whose_records_were_deleted_are_still_ours(bench: Bench) -> None:
    import shutil

    handle = bench.start(bench.shell("sleep 100"))
    for pid in bench.keepers():
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(bench.keeper_root)
    bench.runner = bench.another()

    assert [each.attempt_id for each in bench.runner.owned()] == [handle.attempt_id]
    assert bench.status(handle).phase is Phase.GONE
    bench.runner.cleanup(handle)
    eventually(lambda: not alive(handle.data["pid"]))
    assert bench.runner.owned() == []


def test_the_keeper_has_no_secrets_of_the_agent(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_TOKEN", "canary-of-the-agent")
    bench.run(bench.shell("true"))

    for pid in bench.keepers():
        assert b"canary-of-the-agent" not in procfs.environment(pid)


def test_a_keeper_that_cannot_be_started(bench: Bench) -> None:
    bench.keeper_root.rmdir()
    bench.keeper_root.parent.rmdir()
    bench.keeper_root.parent.write_text("a file where a directory has to be")

    with pytest.raises(LaunchError) as caught:
        bench.start(bench.shell("true"))
    assert caught.value.reason is Reason.INFRASTRUCTURE
    assert "keeper" in caught.value.detail
    handle = RunHandle(runner="process", attempt_id="r1-1")
    bench.keeper_root.parent.unlink()
    assert bench.status(handle).phase is Phase.GONE


def test_a_stopped_keeper_is_not_a_failed_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from launchcore.builtin.process import client

    handle = bench.start(bench.shell("sleep 100"))
    keeper = bench.keeper()
    monkeypatch.setattr(client, "ANSWER_SECONDS", 1.0)
    bench.runner = bench.another()
    os.kill(keeper, signal.SIGSTOP)
    try:
        assert bench.status(handle).phase is Phase.UNKNOWN
    finally:
        os.kill(keeper, signal.SIGCONT)
    assert bench.status(handle).phase is Phase.RUNNING


@pytest.mark.slow
def test_a_start_that_nobody_answers_does_not_happen_later(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever gave up waiting has told the queue that nothing runs."""
    from launchcore.builtin.process import client, runner

    ran = tmp_path / "ran"
    bench.run(bench.shell("true"))
    keeper = bench.keeper()
    for module in (client, runner):
        monkeypatch.setattr(module, "ANSWER_SECONDS", 1.0)
    bench.runner = bench.another()
    plan = bench.shell(f"echo x >>{ran}")
    os.kill(keeper, signal.SIGSTOP)
    try:
        with pytest.raises(LaunchError) as caught:
            bench.start(plan)
        assert "does not answer" in caught.value.detail
    finally:
        os.kill(keeper, signal.SIGCONT)
    assert bench.runner.find(plan.attempt_id) is None
    assert not ran.exists()


def test_records_hold_no_environment(bench: Bench) -> None:
    plan = bench.shell("true", env={"TOKEN": "canary-in-clear"})
    bench.run(plan)
    place = Place(bench.keeper_root, plan.attempt_id)

    for file in bench.keeper_root.rglob("*"):
        assert not file.is_file() or "canary-in-clear" not in file.read_text()
    record = place.read()
    assert record is not None
    assert record["started"]["argv"] == ["/bin/sh", "-c", "true"]
    assert abs(record["started"]["started_at"] - time.time()) < 600

"""Nothing that a run has started is left when it is over."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from launchcore.builtin.process import procfs
from launchcore.plugin import Limits, Phase
from tests.process.kit import Bench, alive, cmdline, eventually, number_in

DAEMON = """
import os, sys, time, signal
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        if "--deaf" in sys.argv:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if "--clean" in sys.argv:
            os.closerange(0, 3)
        open(sys.argv[1] + ".new", "w").write(str(os.getpid()))
        os.rename(sys.argv[1] + ".new", sys.argv[1])
        time.sleep(1000)
    os._exit(0)
os.wait()
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
if "--stay" in sys.argv:
    time.sleep(1000)
sys.exit(5)
"""


def test_a_daemon_is_ended_with_its_run(bench: Bench, tmp_path: Path) -> None:
    """setsid and two forks: out of the group and of the session, and an orphan."""
    pid_file = tmp_path / "pid"
    plan = bench.plan(sys.executable, "-S", "-c", DAEMON, str(pid_file))
    status = bench.run(plan)

    assert status.exit_code == 5
    assert not alive(int(pid_file.read_text()))
    assert bench.marked(plan.attempt_id) == []


def test_a_daemon_that_does_not_listen(bench: Bench, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    plan = bench.plan(
        *(sys.executable, "-S", "-c", DAEMON, str(pid_file), "--deaf", "--clean"),
        limits=Limits(grace_seconds=0.2),
    )
    status = bench.run(plan)

    assert status.exit_code == 5
    assert not alive(int(pid_file.read_text()))


def test_cancel_reaches_a_daemon(bench: Bench, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    handle = bench.start(bench.plan(sys.executable, "-S", "-c", DAEMON, str(pid_file), "--deaf", "--stay"))
    pid = number_in(pid_file)
    bench.runner.cancel(handle, 0.2)

    assert bench.ended(handle).signal == signal.SIGTERM
    assert not alive(pid)


def test_a_daemon_of_a_run_whose_keeper_was_killed(bench: Bench, tmp_path: Path) -> None:
    """The new keeper is nobody's parent, and finds it by its marks."""
    pid_file, gate = tmp_path / "pid", tmp_path / "gate"
    script = f"{sys.executable} -S -c '{DAEMON}' {pid_file}; until [ -e {gate} ]; do sleep 0.01; done; exit 6"
    handle = bench.start(bench.shell(script))
    pid = number_in(pid_file)
    bench.kill_keeper()
    assert bench.status(handle).phase is Phase.RUNNING
    gate.touch()

    assert bench.ended(handle).exit_code == 6
    assert not alive(pid)


def test_a_member_of_the_session_that_cleans_its_environment(bench: Bench, tmp_path: Path) -> None:
    """No mark, but still in the session: found by that, and by who its parent is."""
    pid_file = tmp_path / "pid"
    clean = f"env -i /bin/sh -c 'echo $$ >{pid_file}; exec sleep 1000'"
    script = f"({clean}) & until [ -s {pid_file} ]; do :; done; exit 2"
    status = bench.run(bench.shell(script))

    assert status.exit_code == 2
    assert not alive(number_in(pid_file))


def test_a_grandchild_that_holds_the_log_open(bench: Bench) -> None:
    """The end does not wait for it, and the log is complete when the end is seen."""
    script = "trap 'echo late; exit' TERM; echo early; while :; do sleep 0.01; done"
    handle = bench.start(bench.shell(f'sh -c "{script}" & sleep 0.3; exit 0'))
    status = bench.ended(handle)

    assert status.phase is Phase.SUCCEEDED
    log = bench.log(handle)
    assert log.startswith("early\n")
    assert "late\n" in log
    assert status.finished_at is not None


def test_others_are_left_alone(bench: Bench, tmp_path: Path) -> None:
    """A second run, one that has left a daemon, and a process without marks live on."""
    import subprocess

    pid_file = tmp_path / "pid"
    other = bench.start(bench.plan(sys.executable, "-S", "-c", DAEMON, str(pid_file), "--stay"))
    daemon = number_in(pid_file)
    with subprocess.Popen(["sleep", "1000"]) as bystander:
        bench.run(bench.shell("sleep 1000 & exit 0"))
        victim = bench.start(bench.shell("sleep 1000"))
        bench.runner.cancel(victim, 0.0)
        bench.ended(victim)

        assert bench.status(other).phase is Phase.RUNNING
        assert alive(daemon)
        assert bystander.poll() is None
        bystander.kill()


def test_the_same_attempt_id_of_another_keeper_is_another_attempt(bench: Bench, tmp_path: Path) -> None:
    other = Bench(tmp_path / "other")
    try:
        theirs = other.start(other.shell("sleep 1000", attempt="r1-1"))
        ours = bench.start(bench.shell("sleep 1000 & exit 0", attempt="r1-1"))
        bench.ended(ours)
        bench.runner.cleanup(ours)

        assert other.status(theirs).phase is Phase.RUNNING
        assert len(other.runner.owned()) == 1
        assert bench.runner.owned() == []
    finally:
        other.close()


def test_no_zombies(bench: Bench) -> None:
    bench.run(bench.shell("for i in 1 2 3; do (sleep 0.01 &) ; done; sleep 0.1"))
    keeper = bench.keeper()

    def zombies() -> list[procfs.Proc]:
        return [proc for proc in procfs.snapshot().values() if proc.parent == keeper and proc.dead]

    eventually(lambda: zombies() == [])


def test_start_times_tell_processes_of_one_pid_apart() -> None:
    me = procfs.look(os.getpid())
    assert me is not None
    other = me._replace(start=me.start + 1)

    assert not procfs.send(other, 0)
    assert procfs.send(me, 0)


def test_odd_names_of_programs(bench: Bench) -> None:
    """The name stands in the middle of /proc/PID/stat and may have blanks and parentheses."""
    tree = bench.tree({"a ) R 1 (b": "#!/bin/sh\nsleep 1000\n"})
    handle = bench.start(bench.plan("./a ) R 1 (b", tree=tree))
    eventually(lambda: "./a ) R 1 (b" in cmdline(handle.data["pid"]))

    found = procfs.look(handle.data["pid"])
    assert found is not None
    assert found.session == found.pid == handle.data["pid"]

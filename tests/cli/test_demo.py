"""``launch demo``, and the commands with a real agent: real processes, real git, real SQLite."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from launchcore.cli.exits import Exit
from launchcore.queues.connect import open_service
from tests.cli.conftest import Launch
from tests.cli.player import create_queue

pytestmark = pytest.mark.slow


def demo(
    directory: Path, *words: str, runner: str = "process", environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "launchcore.cli", "demo", "--directory", str(directory)]
    return subprocess.run(
        [*command, "--runner", runner, *words],
        check=False,
        env={**os.environ, **(environ or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
    )


def agents_of(directory: Path) -> list[psutil.Process]:
    """The agents that still run with this directory's configuration."""
    config = str(directory / "launch-config.yaml")
    return [each for each in psutil.process_iter() if config in _argv(each)]


def _argv(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_the_demo_twice_and_what_it_says_to_try(tmp_path: Path, launch: Launch) -> None:
    directory = tmp_path / "with a 'quote"
    for _ in range(2):
        done = demo(directory)

        assert done.returncode == 0, done.stdout
        assert re.search(r"epoch 20/20  loss 0\.\d+  accuracy +\d", done.stdout)
        assert re.search(r"trained: loss 0\.0\d+, accuracy 9\d", done.stdout)
        assert "source   ✓ finished" in done.stdout
        assert "Traceback" not in done.stdout
        assert agents_of(directory) == []

    steps = [line.strip() for line in done.stdout.partition("Try next:\n")[2].splitlines()]
    script = "\n".join(
        step for step in steps if " agent " not in step and "submit" not in step and "doctor" not in step
    )
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    tried = subprocess.run(["bash", "-euc", script], check=False, capture_output=True, text=True, env=environ)
    assert tried.returncode == 0, tried.stderr
    assert "two-spirals" in tried.stdout
    assert "epoch 20/20" in tried.stdout
    assert tried.stdout.count("succeeded") >= 3


def test_the_demo_without_an_engine_says_why_it_uses_a_process(tmp_path: Path) -> None:
    nobody = {"DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"}
    done = demo(tmp_path / "demo", runner="auto", environ=nobody)

    assert done.returncode == 0, done.stdout
    assert done.stdout.count("a process, not a container: the Docker engine cannot be reached") == 1
    assert "--type process" in done.stdout

    wanted = demo(tmp_path / "demo", runner="docker", environ=nobody)
    assert wanted.returncode == Exit.UNAVAILABLE
    assert wanted.stdout.splitlines()[-1].startswith(
        "error: the demo cannot run on docker: the Docker engine"
    )
    assert demo(tmp_path / "demo", runner="pods").returncode == Exit.USAGE


def test_the_demo_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")

    done = demo(tmp_path / "demo")

    assert done.returncode == Exit.UNAVAILABLE
    assert done.stdout.splitlines()[-1].startswith("error: the demo needs git; hint: install it")


def test_the_demo_cleans_up_when_it_is_told_to_end(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "launchcore.cli", "demo", "--runner", "process"),
            *("--directory", str(tmp_path / "demo")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("3. an agent"):
            break
    assert len(agents_of(tmp_path / "demo")) == 1

    process.send_signal(signal.SIGTERM)

    said, _ = process.communicate(timeout=60)
    assert process.returncode == Exit.INTERRUPTED, said
    assert agents_of(tmp_path / "demo") == []


@pytest.mark.parametrize("what", ["raise", "swallow", "exec"])
def test_wherever_the_signal_strikes_the_demo_was_interrupted(tmp_path: Path, what: str) -> None:
    """An interrupt within `__set_name__` comes out as another error, one within `__del__` not at all, and one
    within `exec` makes CPython end by another code."""
    script = tmp_path / "struck.py"
    script.write_text(STRUCK)
    done = subprocess.run(
        [sys.executable, "-m", "struck", what],
        check=False,
        capture_output=True,
        cwd=tmp_path,
        text=True,
    )
    assert done.returncode == Exit.INTERRUPTED, done.stderr


STRUCK = """
import os, signal, sys
import launchcore.cli, launchcore.demo.run

what = sys.argv[1]

class Struck:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), signal.SIGTERM)

    def __del__(self):
        if what == "swallow":
            os.kill(os.getpid(), signal.SIGTERM)

def run_demo(*args, **options):
    if what == "swallow":
        Struck()
        return 0
    if what == "raise":
        type("Owner", (), {"struck": Struck()})
    exec("os.kill(os.getpid(), signal.SIGTERM)")

launchcore.demo.run.run_demo = run_demo
sys.argv[1:] = ["demo"]
launchcore.cli.main()
"""


def test_the_demo_may_leave_its_agent(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    done = demo(directory, "--keep")
    assert done.returncode == 0, done.stdout
    (process,) = agents_of(directory)
    try:
        assert f"kill {process.pid} stops it" in done.stdout
        again = demo(directory)
        assert "one is there already" in again.stdout
        assert again.returncode == 0, again.stdout
        assert process.is_running()
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def agent(launch: Launch, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real agent that serves ``default``."""
    create_queue("default")
    with (tmp_path / "agent.log").open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "launchcore.cli",
                "agent",
                "-q",
                "default",
                "--log-format",
                "json",
                "--name",
                "a1",
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    service = open_service(os.environ["LAUNCHCORE_BASE_URL"])
    deadline = time.monotonic() + 30
    while not service.queue("default").agents:
        assert process.poll() is None, (tmp_path / "agent.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    service.close()
    yield process
    process.terminate()
    process.wait(30)


def test_runs_with_a_real_agent(
    launch: Launch, agent: subprocess.Popen[bytes], home: Path, tmp_path: Path
) -> None:
    """One journey after the other: each a command line that somebody will type."""
    work = home / "work"
    work.mkdir()
    (work / "train.py").write_text(
        "import os, sys\nprint('hello', *sys.argv[1:], os.environ.get('A'))\nsys.exit(int(sys.argv[1]))\n"
    )

    good = launch("submit", "work", "--env", "A=b", "-w", "--", "python", "train.py", "0")
    assert (good.code, good.lines[1:]) == (Exit.OK, ["hello 0 b"]), good.err
    assert "succeeded after" in good.err

    bad = launch("submit", "work", "-w", "--", "python", "train.py", "3")
    assert bad.code == Exit.FAILED
    assert "user_error" in bad.err
    assert "exit code 3" in launch("show", bad.lines[0]).out

    missing = launch("submit", "work", "-w", "--", "pyhton", "train.py")
    assert missing.code == Exit.FAILED
    assert "pyhton" in missing.err

    again = launch("retry", bad.lines[0], "--watch")
    assert again.code == Exit.FAILED

    assert launch("agents").lines[1].split()[:2] == ["a1", "alive"]
    assert launch("doctor", "--canary", "--json").json[-1]["verdict"] == "ok"

    slow = launch("submit", "work", "--", "sleep", "60").out.strip()
    service = open_service(os.environ["LAUNCHCORE_BASE_URL"])
    run = service.run(slow)
    deadline = time.monotonic() + 30
    while run.state.value != "running" and time.monotonic() < deadline:
        run = service.wait(run.id, run.changes, timeout=1)
    service.close()
    assert launch("cancel", slow).out == f"{slow} is being stopped\n"
    assert launch("logs", slow, "-f").code == 0
    assert launch("show", slow, "--json").json["run"]["state"] == "cancelled"

    agent.send_signal(signal.SIGTERM)
    assert agent.wait(30) == 0
    events = [json.loads(line)["event"] for line in (tmp_path / "agent.log").read_text().splitlines()]
    assert {"claimed", "succeeded", "failed"} <= set(events)
    assert "no agent serves queue default" in launch("submit", "work", "--", "x").err


def test_two_agents_of_one_name(launch: Launch, agent: subprocess.Popen[bytes]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "launchcore.cli", "agent", "-q", "default", "--name", "a1"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == Exit.USAGE
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_an_agent_of_a_queue_that_is_not_there(launch: Launch) -> None:
    launch("queue", "create", "default", "--type", "process")
    done = subprocess.run(
        [sys.executable, "-m", "launchcore.cli", "agent", "-q", "defualt"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == Exit.NOT_FOUND
    assert done.stderr.startswith("error: no queue 'defualt'")
    assert "default" in done.stderr

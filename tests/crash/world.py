"""A queue, real agents as real processes, and runs that write down what happens to them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from launchcore.builtin.archive.pack import pack
from launchcore.plugin import QueueConfig, RetryPolicy, RunSpec, SourceRef
from launchcore.queues.base import RunFilter, RunInfo, Service
from launchcore.queues.connect import open_service

LEASE = 2.0
"""Seconds: short, so that a takeover is soon."""

# The job writes its own history with O_APPEND, so that what really ran is known from the runs alone.
JOB = """\
import os, sys, time
history, seconds, lines = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
attempt = os.environ["LAUNCH_ATTEMPT_ID"]
def note(what):
    with open(history, "a") as out:
        out.write(f"{what} {attempt} {time.time():.6f} {os.getpid()}\\n")
note("start")
for number in range(lines):
    print(f"line {number} of {attempt}", flush=True)
    time.sleep(seconds / lines)
note("end")
"""


def expected_log(attempt: str, lines: int) -> bytes:
    """Exactly what the job prints."""
    return b"".join(f"line {number} of {attempt}\n".encode() for number in range(lines))


def wait_until(what: str, condition: Callable[[], object], *, seconds: float = 60.0) -> None:
    """Wait for a condition; fail with its name."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds:g} s in vain: {what}"
        time.sleep(0.02)


@attrs.define
class AgentProcess:
    """A real ``launch agent``."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def events(self) -> list[dict[str, Any]]:
        lines = [line for line in self.text().splitlines() if line.startswith("{")]
        return [json.loads(line) for line in lines]

    def ready(self) -> None:
        wait_until(
            "the agent serves",
            lambda: self.process.poll() is not None or '"polling"' in self.text(),
            seconds=30,
        )
        assert self.process.poll() is None, self.text()

    def died(self, *, seconds: float = 40.0) -> int:
        """Wait for its end by itself."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the agent lives on:\n{self.text()}") from None

    def signal(self, number: int) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait(10)


class World:
    """One queue database, one state directory, and everything that runs on them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = f"sqlite:///{root}/queue.db"
        self.state = root / "state"
        self.cache = root / "cache"
        self.history = root / "history"
        self.history.touch()
        self.service: Service = open_service(self.url)
        self.agents: list[AgentProcess] = []

    # -- set-up --------------------------------------------------------------------------------

    def queue(self, name: str = "q", **config: Any) -> None:
        merged: dict[str, Any] = {"type": "process", "max_running": 2, "retry": RetryPolicy(max_lost=5)}
        self.service.create_queue(name, QueueConfig(**{**merged, **config}))

    def upload(self) -> SourceRef:
        tree = self.root / "job"
        tree.mkdir(exist_ok=True)
        (tree / "job.py").write_text(JOB)
        packed = self.root / "job.tar.gz"
        with packed.open("wb") as out:
            pack(tree, out)
        digest = self.service.put_archive([packed.read_bytes()])
        return SourceRef(type="archive", fields={"digest": digest})

    def submit(self, *, seconds: float = 0.4, lines: int = 20, queue: str = "q", **spec: Any) -> str:
        command = ("python", "job.py", str(self.history), str(seconds), str(lines))
        made = RunSpec(source=self.upload(), command=spec.pop("command", command), **spec)
        return self.service.submit(queue, made).id

    def agent(
        self,
        name: str | None = "one",
        *,
        queues: tuple[str, ...] = ("q",),
        failpoints: str = "",
        environ: Mapping[str, str] | None = None,
        args: tuple[str, ...] = (),
        ready: bool = True,
    ) -> AgentProcess:
        output = self.root / f"agent-{len(self.agents)}.out"
        flags = [flag for queue in queues for flag in ("--queue", queue)]
        if name:
            flags += ["--name", name]
        env = {
            **os.environ,
            "LAUNCHCORE_BASE_URL": self.url,
            "LAUNCHCORE_STATE_DIR": str(self.state),
            "LAUNCHCORE_CACHE_DIR": str(self.cache),
            "LAUNCHCORE_LEASE_SECONDS": str(LEASE),
            "LAUNCHCORE_FAILPOINTS": failpoints,
            "HOME": str(self.root),
            **(environ or {}),
        }
        with output.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "launchcore", "agent", *flags, "--log-format", "json", *args],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=env,
            )
        started = AgentProcess(process, output)
        self.agents.append(started)
        if ready:
            started.ready()
        return started

    # -- looking -------------------------------------------------------------------------------

    def runs(self) -> list[RunInfo]:
        return list(self.service.list_runs(RunFilter(limit=200)).runs)

    def finished(self, *, seconds: float = 60.0) -> list[RunInfo]:
        """Wait until every run is over."""

        def over() -> bool:
            return all(run.state.final for run in self.runs())

        try:
            wait_until("every run is over", over, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.report()}") from None
        return self.runs()

    def report(self) -> str:
        """Everything that helps to understand a failure."""
        runs = [f"{run.id} {run.state.value} {run.failure} {run.attempts}" for run in self.runs()]
        agents = [f"--- agent {index}\n{each.text()}" for index, each in enumerate(self.agents)]
        return "\n".join([*runs, self.history.read_text(), *agents])

    def log(self, run_id: str, attempt: int | None = None) -> bytes:
        found, offset = b"", 0
        while True:
            chunk = self.service.logs(run_id, attempt=attempt, offset=offset)
            found += chunk.data
            if chunk.next == offset:
                return found
            offset = chunk.next

    def records(self) -> list[tuple[str, str, float]]:
        """(what, attempt, at), as the jobs wrote it."""
        entries = [line.split() for line in self.history.read_text().splitlines()]
        return [(what, attempt, float(at)) for what, attempt, at, _ in entries]

    def processes(self) -> list[str]:
        """Command lines of live processes that carry the marker of an attempt of this world."""
        ours = {attempt.id for run in self.runs() for attempt in run.attempts}
        found = []
        for proc in Path("/proc").iterdir():
            if not proc.name.isdigit():
                continue
            try:
                environ = (proc / "environ").read_bytes()
                command = (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                state = (proc / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            marker = re.search(rb"LAUNCHCORE_ATTEMPT=([^\0]+)", environ)
            if marker and marker[1].decode() in ours and state != "Z":
                found.append(f"{proc.name} {command}")
        return found

    def leftovers(self) -> list[str]:
        """Processes, directories and records of attempts that are still there."""
        found = self.processes()
        found += [str(path) for path in (self.state / "attempts").glob("*")]
        return found

    def close(self) -> None:
        for agent in self.agents:
            agent.signal(signal.SIGCONT)
            agent.signal(signal.SIGKILL)
        for agent in self.agents:
            agent.process.wait(10)
        for line in self.processes():
            with_pid = int(line.split()[0])
            os.kill(with_pid, signal.SIGKILL)
        self.service.close()
        shutil.rmtree(self.root, ignore_errors=True)


@contextmanager
def make_world(root: Path) -> Iterator[World]:
    world = World(root)
    try:
        yield world
    finally:
        world.close()

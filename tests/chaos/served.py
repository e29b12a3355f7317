"""Servers, a proxy before each, agents that know only the proxies, and runs that write their own history."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import attrs

from launchcore.plugin import QueueUnavailable, RunSpec, RunState, SourceRef
from launchcore.queues.base import RunFilter, RunInfo, Service
from launchcore.queues.connect import open_service
from tests.chaos.proxy import Proxy, Weather
from tests.crash.world import AgentProcess, World, wait_until
from tests.postgres import free_port

T = TypeVar("T")

# Starts in milliseconds, unlike Python's interpreter: the load is meant for the queue.
# What it prints of its secret comes before the lines that are compared.
JOB = """\
echo "clear $CANARY"
echo "base64 $(printf %s "$CANARY" | base64 -w0)"
echo "url $(printf %s "$CANARY" | sed 's/%/%25/g; s/ /%20/g; s,/,%2F,g; s/+/%2B/g; s/&/%26/g')"
echo "$LAUNCH_ATTEMPT_ID $(cut -d' ' -f22 /proc/$$/stat)" >>"$1.born"
echo "start $LAUNCH_ATTEMPT_ID $(date +%s.%N) $$" >>"$1"
i=0
while [ $i -lt "$2" ]; do echo "line $i of $LAUNCH_ATTEMPT_ID"; i=$((i+1)); done
sleep "$3"
echo "end $LAUNCH_ATTEMPT_ID $(date +%s.%N) $$" >>"$1"
"""
LINES = 20


@attrs.define
class ServerProcess:
    """A real ``launch server``, which comes back on the same port."""

    database: str
    port: int
    output: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "launchcore", "server", "--db", self.database]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )

    def ready(self) -> None:
        wait_until("the server answers", self._answers, seconds=60)

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(60)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.output.read_text(errors="replace")
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5).close()
            return True
        return False


class Served(World):
    """``database``: what the servers serve. What the test looks at, it looks at in there, or directly."""

    def __init__(self, root: Path, database: str, *, seed: int, servers: int = 1) -> None:
        self.seed = seed
        self.database = database
        self.random = random.Random(seed)
        self.canary = f"canary {seed:08x}/of+this&history"
        """The secret of all runs. No agent has it in its configuration, so it is in its environment only."""
        self.servers = [
            ServerProcess(database, free_port(), root / f"server-{number}.out") for number in range(servers)
        ]
        for server in self.servers:
            server.start()
        for server in self.servers:
            server.ready()
        self.proxies = [Proxy(server.port, seed=seed + number) for number, server in enumerate(self.servers)]
        super().__init__(root)
        self.service.close()
        self.url = self.proxies[0].url
        self.service = open_service(database)
        self.front: list[Service] = [open_service(proxy.url) for proxy in self.proxies]
        self.script = root / "job.sh"
        self.script.write_text(JOB)

    def weather(self, **parts: object) -> None:
        """The same for all proxies."""
        for proxy in self.proxies:
            proxy.weather = Weather(**parts)  # type: ignore[arg-type]

    def send(self, *, seconds: float = 0.0, queue: str = "q", **spec: object) -> str:
        """Submit through one of the proxies, until it is accepted: one key, so one run."""
        command = ("sh", str(self.script), str(self.history), str(LINES), str(seconds))
        made = RunSpec(source=self.source(), command=command, secrets=("CANARY",), **spec)  # type: ignore[arg-type]
        key = uuid.UUID(int=self.random.getrandbits(128)).hex
        front = self.random.choice(self.front)
        return patiently(lambda: front.submit(queue, made, key=key)).id

    def agent(self, name: str | None = "one", **given: Any) -> AgentProcess:
        """One that knows the secret."""
        environ = {"LAUNCHCORE_SECRET_CANARY": self.canary, **(given.pop("environ", None) or {})}
        return super().agent(name, environ=environ, **given)

    def source(self) -> SourceRef:
        """Uploaded once: it is the same for all."""
        if not hasattr(self, "_source"):
            self._source = self.upload()
        return self._source

    def runs(self) -> list[RunInfo]:
        """All of them, page by page."""
        found: list[RunInfo] = []
        asked = RunFilter(limit=200)
        while True:
            page = patiently(lambda asked=asked: self.service.list_runs(asked))  # type: ignore[misc]
            found += page.runs
            if page.next is None:
                return found
            asked = attrs.evolve(asked, before=page.next)

    def finished(self, *, seconds: float = 240.0) -> list[RunInfo]:
        """Wait until every run is over; cheaply, since there are many."""

        def over() -> bool:
            time.sleep(0.2)
            busy = [
                patiently(lambda state=state: self.service.list_runs(RunFilter(states=(state,), limit=1)))  # type: ignore[misc]
                for state in RunState
                if not state.final
            ]
            return not any(page.runs for page in busy)

        try:
            wait_until("every run is over", over, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"seed {self.seed}: {error}\n{self.report()}") from None
        return self.runs()

    def born(self) -> dict[str, float]:
        """When the kernel made each attempt's process, in UNIX seconds, to a hundredth."""
        booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        born = Path(f"{self.history}.born")
        lines = born.read_text().splitlines() if born.exists() else []
        ticks = os.sysconf("SC_CLK_TCK")
        return {attempt: booted + int(start) / ticks for attempt, start in map(str.split, lines)}

    def report(self) -> str:
        texts = [f"--- server\n{each.output.read_text(errors='replace')[-4000:]}" for each in self.servers]
        met = [f"--- faults {dict(proxy.met)}" for proxy in self.proxies]
        live = [run for run in self.runs() if not run.state.final or run.state is not RunState.SUCCEEDED]
        odd = [f"{run.id} {run.state.value} {run.failure} {run.attempts}" for run in live[:20]]
        agents = [f"--- agent\n{each.text()[-6000:]}" for each in self.agents]
        return "\n".join([f"seed {self.seed}", *met, *odd, *texts, *agents])

    def close(self) -> None:
        for front in self.front:
            front.close()
        for proxy in self.proxies:
            proxy.close()
        try:
            super().close()
        finally:
            for server in self.servers:
                server.kill()


def patiently(call: Callable[[], T], *, seconds: float = 120.0) -> T:
    """Repeat while the service is away."""
    until = time.monotonic() + seconds
    while True:
        try:
            return call()
        except QueueUnavailable:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


@contextlib.contextmanager
def serve(root: Path, database: str, *, seed: int, servers: int = 1) -> Iterator[Served]:
    world = Served(root, database, seed=seed, servers=servers)
    print(f"seed {seed}")
    try:
        yield world
    finally:
        world.close()


def seed_of_this_run() -> int:
    """From ``LAUNCHCORE_CHAOS_SEED``, else a new one: printed with every failure."""
    return int(os.environ.get("LAUNCHCORE_CHAOS_SEED") or random.SystemRandom().randrange(1 << 32))

"""Containers through launchcore beside the bare engine, in one run: ``python -m benchmarks.bench_docker``.

JSON on standard output. Starts an engine and a registry of its own (root, ``dockerd``, ``docker-registry``,
curl), or takes the engine in ``LAUNCHCORE_TEST_DOCKER_HOST``; where that cannot be, it says why.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import attrs
import psutil
from launch_docker.engine import Engine
from launch_docker.settings import Settings
from launch_docker.testing.fixtures import IMAGE
from launch_docker.testing.machine import Machine, base_image, missing, wait_until
from launch_docker.testing.registry import PASSWORD, USER, RegistryMachine, missing_registry
from launch_docker.testing.workplace import Workplace, running_registry

from launchcore.builtin.oci.registry import OciRegistry
from launchcore.builtin.oci.settings import OciSettings
from launchcore.plugin import RunState
from launchcore.testing.context import RecordingContext
from tests.live.docker.world import DockerWorld

STARTED = "read up rest < /proc/uptime; echo start $LAUNCH_ATTEMPT_ID $up $$ >> /history/history"


def uptime() -> float:
    """The clock that containers share with us."""
    return float(Path("/proc/uptime").read_text().split()[0])


def bare(engine: Engine, command: list[str], mounts: list[str] | None = None) -> float:
    """One container through the API alone: create, start, wait, remove. Seconds until it was started."""
    began = time.perf_counter()
    body: dict[str, Any] = {
        "Image": IMAGE,
        "Cmd": command,
        "HostConfig": {"Init": True, "Binds": mounts or []},
    }
    made = engine.request("POST", "/containers/create", body=body).json()["Id"]
    engine.request("POST", f"/containers/{made}/start")
    took = time.perf_counter() - began
    engine.request("POST", f"/containers/{made}/wait", seconds=600)
    engine.request("DELETE", f"/containers/{made}", params={"v": True})
    return took


def latency(world: DockerWorld, engine: Engine, count: int) -> dict[str, float]:
    """Submit → the container's own first line, beside create and start of a bare one, taken in turn."""
    ours, theirs = [], []
    for number in range(count):
        before = uptime()
        world.submit(command=("sh", "-c", STARTED))
        wait_until("it has started", lambda number=number: len(world.records()) > number)  # type: ignore[misc]
        ours.append(world.records()[-1][2] - before)
        world.finished()
        theirs.append(bare(engine, ["true"]))
    return {
        "submit_to_started_p50_s": round(statistics.median(ours), 3),
        "bare_create_start_p50_s": round(statistics.median(theirs), 3),
    }


@attrs.frozen(kw_only=True)
class Meter:
    """CPU seconds of the agent, and of the engine where it is one of ours (with its containerd)."""

    agent: psutil.Process
    engine: psutil.Process | None

    def read(self) -> dict[str, float]:
        found = {"agent": sum(self.agent.cpu_times()[:2])}
        if self.engine is not None:
            daemons = [p for p in self.engine.children() if p.name() == "containerd"]
            found["engine"] = sum(sum(p.cpu_times()[:2]) for p in (self.engine, *daemons))
        return found

    def since(self, before: dict[str, float], prefix: str, scale: float, unit: str) -> dict[str, float]:
        """What was used since then, times ``scale``."""
        now = self.read()
        return {f"{prefix}{who}_{unit}": round(scale * (now[who] - before[who]), 2) for who in now}


def until_over(world: DockerWorld, runs: list[str], seconds: float = 600.0) -> None:
    """Be told of each end: to ask again and again would take the CPU of what is measured."""
    deadline = time.monotonic() + seconds
    for each in runs:
        run = world.service.run(each)
        while not run.state.final:
            assert time.monotonic() < deadline, world.report()
            run = world.service.wait(each, run.changes, timeout=10.0)


def throughput(
    world: DockerWorld, engine: Engine, meter: Meter, parallel: int, count: int
) -> dict[str, float]:
    """No-op containers a second, end to end, beside the same through the API alone.

    Half of the bare ones before and half after, since a machine has better and worse minutes.
    """
    theirs, used = _bare_seconds(engine, meter, parallel, count // 2)
    before, began = meter.read(), time.perf_counter()
    until_over(world, [world.submit(command=("true",), queue=f"q{parallel}") for _ in range(count)])
    ours = time.perf_counter() - began
    costs = meter.since(before, "", 1e3 / count, "cpu_ms_per_run")
    more, also = _bare_seconds(engine, meter, parallel, count - count // 2)
    return {
        "runs_per_s": round(count / ours, 2),
        "bare_per_s": round(count / (theirs + more), 2),
        "share_of_bare": round((theirs + more) / ours, 2),
        **costs,
        "bare_engine_cpu_ms_per_run": round(1e3 * (used + also) / count, 2),
    }


def _bare_seconds(engine: Engine, meter: Meter, parallel: int, count: int) -> tuple[float, float]:
    """How long so many bare ones take, and the engine's CPU seconds for them."""
    before, began = meter.read(), time.perf_counter()
    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(lambda _: bare(engine, ["true"]), range(count)))
    return time.perf_counter() - began, meter.read().get("engine", 0.0) - before.get("engine", 0.0)


def memory(world: DockerWorld, pid: int, count: int) -> dict[str, float]:
    """Resident memory of the agent, idle and with ``count`` containers that run."""
    process = psutil.Process(pid)
    idle = process.memory_info().rss
    runs = [world.submit(command=("sleep", "3600"), queue="q32") for _ in range(count)]
    states = (RunState.RUNNING,)
    wait_until("all run", lambda: all(world.service.run(run).state in states for run in runs), seconds=900)
    busy = process.memory_info().rss
    for run in runs:
        world.service.cancel(run)
    world.finished(seconds=900)
    return {
        "containers": count,
        "idle_mb": round(idle / 1e6, 1),
        "busy_mb": round(busy / 1e6, 1),
        "kb_per_container": round((busy - idle) / 1e3 / count, 1),
    }


def chatty(megabytes: int) -> list[str]:
    """A command that prints lines of 100 bytes as fast as it can."""
    return ["sh", "-c", f"yes {'.' * 99} | head -n {megabytes * 10_000}"]


def logs(
    world: DockerWorld, engine: Engine, meter: Meter, containers: int, megabytes: int
) -> dict[str, float]:
    """Megabytes of log a second, from the first container's start until all is stored, and whether all was.

    Beside it what curl gets of the same containers without an agent, as they run, and throws away: what
    the engine can give at most, of the same driver.
    """
    script, total = chatty(megabytes), containers * megabytes
    before = meter.read()
    runs = [world.submit(command=tuple(script), queue="q32") for _ in range(containers)]
    until_over(world, runs)
    costs = meter.since(before, "", 100 / total, "cpu_s_per_100_mb")
    found = [world.service.run(run) for run in runs]
    assert all(run.state is RunState.SUCCEEDED for run in found), world.report()
    sizes = [run.attempts[-1].log_bytes for run in found]
    began = min(run.attempts[-1].running_since or run.submitted_at for run in found)
    took = max(run.ended_at or 0.0 for run in found) - began
    before = meter.read()
    with ThreadPoolExecutor(containers) as pool:
        started = time.perf_counter()
        read = sum(pool.map(lambda _: curl_follows(engine, script), range(containers)))
        theirs = time.perf_counter() - started
    bare_costs = meter.since(before, "curl_", 100 / total, "cpu_s_per_100_mb")
    bare_costs.pop("curl_agent_cpu_s_per_100_mb")
    return {
        "containers": containers,
        "mb_per_s": round(total / took, 2),
        "curl_mb_per_s": round(total / theirs, 2),
        "share_of_curl": round(theirs / took, 2),
        "lost_bytes": total * 1_000_000 - sum(sizes),
        "lost_by_curl": total * 10_000 - read,
        **costs,
        **bare_costs,
    }


def curl_follows(engine: Engine, command: list[str]) -> int:
    """The lines that curl receives of a container's log while it runs, with the times that a cursor needs."""
    config = {"Type": "local", "Config": {"max-size": "500m"}}
    body = {"Image": IMAGE, "Cmd": command, "HostConfig": {"Init": True, "LogConfig": config}}
    made = engine.request("POST", "/containers/create", body=body).json()["Id"]
    engine.request("POST", f"/containers/{made}/start")
    query = "stdout=1&stderr=1&timestamps=1&follow=1"
    url = f"http://engine/containers/{made}/logs?{query}"
    words = ["curl", "-s", "--unix-socket", str(engine.endpoint.socket), url]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = 0
        while piece := process.stdout.read1(1 << 20):  # type: ignore[attr-defined]
            lines += piece.count(b"\n")
    engine.request("DELETE", f"/containers/{made}", params={"force": True, "v": True})
    return lines


def decision(root: Path, host: str, samples: int) -> dict[str, float]:
    """That nothing has to be built, for an image that the registry has, beside a bare HEAD of it, in turn."""
    with running_registry() as registry:
        work = Workplace(root / "decision", host, registry, base_image=IMAGE)
        work.write({"Dockerfile": f"FROM {IMAGE}\nCOPY . /code\n"})
        work.write({f"package/module_{number}.py": f"print({number})\n" * 50 for number in range(200)})
        pushed = work.push(work.build())
        settings = OciSettings(
            repository=str(work.repository), username=USER, password_env="LAUNCH_BENCH_PASSWORD"
        )
        os.environ["LAUNCH_BENCH_PASSWORD"] = PASSWORD
        context = RecordingContext()
        context.registry = OciRegistry(settings)
        ours, bare = [], []
        for _ in range(samples):
            began = time.perf_counter()
            found = work.builder.build(work.plan(), work.given(), context)
            ours.append(time.perf_counter() - began)
            assert found.cached, found
            assert found.ref.digest == pushed.digest, found
            bare.append(head(registry, pushed.name))
        work.engine.close()
    return {
        "cached_decision_p50_ms": round(1e3 * statistics.median(ours), 2),
        "cached_decision_max_ms": round(1e3 * max(ours), 2),
        "bare_head_p50_ms": round(1e3 * statistics.median(bare), 2),
    }


def head(registry: RegistryMachine, name: str) -> float:
    """Seconds of one HEAD of a manifest, on a connection of its own."""
    path, _, tag = name.partition("/")[2].rpartition(":")
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    accept = "application/vnd.docker.distribution.manifest.v2+json"
    began = time.perf_counter()
    connection = http.client.HTTPConnection(registry.host, timeout=30)
    headers = {"Accept": accept, "Authorization": f"Basic {login}"}
    connection.request("HEAD", f"/v2/{path}/manifests/{tag}", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    connection.close()
    return time.perf_counter() - began


def calls(world: DockerWorld) -> float:
    """Requests to the engine for one short run."""
    from launch_docker.runner import DockerRunner
    from launch_docker.settings import RunConfig

    from launchcore.plugin import ATTEMPT_LABEL, OWNER_LABEL, Given, ImageRef, RunPlan
    from launchcore.testing.sites import make_site

    site = make_site(world.root / "calls")
    runner = DockerRunner(Engine(Settings(host=world.docker_host), environ={}), site)
    ended: list[str] = []
    runner.engine.get("/version")
    with runner.watch(lambda handle, status: ended.append(handle.key) if status.phase.final else None):
        wait_until("it listens", lambda: runner.engine.calls >= 4)
        before, runs = runner.engine.calls, 10
        for number in range(runs):
            labels = {OWNER_LABEL: site.owner, ATTEMPT_LABEL: f"calls-{number}"}
            plan = RunPlan(
                run_id="calls",
                attempt_id=f"calls-{number}",
                attempt=number,
                queue="q",
                name=f"launch-calls-{os.getpid()}-{number}",
                settings=RunConfig(),
                command=("echo", "hello"),
                image=ImageRef(name=IMAGE),
                labels=labels,
                scratch=world.root,
            )
            runner.prepare(plan, Given(), RecordingContext())
            handle = runner.start(plan, Given())
            wait_until("its end", lambda handle=handle: handle.key in ended)  # type: ignore[misc]
            cursor = None
            while not (batch := runner.logs(handle, cursor, 1 << 18)).end:
                cursor = batch.cursor
            runner.cleanup(handle)
        return (runner.engine.calls - before) / runs


def measure(machine_host: str, machine_pid: int | None, quick: bool, only: list[str]) -> dict[str, Any]:
    """All of it, or those that are named, on the engine at ``machine_host``."""
    engine = Engine(Settings(host=machine_host, answer_seconds=60.0), environ={})
    base_image(engine, IMAGE)
    world = DockerWorld(Path(tempfile.mkdtemp(prefix="lc-")), machine_host)
    try:
        for name, limit in (("q", 1), ("q8", 8), ("q32", None)):
            world.queue(name, max_running=limit, config={"log_max_size": "500m"})
        # The crash tests' lease of 2 s is too short for many starts at once.
        environ = {"LAUNCHCORE_LEASE_SECONDS": "30"}
        agent = world.agent("bench", queues=("q", "q8", "q32"), environ=environ)
        daemon = psutil.Process(machine_pid) if machine_pid is not None else None
        meter = Meter(agent=psutil.Process(agent.pid), engine=daemon)
        parts: dict[str, Callable[[], Any]] = {
            "latency": lambda: latency(world, engine, 5 if quick else 20),
            "parallel_8": lambda: throughput(world, engine, meter, 8, 16 if quick else 80),
            "parallel_32": lambda: throughput(world, engine, meter, 32, 32 if quick else 128),
            "api_calls_per_run": lambda: calls(world),
            "decision": lambda: decision(world.root, machine_host, 5 if quick else 30),
            "logs_one": lambda: logs(world, engine, meter, 1, 5 if quick else 50),
            "logs_twenty": lambda: logs(world, engine, meter, 20, 1 if quick else 5),
            "memory": lambda: memory(world, agent.pid, 10 if quick else 200),
        }
        return {name: part() for name, part in parts.items() if not only or name in only}
    finally:
        world.close()
        engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer of everything")
    parser.add_argument("--only", action="append", default=[], metavar="PART", help="this one (repeatable)")
    options = parser.parse_args()
    given = os.environ.get("LAUNCHCORE_TEST_DOCKER_HOST")
    why = None if given else missing()
    if why is None and shutil.which("curl") is None:
        why = "there is no curl here to compare with"
    why = why or missing_registry()
    if why is not None:
        print(json.dumps({"not_measured": why}))
        return
    with ExitStack() as stack:
        machine = None if given else stack.enter_context(closing(Machine()))
        if machine is not None:
            machine.start()
        assert given or machine is not None
        pid = machine.process.pid if machine is not None and machine.process is not None else None
        found = measure(given or (machine.url if machine else ""), pid, options.quick, options.only)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()

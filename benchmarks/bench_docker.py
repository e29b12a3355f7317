"""Containers through launchcore beside the bare engine, in one run: ``python -m benchmarks.bench_docker``.

JSON on standard output. Needs root and ``dockerd``, or an engine in ``LAUNCHCORE_TEST_DOCKER_HOST``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from launch_docker.engine import Engine
from launch_docker.settings import Settings
from launch_docker.testing.fixtures import IMAGE
from launch_docker.testing.machine import Machine, base_image, wait_until

from launchcore.plugin import RunState
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


def throughput(world: DockerWorld, engine: Engine, parallel: int, count: int) -> dict[str, float]:
    """No-op containers a second, end to end, beside the same through the API alone."""
    began = time.perf_counter()
    for _ in range(count):
        world.submit(command=("true",), queue=f"q{parallel}")
    wait_until("all are over", lambda: all(run.state.final for run in world.runs()), seconds=600)
    ours = count / (time.perf_counter() - began)
    began = time.perf_counter()
    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(lambda _: bare(engine, ["true"]), range(count)))
    theirs = count / (time.perf_counter() - began)
    return {
        "runs_per_s": round(ours, 2),
        "bare_per_s": round(theirs, 2),
        "share_of_bare": round(ours / theirs, 2),
    }


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
    return {"containers": count, "idle_mb": round(idle / 1e6, 1), "busy_mb": round(busy / 1e6, 1)}


def logs(world: DockerWorld, containers: int, megabytes: int) -> dict[str, float]:
    """Megabytes of log a second from the containers' start until all is stored, and whether all was."""
    lines = megabytes * 10_000
    script = f"yes {'.' * 99} | head -n {lines}"
    began = time.perf_counter()
    runs = [world.submit(command=("sh", "-c", script), queue="q32") for _ in range(containers)]
    world.finished(seconds=600)
    took = time.perf_counter() - began
    assert all(world.service.run(run).state is RunState.SUCCEEDED for run in runs), world.report()
    sizes = [world.service.run(run).attempts[-1].log_bytes for run in runs]
    return {
        "containers": containers,
        "mb_per_s": round(sum(sizes) / 1e6 / took, 2),
        "lost_bytes": containers * lines * 100 - sum(sizes),
    }


def calls(world: DockerWorld) -> float:
    """Requests to the engine for one short run."""
    from launch_docker.runner import DockerRunner
    from launch_docker.settings import RunConfig

    from launchcore.plugin import ATTEMPT_LABEL, OWNER_LABEL, Given, ImageRef, RunPlan
    from launchcore.testing.context import RecordingContext
    from launchcore.testing.sites import make_site

    site = make_site(world.root / "calls")
    runner = DockerRunner(Engine(Settings(host=world.docker_host), environ={}), site)
    ended: list[str] = []
    runner.engine.get("/version")
    runner._starter._is_podman()  # noqa: SLF001 (asked once in an agent's life)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer of everything")
    quick = parser.parse_args().quick
    given = os.environ.get("LAUNCHCORE_TEST_DOCKER_HOST")
    machine = None if given else Machine()
    if machine is not None:
        machine.start()
    host = given or (machine.url if machine else "")
    engine = Engine(Settings(host=host, answer_seconds=60.0), environ={})
    base_image(engine, IMAGE)
    world = DockerWorld(Path(tempfile.mkdtemp(prefix="lc-")), host)
    found: dict[str, Any] = {}
    try:
        for name, limit in (("q", 1), ("q8", 8), ("q32", 32)):
            world.queue(name, max_running=None if name == "q32" else limit)
        # The crash tests' lease of 2 s is too short for many starts at once.
        agent = world.agent("bench", queues=("q", "q8", "q32"), environ={"LAUNCHCORE_LEASE_SECONDS": "30"})
        found["latency"] = latency(world, engine, 5 if quick else 20)
        found["parallel_8"] = throughput(world, engine, 8, 16 if quick else 80)
        found["parallel_32"] = throughput(world, engine, 32, 32 if quick else 128)
        found["api_calls_per_run"] = calls(world)
        found["logs_one"] = logs(world, 1, 5 if quick else 50)
        found["logs_twenty"] = logs(world, 20, 1 if quick else 5)
        found["memory"] = memory(world, agent.pid, 20 if quick else 200)
    finally:
        world.close()
        engine.close()
        if machine is not None:
            machine.close()
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()

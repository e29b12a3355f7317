"""The process runner beside a bare Popen. ``python -m benchmarks.bench_process [--quick]`` prints JSON.

Compared in turn, so that both have the same machine: starting ``/bin/true`` and seeing its end, the time
of one start call, and what the keeper takes while many runs sleep.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from launchcore.builtin.process.runner import ProcessRunner
from launchcore.builtin.process.settings import ProcessConfig, ProcessSettings, Python
from launchcore.plugin import Given, RunHandle, RunPlan, RunStatus, Site

GIVEN = Given()


class Bench:
    """A runner with a keeper of its own, and the ends that it pushes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        site = Site(state=root / "state", cache=root / "cache", owner="bench", host="here")
        self.runner = ProcessRunner(ProcessSettings(idle_seconds=1.0), site)
        self._numbers = iter(range(1, 1 << 30))
        self._ended: set[str] = set()
        self._change = threading.Condition()

    def plan(self, *command: str) -> RunPlan:
        attempt = f"r{next(self._numbers)}-1"
        return RunPlan(
            run_id=attempt[:-2],
            attempt_id=attempt,
            attempt=1,
            queue="bench",
            name=f"launch-{attempt}",
            settings=ProcessConfig(python=Python.NONE),
            command=command,
            scratch=self.root / "scratch",
        )

    @contextmanager
    def watching(self) -> Iterator[None]:
        with self.runner.watch(self._changed):
            yield

    def _changed(self, handle: RunHandle, status: RunStatus) -> None:
        if status.phase.final:
            with self._change:
                self._ended.add(handle.key)
                self._change.notify_all()

    def wait(self, handles: list[RunHandle]) -> None:
        """Until all have ended, as the keeper tells it."""
        keys = {handle.key for handle in handles}
        with self._change:
            if not self._change.wait_for(lambda: keys <= self._ended, timeout=120):
                raise TimeoutError

    def clean(self, handles: list[RunHandle]) -> None:
        for handle in handles:
            self.runner.cleanup(handle)


def throughput(bench: Bench, count: int) -> dict[str, float]:
    """Starts a second, with end and cleanup; and the same without us."""
    began = time.perf_counter()
    handles = [bench.runner.start(bench.plan("/bin/true"), GIVEN) for _ in range(count)]
    bench.wait(handles)
    seen = time.perf_counter()
    bench.clean(handles)
    cleaned = time.perf_counter()
    for _ in range(count):
        subprocess.run(["/bin/true"], check=True, start_new_session=True)
    bare = time.perf_counter() - cleaned
    return {
        "runs_per_s": round(count / (seen - began), 1),
        "runs_with_cleanup_per_s": round(count / (cleaned - began), 1),
        "popen_per_s": round(count / bare, 1),
        "ratio": round(bare / (seen - began), 3),
    }


def latency(bench: Bench, count: int) -> dict[str, Any]:
    """Milliseconds of one start call, alternating with ``Popen``; a run is over before the next begins."""
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(count):
        plan = bench.plan("/bin/true")
        began = time.perf_counter()
        handle = bench.runner.start(plan, GIVEN)
        ours.append(time.perf_counter() - began)
        bench.wait([handle])
        bench.clean([handle])
        began = time.perf_counter()
        process = subprocess.Popen(["/bin/true"], start_new_session=True)
        bare.append(time.perf_counter() - began)
        process.wait()
    return {"start_ms": _percentiles(ours), "popen_ms": _percentiles(bare)}


def _percentiles(seconds: list[float]) -> dict[str, float]:
    ranks = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50": round(ranks[49] * 1000, 3), "p99": round(ranks[98] * 1000, 3)}


def footprint(bench: Bench, sleepers: int) -> dict[str, Any]:
    """Memory of keeper and nanny together (proportional: shared pages count once), and threads."""
    empty = _keeper_bytes(bench)
    handles = [bench.runner.start(bench.plan("sleep", "600"), GIVEN) for _ in range(sleepers)]
    full, pids = _keeper_bytes(bench), _keepers(bench)
    threads = max(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids)
    resident = max(_status_kb(pid, "VmRSS") for pid in pids)
    began = time.perf_counter()
    bench.runner.poll(handles)
    polled = time.perf_counter() - began
    bench.clean(handles)
    return {
        "sleepers": sleepers,
        "keeper_rss_mb": round(resident / 1024, 1),
        "keeper_and_nanny_mb": {"empty": round(empty / 1e6, 1), "full": round(full / 1e6, 1)},
        "keeper_threads": threads,
        "poll_all_ms": round(polled * 1000, 1),
    }


def _keepers(bench: Bench) -> list[int]:
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                words = Path(entry.path, "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"launchcore.builtin.process.keeper" in words and any(
                word.startswith(os.fsencode(bench.root.resolve())) for word in words
            ):
                found.append(int(entry.name))
    return found


def _keeper_bytes(bench: Bench) -> int:
    total = 0
    for pid in _keepers(bench):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def _status_kb(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def measure(quick: bool) -> dict[str, Any]:
    """All of it; half a minute, or a few seconds when ``quick``."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        with bench.watching():
            throughput(bench, 20)  # start the keeper, warm the caches
            return {
                "throughput": throughput(bench, 200 if quick else 2000),
                "latency": latency(bench, 100 if quick else 1000),
                "footprint": footprint(bench, 50 if quick else 500),
            }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of it")
    print(json.dumps(measure(parser.parse_args().quick), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

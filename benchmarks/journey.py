"""From submit to a process that runs, and how many runs a second go the whole way."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence

from benchmarks.rig import QUEUE, Bench
from launchcore.plugin import QueueConfig
from launchcore.queues.base import RunFilter, RunInfo

STAMP = ("/bin/date", "+%s.%N")
"""Says when it runs, by itself, on the clock that we read too."""


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """In milliseconds. p99 is the largest but one of a hundred."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return {f"p{p}": 1e3 * ordered[min(last, round(last * p / 100))] for p in (50, 99)}


def latency(bench: Bench, samples: int) -> dict[str, object]:
    """Submit → the process's own time stamp, beside a bare Popen of the same program, in turn."""
    ours, bare = [], []
    for _ in range(samples):
        began = time.time()
        run = bench.end(bench.submit(*STAMP))
        ours.append(float(bench.service.logs(run.id).data) - began)
        began = time.time()
        with subprocess.Popen(STAMP, stdout=subprocess.PIPE) as process:
            bare.append(float(process.communicate()[0]) - began)
    return {"samples": samples, "submit_to_started_ms": percentiles(ours), "popen_ms": percentiles(bare)}


def _runs(bench: Bench) -> Iterator[RunInfo]:
    before: str | None = None
    while True:
        page = bench.service.list_runs(RunFilter(queue=QUEUE, limit=200, before=before))
        yield from page.runs
        before = page.next
        if before is None:
            return


def throughput(bench: Bench, runs: int) -> dict[str, float]:
    """No-op runs waiting in the queue: from the first claim to the last end, all of it durable."""
    config: QueueConfig = bench.service.queue(QUEUE).config
    bench.service.edit_queue(QUEUE, config, paused=True)
    began = time.perf_counter()
    waiting = [bench.submit("/bin/true") for _ in range(runs)]
    submitting = time.perf_counter() - began
    cpu = _cpu(bench)
    bench.service.edit_queue(QUEUE, config, paused=False)
    for run in reversed(waiting):
        bench.end(run, timeout=600)
    cpu = _cpu(bench) - cpu
    mine = {run.id for run in waiting}
    done = [run for run in _runs(bench) if run.id in mine]
    wrong = [run for run in done if run.exit_code != 0]
    if wrong or len(done) != runs:
        raise RuntimeError(f"{len(wrong)} of {len(done)} runs did not succeed: {wrong[:1]}")
    first = min(run.attempts[0].claimed_at for run in done)
    last = max(run.ended_at or 0.0 for run in done)
    return {
        "runs": runs,
        "runs_per_s": runs / (last - first),
        "agent_cpu_ms_per_run": 1e3 * cpu / runs,
        "submits_per_s": runs / submitting,
        "popen_per_s": _bare(min(runs, 300)),
    }


def _bare(count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        subprocess.run(["/bin/true"], check=True)
    return count / (time.perf_counter() - began)


def _cpu(bench: Bench) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in bench.family())

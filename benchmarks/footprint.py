"""What an agent costs while it has nothing to do, and while it looks after many runs."""

from __future__ import annotations

import time

from benchmarks.rig import Bench
from launchcore.plugin import RunState


def _look(bench: Bench, seconds: float) -> dict[str, float]:
    """Memory now, and CPU over a while, of the agent and of its keeper."""
    family = bench.family()
    before = [sum(process.cpu_times()[:2]) for process in family]
    time.sleep(seconds)
    used = [sum(process.cpu_times()[:2]) - start for process, start in zip(family, before, strict=True)]
    return {
        "agent_rss_mb": family[0].memory_info().rss / 1e6,
        "keeper_rss_mb": sum(process.memory_info().rss for process in family[1:]) / 1e6,
        "agent_threads": family[0].num_threads(),
        "agent_cpu_percent": 100 * used[0] / seconds,
        "keeper_cpu_percent": 100 * sum(used[1:]) / seconds,
        "over_s": seconds,
    }


def idle(bench: Bench, seconds: float) -> dict[str, float]:
    """Nothing queued, nothing running."""
    return _look(bench, seconds)


def busy(bench: Bench, sleepers: int, seconds: float) -> dict[str, float]:
    """Many runs that sleep. They are cancelled afterwards."""
    runs = [bench.submit("/bin/sleep", "3600") for _ in range(sleepers)]
    try:
        deadline = time.monotonic() + 120
        for run in runs:
            now = run
            while now.state is not RunState.RUNNING:
                if now.state.final or time.monotonic() > deadline:
                    raise RuntimeError(f"{now.id} is {now.state.value}")
                now = bench.service.wait(now.id, now.changes, timeout=5)
        time.sleep(min(seconds, 2.0))  # starting them is measured elsewhere
        found = _look(bench, seconds)
    finally:
        began = time.perf_counter()
        for run in runs:
            bench.service.cancel(run.id)
    for run in runs:
        bench.end(run, timeout=120)
    return {"runs": sleepers, **found, "cancel_all_s": time.perf_counter() - began}

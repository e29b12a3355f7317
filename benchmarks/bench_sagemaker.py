"""Many training jobs that run, and what looking after them costs: ``python -m benchmarks.bench_sagemaker``.

JSON on standard output. The training jobs are paper only, at an endpoint on loopback that counts what it is
asked; the agent is a process of its own with its settings' defaults, so that its pace is the real one.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import psutil
import yaml
from launch_aws.testing.cloud import Cloud
from launch_sagemaker.testing.containers import ProcessContainers
from launch_sagemaker.testing.endpoint import Call, Endpoint

from launchcore.plugin import RunSpec, RunState, SourceRef
from tests.crash.world import World

IMAGE: Final = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/train@sha256:{'0' * 64}"
SETTINGS: Final = {
    "role-arn": "arn:aws:iam::123456789012:role/launch-training",
    "output-path": "s3://training/output",
}
CONFIG: Final = {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10}}
LOOK: Final = "DescribeTrainingJob"


class PaperWorld(World):
    """Queue ``q`` of training jobs that nobody executes."""

    def __init__(self, root: Path, endpoint: Endpoint) -> None:
        super().__init__(root)
        self.endpoint = endpoint
        self.queue(type="sagemaker", max_running=None, config=CONFIG)

    def start(self, **settings: Any) -> psutil.Process:
        """An agent with its own pace."""
        config = self.root / "launch-config.yaml"
        plugins = {"sagemaker": {**SETTINGS, **settings}}
        config.write_text(yaml.safe_dump({"environment": self.endpoint.environment(), "plugins": plugins}))
        environ = {
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": "AKIABENCH",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "LAUNCHCORE_LEASE_SECONDS": "30",
        }
        return psutil.Process(self.agent("bench", environ=environ, args=("--config", str(config))).pid)

    def train(self) -> str:
        source = SourceRef(type="image", fields={"image": IMAGE})
        return self.service.submit("q", RunSpec(source=source, command=("train",))).id


def until(what: str, condition: Callable[[], object], seconds: float, pause: float = 0.1) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(pause)


def seen_to_run(world: PaperWorld, runs: Sequence[str], seconds: float) -> None:
    """Until the agent has seen each of them train."""
    left = list(runs)

    def all_seen() -> bool:
        while left and world.service.run(left[-1]).state is RunState.RUNNING:
            left.pop()
        return not left

    until("all runs are seen to run", all_seen, seconds, pause=0.5)


def settled(agent: psutil.Process, seconds: float) -> None:
    """Until its memory stays as it is: what it took to begin with is given back after a while."""
    last, since, end = 0, time.monotonic(), time.monotonic() + 20 * seconds
    while time.monotonic() < min(since + 3 * seconds, end):
        now = agent.memory_info().rss
        if abs(now - last) > 1e6:
            last, since = now, time.monotonic()
        time.sleep(seconds / 10)


def busiest(calls: Sequence[Call], window: float) -> float:
    """The most requests a second in any window of so many seconds."""
    times = sorted(call.at for call in calls)
    most, first = 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - window:
            first += 1
        most = max(most, last - first + 1)
    return most / window


def tracked(
    world: PaperWorld, agent: psutil.Process, counts: tuple[int, ...], seconds: float
) -> dict[str, Any]:
    """Memory and requests while it looks after a few, and after many."""
    found: dict[str, Any] = {}
    runs: list[str] = []
    for count in counts:
        began, mark = time.time(), len(world.endpoint.calls)
        runs += [world.train() for _ in range(count - len(runs))]
        until("all are made", lambda count=count: len(world.endpoint.jobs) == count, 900)  # type: ignore[misc]
        made = time.time() - began
        seen_to_run(world, runs, 1800)
        settled(agent, seconds)
        quiet = len(world.endpoint.calls)
        used = sum(agent.cpu_times()[:2])
        time.sleep(4 * seconds)
        asked = list(world.endpoint.calls)
        looks = [call for call in asked[mark:] if call.operation == LOOK]
        found[f"at_{count}"] = {
            "rss_mb": round(agent.memory_info().rss / 1e6, 1),
            "threads": agent.num_threads(),
            "cpu_percent": round(100 * (sum(agent.cpu_times()[:2]) - used) / (4 * seconds), 1),
            "all_made_s": round(made, 1),
            "looks_per_s": round(sum(call.operation == LOOK for call in asked[quiet:]) / (4 * seconds), 2),
            "busiest_10_s": round(busiest(looks, 10.0), 2),
            "other_requests": dict(
                Counter(call.operation for call in asked[mark:] if call.operation != LOOK)
            ),
        }
    few, many = counts[0], counts[-1]
    more = found[f"at_{many}"]["rss_mb"] - found[f"at_{few}"]["rss_mb"]
    return {**found, "kb_per_run": round(1e3 * more / (many - few), 1)}


def told(world: PaperWorld, count: int) -> dict[str, float]:
    """From the end of a training job to the end of its run, for some of those that run, all at once."""
    running = [job for job in world.endpoint.jobs if not job.has_ended]
    step = max(len(running) // count, 1)
    left = {job.name.removeprefix("launch-").rpartition("-")[0]: job for job in running[::step][:count]}
    began, took = time.monotonic(), []
    for job in left.values():
        job.end()

    def all_over() -> bool:
        for run in [run for run in left if world.service.run(run).state.final]:
            del left[run]
            took.append(time.monotonic() - began)
        return not left

    until("the runs are over", all_over, 1800)
    return {"p50_s": round(statistics.median(took), 2), "worst_s": round(max(took), 2)}


@contextlib.contextmanager
def place() -> Iterator[tuple[Cloud, Endpoint]]:
    cloud = Cloud()
    cloud.start()
    endpoint = Endpoint(cloud, ProcessContainers()).start()
    endpoint.faults.paper()
    try:
        yield cloud, endpoint
    finally:
        endpoint.close()
        cloud.close()


def journey(counts: tuple[int, ...], seconds: float, *, ends: int, events: bool) -> dict[str, Any]:
    with place() as (cloud, endpoint):
        settings: dict[str, Any] = {}
        if events:
            queue = cloud.client("sqs").create_queue(QueueName="launch-events")["QueueUrl"]
            endpoint.events_to(queue)
            settings["events-queue"] = queue
        world = PaperWorld(Path(tempfile.mkdtemp(prefix="lc-")), endpoint)
        try:
            agent = world.start(**settings)
            found = tracked(world, agent, counts, seconds)
            return {**found, "end_to_end": told(world, ends)}
        finally:
            world.close()


def measure(quick: bool) -> dict[str, Any]:
    if importlib.util.find_spec("moto") is None:
        return {"not_measured": "moto is not installed"}
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    counts, seconds = ((5, 25), 1.0) if quick else ((10, 1000), 10.0)
    return {
        "looking": journey(counts, seconds, ends=2 if quick else 20, events=False),
        "hearing": journey((5, 25), seconds, ends=2 if quick else 5, events=True),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few samples: does it work at all?")
    print(json.dumps(measure(parser.parse_args().quick), indent=2))


if __name__ == "__main__":
    main()

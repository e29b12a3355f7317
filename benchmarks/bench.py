"""Run every measurement once and print one JSON object.

``python -m benchmarks.bench [--quick] [--output FILE] [--table]``. What is compared is measured in the
same run: the store beside raw SQLite, the journey beside a bare Popen, the help beside importing typer.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import cold, footprint, journey
from benchmarks.rig import rig


def piece(module: str, quick: bool) -> Any:
    """A measurement that prints JSON, in a process of its own."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *(["--quick"] if quick else [])]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def measure(quick: bool) -> dict[str, Any]:
    """All of it: about a quarter of an hour, or three minutes when ``quick``."""
    found: dict[str, Any] = {
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "kernel": platform.release(),
            "quick": quick,
        },
        "help": cold.measure(3 if quick else 15),
    }
    with rig() as bench:
        found["idle"] = footprint.idle(bench, 2 if quick else 20)
        found["latency"] = journey.latency(bench, 20 if quick else 200)
        found["throughput"] = journey.throughput(bench, 200 if quick else 2000)
        sleepers, seconds = (50, 2) if quick else (500, 20)
        found["busy"] = footprint.busy(bench, sleepers, seconds)
    found["store"] = piece("bench_store", quick)
    found["process"] = piece("bench_process", quick)
    found["server"] = piece("bench_server", quick)
    found["claims"] = piece("bench_claims", quick)
    found["docker"] = piece("bench_docker", quick)
    found["kubernetes"] = piece("bench_k8s", quick)
    found["kaniko"] = piece("bench_kaniko", quick)
    found["sagemaker"] = piece("bench_sagemaker", quick)
    found["context_store"] = piece("bench_context_store", quick)
    found["aims"] = aims(found)
    return found


def aims(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What we want, beside what was measured. Figures of one machine: a report, not a test."""
    latency, throughput = found["latency"]["submit_to_started_ms"]["p50"], found["throughput"]["runs_per_s"]
    rows = [
        ("submit → started, p50", latency, "ms", "<", 50.0),
        ("no-op runs end to end", throughput, "/s", ">", 200.0),
        ("claim + complete / raw SQLite", found["store"]["ratio"], "", ">", 0.6),
    ]
    for name, aim in (("sqlite", 500.0), ("postgresql", 1500.0)):
        served = found["server"][name]
        if "skipped" not in served:
            rows += [
                (f"claim + complete over HTTP, {name}", served["claim_complete_per_s"], "/s", ">", aim),
                (
                    f"submit → claimed over HTTP, {name}, p50",
                    served["submit_to_claim_ms"]["p50"],
                    "ms",
                    "<",
                    50.0,
                ),
            ]
        if "skipped" not in found["claims"][name]:
            ratio = found["claims"][name]["http"]["ratio"]
            rows.append((f"cost of a claim, most runs waiting / fewest, {name}", ratio, "", "<", 1.2))
    docker = found["docker"]
    if "not_measured" not in docker:
        over = docker["latency"]["submit_to_started_p50_s"] - docker["latency"]["bare_create_start_p50_s"]
        rows += [
            ("container: submit → started over bare", 1e3 * over, "ms", "<", 100.0),
            ("containers at parallelism 8 / bare", docker["parallel_8"]["share_of_bare"], "", ">", 0.9),
            ("log of a container", docker["logs_one"]["mb_per_s"], " MB/s", ">", 20.0),
            ("cached build decision", docker["decision"]["cached_decision_p50_ms"], "ms", "<", 300.0),
        ]
    rows += [*in_a_cluster(found), *training(found["sagemaker"])]
    kubernetes = found["kubernetes"]
    if "not_measured" not in kubernetes:
        share = min(kubernetes[name]["share_of_bare"] for name in kubernetes if name.startswith("jobs_"))
        rows += [
            ("Jobs at once / bare Jobs", share, "", ">", 0.9),
            ("memory for each Job that waits", kubernetes["waiting"]["kb_per_run"], " KB", "<", 20.0),
        ]
        if "running" in kubernetes:
            rows.append(
                ("memory for each Job that runs", kubernetes["running"]["kb_per_run"], " KB", "<", 20.0)
            )
        if "requests" in kubernetes:
            rows.append(("API requests for each run", kubernetes["requests"]["per_run"], "", "<", 5.01))
    return [
        {"what": what, "measured": value, "unit": unit, "aim": f"{sign} {aim:g}"}
        | {"met": met(value, sign, aim)}
        for what, value, unit, sign, aim in rows
    ]


def in_a_cluster(found: dict[str, Any]) -> list[tuple[str, float, str, str, float]]:
    """Building without an engine."""
    rows: list[tuple[str, float, str, str, float]] = []
    if "not_measured" not in found["kaniko"]:
        slowest = max(each["cached_decision_p50_ms"] for each in found["kaniko"].values())
        rows.append(("cached build decision in a cluster", slowest, "ms", "<", 300.0))
    store = found["context_store"]
    if "not_measured" not in store:
        least = min(store[name]["share_of_bare"] for name in store if name.startswith("upload_"))
        rows.append(("context upload / bare upload", least, "", ">", 0.8))
    return rows


def training(found: dict[str, Any]) -> list[tuple[str, float, str, str, float]]:
    """SageMaker's training jobs."""
    if "not_measured" in found:
        return []
    looking = found["looking"]
    busiest = max(each["busiest_10_s"] for name, each in looking.items() if name.startswith("at_"))
    return [
        ("looks at training jobs, the busiest ten seconds", busiest, "/s", "<", 2.21),
        ("memory for each training job", looking["kb_per_run"], " KB", "<", 20.0),
        (
            "end of a training job → end of its run, told by events",
            found["hearing"]["end_to_end"]["p50_s"],
            " s",
            "<",
            15.0,
        ),
    ]


def met(value: float, sign: str, aim: float) -> bool:
    return value < aim if sign == "<" else value >= aim


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every number with its path."""
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from flat(inner, f"{path}{key}.")
        elif not isinstance(inner, list):
            yield f"{path}{key}", inner


def table(found: dict[str, Any]) -> str:
    """For people."""
    rows = [(key, f"{value:,.2f}" if isinstance(value, float) else str(value)) for key, value in flat(found)]
    width = max(len(key) for key, _ in rows)
    lines = [f"{key:<{width}}  {value:>12}" for key, value in rows]
    lines.append("")
    for row in found["aims"]:
        measured = f"{row['measured']:.2f}{row['unit']}"
        lines.append(
            f"{'met    ' if row['met'] else 'NOT MET'}  {row['what']}: {measured} (aim {row['aim']})"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few samples: does it work at all?")
    parser.add_argument("--output", type=Path, help="where the JSON goes; without it, to stdout")
    parser.add_argument("--table", action="store_true", help="print a table for people")
    options = parser.parse_args()
    found = measure(options.quick)
    text = json.dumps(found, indent=2)
    if options.output:
        options.output.write_text(text + "\n")
    if options.table:
        print(table(found))
    if not options.output:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

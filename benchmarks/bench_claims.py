"""What a claim costs while a thousand runs wait, and while a million do: in the store, and over HTTP.

``python -m benchmarks.bench_claims [--quick]`` prints JSON. Both queues are open at the same time and are
asked in turn, so that both have the same machine; each is a database of its own, since a database's size is
what is asked about. ``ratio`` is that of the medians. What was claimed is ended, untimed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.bench_server import server
from benchmarks.bench_store import DONE, LEASE, QUEUE, Ours, agent
from launchcore.plugin import QueueClient
from launchcore.queues.connect import open_client

QUICK = (1_000, 100_000)
FULL = (1_000, 1_000_000)
_WARM = 20


def in_turn(clients: dict[int, QueueClient], count: int) -> dict[str, float]:
    """Medians of so many claims of one run from each queue, by how many runs wait there."""
    times: dict[int, list[float]] = {size: [] for size in clients}
    for turn in range(_WARM + count):
        order = list(clients.items())
        for size, client in order if turn % 2 else reversed(order):
            start = time.perf_counter()
            (claim,) = client.claim(agent(), [QUEUE], limit=1, lease_seconds=LEASE, wait=0)
            times[size].append(time.perf_counter() - start)
            client.write(claim.lease, DONE)
    medians = {size: 1e6 * statistics.median(spent[_WARM:]) for size, spent in times.items()}
    found = {f"us_at_1e{len(str(size)) - 1}": median for size, median in medians.items()}
    return found | {"ratio": medians[max(medians)] / medians[min(medians)]}


@contextlib.contextmanager
def served(urls: dict[int, str]) -> Iterator[dict[int, QueueClient]]:
    """A server for each database, and a client of each server."""
    with contextlib.ExitStack() as stack:
        clients: dict[int, QueueClient] = {}
        for size, url in urls.items():
            where, _ = stack.enter_context(server(url))
            clients[size] = open_client(where)
            clients[size].register(agent(), lease_seconds=LEASE)
            stack.callback(clients[size].close)
        yield clients


def cost(new: Callable[[int], str], settle: Callable[[], object], *, quick: bool) -> dict[str, Any]:
    """In the store and over HTTP. ``new``: makes a database, and gives its URL or directory."""
    places = {size: new(size) for size in (QUICK if quick else FULL)}
    filled = {size: Ours(Path(where) if where.startswith("/") else where) for size, where in places.items()}
    for size, ours in filled.items():
        ours.fill(size)
    settle()
    count = 100 if quick else 400
    try:
        found: dict[str, Any] = {
            "store": in_turn({size: ours.client for size, ours in filled.items()}, count)
        }
    finally:
        for ours in filled.values():
            ours.service.close()
    urls = {size: f"sqlite://{at}/ours.db" if at.startswith("/") else at for size, at in places.items()}
    with served(urls) as clients:
        found["http"] = in_turn(clients, count)
    return found


def measure(quick: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="launch-bench-") as top:

        def folder(size: int) -> str:
            made = Path(top) / str(size)
            made.mkdir()
            return str(made)

        found["sqlite"] = cost(folder, lambda: None, quick=quick)
    from tests.postgres import Server

    try:
        postgres = Server(durable=True)
    except (OSError, RuntimeError) as error:
        found["postgresql"] = {"skipped": str(error)}
        return found
    try:
        postgres.start()
        names: list[str] = []

        def database(_: int) -> str:
            names.append(postgres.database())
            return postgres.url(names[-1])

        def settle() -> None:
            """As the server does by itself, a while after so many rows were written."""
            for name in names:
                postgres.execute("VACUUM ANALYZE", name)
            postgres.execute("CHECKPOINT")

        found["postgresql"] = cost(database, settle, quick=quick)
    finally:
        postgres.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs, few samples")
    json.dump(measure(parser.parse_args().quick), sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

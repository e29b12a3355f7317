"""The embedded queue beside raw SQLite. ``python -m benchmarks.bench_store [--quick]`` prints JSON.

With ``--postgresql`` the same on a PostgreSQL server that it starts (durable, on this disk), with threads and
processes as several replicas have them; with ``--postgresql URL`` on a new database of that server.

Raw means: the ``sqlite3`` module, one table, one durable transaction for the claim's UPDATE and one for
the end's, on the same file system, in turn with ours. ``ratio`` is one thread of ours beside that.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from launchcore.plugin import (
    AgentInfo,
    Claim,
    Outcome,
    QueueConfig,
    RunSpec,
    RunState,
    SourceRef,
    Update,
    Verdict,
)
from launchcore.queues.connect import open_client, open_service
from launchcore.queues.embedded import EmbeddedService
from launchcore.queues.embedded_client import EmbeddedClient
from launchcore.store.codec import encode
from launchcore.store.database import Database

QUEUE = "bench"
SPEC = RunSpec(source=SourceRef(type="image", fields={"image": "busybox"}), command=("/bin/true",))
DONE = Update(outcome=Outcome(verdict=Verdict.SUCCEEDED, exit_code=0))
LEASE = 600.0
_NUMBERS = """
WITH RECURSIVE numbers(seq) AS (
    SELECT CAST(:first AS BIGINT) UNION ALL SELECT seq + 1 FROM numbers WHERE seq < :last
)
"""
_FILL = f"""
INSERT INTO runs (seq, id, queue_id, state, priority, submitter, submitted_at) {_NUMBERS}
SELECT seq, substr(CAST(1000000000000 + seq AS TEXT), 2), 1, 'queued', 2, '', :now FROM numbers
"""
_FILL_SPECS = f"INSERT INTO run_specs (seq, spec) {_NUMBERS} SELECT seq, :spec FROM numbers"


def agent(name: str = "bench") -> AgentInfo:
    return AgentInfo(name=name, session=name, host="here", pid=1, version="0", queues=(QUEUE,))


class Ours:
    """An embedded queue with one agent."""

    def __init__(self, where: Path | str) -> None:
        """``where``: a directory, or the URL of a new database."""
        self.database = Database(where if isinstance(where, str) else where / "ours.db")
        self.service = EmbeddedService(self.database)
        self.client = EmbeddedClient(self.database)
        self.service.create_queue(QUEUE, QueueConfig(type="process"))
        self.client.register(agent(), lease_seconds=LEASE)

    def fill(self, count: int) -> None:
        """Put ``count`` runs into the queue without a transaction for each."""

        def insert(tx: Any) -> None:
            first = (tx.connection.exec_driver_sql("SELECT max(seq) FROM runs").scalar() or 0) + 1
            values = {"first": first, "last": first + count - 1, "now": tx.now, "spec": encode(SPEC)}
            for statement in (_FILL, _FILL_SPECS):
                tx.execute(sa.text(statement), values)

        self.database.write(insert)

    def claim(self, limit: int = 1) -> Sequence[Claim]:
        return self.client.claim(agent(), [QUEUE], limit=limit, lease_seconds=LEASE, wait=0)

    def one(self) -> None:
        """Claim a run and end it: two durable transactions."""
        (claim,) = self.claim()
        self.client.write(claim.lease, DONE)


class Raw:
    """The least that does the same."""

    def __init__(self, folder: Path, count: int) -> None:
        self.connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.execute(
            "CREATE TABLE runs (id INTEGER PRIMARY KEY, state TEXT, token TEXT, spec TEXT)"
        )
        self.connection.execute("CREATE INDEX waiting ON runs (id) WHERE state = 'queued'")
        self.connection.execute("BEGIN")
        rows = [("queued", encode(SPEC)) for _ in range(count)]
        self.connection.executemany("INSERT INTO runs (state, spec) VALUES (?, ?)", rows)
        self.connection.execute("COMMIT")

    def one(self) -> None:
        execute = self.connection.execute
        execute("BEGIN IMMEDIATE")
        (run, _), *_ = execute(
            "UPDATE runs SET state = 'claimed', token = 'token' WHERE id = "
            "(SELECT id FROM runs WHERE state = 'queued' ORDER BY id LIMIT 1) RETURNING id, spec"
        ).fetchall()
        execute("COMMIT")
        execute("BEGIN IMMEDIATE")
        execute("UPDATE runs SET state = 'succeeded' WHERE id = ? AND token = 'token'", (run,))
        execute("COMMIT")


def per_second(call: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return count / (time.perf_counter() - start)


def beside_raw(folder: Path, rounds: int, count: int) -> dict[str, float]:
    """Ours and raw in turn, so that both have the same machine."""
    ours, raw = Ours(folder), Raw(folder, rounds * count + count)
    ours.fill(rounds * count + count)
    pairs = [(per_second(ours.one, count), per_second(raw.one, count)) for _ in range(rounds)]
    ours.service.close()
    raw.connection.close()
    mine, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    return {"claim_complete_per_s": mine, "raw_sqlite_per_s": bare, "ratio": ratio}


def with_threads(where: Path | str, threads: int, count: int) -> float:
    """Claim and complete from several threads of one process, which share commits."""
    ours = Ours(where)
    ours.fill(threads * count)

    def work() -> None:
        for _ in range(count):
            ours.one()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    rate = threads * count / (time.perf_counter() - start)
    ours.service.close()
    return rate


def claim_cost(where: Path | str, queued: int, count: int) -> float:
    """Microseconds of one claim, of one run, while so many wait."""
    ours = Ours(where)
    ours.fill(queued)
    ours.claim()
    start = time.perf_counter()
    for _ in range(count):
        ours.claim()
    spent = time.perf_counter() - start
    ours.service.close()
    return spent / count * 1e6


def submits(where: Path | str, count: int) -> float:
    ours = Ours(where)
    rate = per_second(lambda: ours.service.submit(QUEUE, SPEC), count)
    ours.service.close()
    return rate


def with_processes(url: str, processes: int, threads: int, count: int) -> float:
    """Claim and complete from several processes, each with several threads, as replicas of a server do."""
    ours = Ours(url)
    ours.fill(processes * threads * count)
    spawn = multiprocessing.get_context("spawn")
    pipes = [spawn.Pipe() for _ in range(processes)]
    workers = [spawn.Process(target=_replica, args=(url, threads, count, there)) for _, there in pipes]
    for worker in workers:
        worker.start()
    for here, _ in pipes:
        here.recv()
    start = time.perf_counter()
    for here, _ in pipes:
        here.send(None)
    for here, _ in pipes:
        here.recv()
    rate = processes * threads * count / (time.perf_counter() - start)
    for worker in workers:
        worker.join()
    ours.service.close()
    return rate


def _replica(url: str, threads: int, count: int, pipe: Connection) -> None:
    database = Database(url)
    client = EmbeddedClient(database)

    def work() -> None:
        for _ in range(count):
            (claim,) = client.claim(agent(), [QUEUE], limit=1, lease_seconds=LEASE, wait=0)
            client.write(claim.lease, DONE)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    pipe.send(None)
    pipe.recv()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    pipe.send(None)
    client.close()


def submit_to_claim(where: Path | str, count: int) -> dict[str, float]:
    """Milliseconds from the call of submit in one process to the claim in another, which waits."""
    url = where if isinstance(where, str) else f"sqlite://{where}/two.db"
    service = open_service(url)
    service.create_queue(QUEUE, QueueConfig(type="process"))
    here, there = multiprocessing.get_context("spawn").Pipe()
    other = multiprocessing.get_context("spawn").Process(target=_claimer, args=(url, count, there))
    other.start()
    here.recv()
    times = []
    for _ in range(count):
        time.sleep(0.005)  # it waits again
        start = time.time()
        service.submit(QUEUE, SPEC)
        times.append((here.recv() - start) * 1000)
    other.join()
    service.close()
    times.sort()
    return {"p50": times[len(times) // 2], "p99": times[int(len(times) * 0.99)]}


def _claimer(url: str, count: int, pipe: Connection) -> None:
    client = open_client(url)
    client.register(agent(), lease_seconds=LEASE)
    pipe.send(None)
    for _ in range(count):
        (claim,) = client.claim(agent(), [QUEUE], limit=1, lease_seconds=LEASE, wait=30)
        pipe.send(time.time())
        client.write(claim.lease, Update(state=RunState.PREPARING))
    client.close()


def measure(quick: bool) -> dict[str, Any]:
    scale = 1 if quick else 5
    with tempfile.TemporaryDirectory(prefix="launch-bench-") as top:

        def folder(name: str) -> Path:
            path = Path(top) / name
            path.mkdir()
            return path

        found: dict[str, Any] = beside_raw(folder("raw"), 3 * scale, 200)
        found |= {
            f"claim_complete_per_s_{n}_threads": with_threads(folder(f"t{n}"), n, 60 * scale) for n in (4, 16)
        }
        found["submit_per_s"] = submits(folder("submit"), 200 * scale)
        sizes = (1_000, 100_000) if quick else (1_000, 100_000, 1_000_000)
        for size in sizes:
            cost = claim_cost(folder(f"c{size}"), size, 100 * scale)
            found[f"claim_cost_us_at_1e{len(str(size)) - 1}"] = cost
        found["submit_to_claim_ms"] = submit_to_claim(folder("two"), 100 * scale)
    return found


def measure_postgresql(new: Callable[[], str], quick: bool) -> dict[str, Any]:
    """The same on a server. ``new``: makes a database, and gives its URL."""
    scale = 1 if quick else 5
    ours = Ours(new())
    ours.fill(200 * scale)
    found: dict[str, Any] = {"claim_complete_per_s": per_second(ours.one, 200 * scale)}
    ours.service.close()
    for n in (4, 16):
        found[f"claim_complete_per_s_{n}_threads"] = with_threads(new(), n, 60 * scale)
    for n in (2, 4):
        found[f"claim_complete_per_s_{n}_processes"] = with_processes(new(), n, 4, 100 * scale)
    found["submit_per_s"] = submits(new(), 200 * scale)
    for size in (1_000, 100_000) if quick else (1_000, 100_000, 1_000_000):
        found[f"claim_cost_us_at_1e{len(str(size)) - 1}"] = claim_cost(new(), size, 100 * scale)
    found["submit_to_claim_ms"] = submit_to_claim(new(), 100 * scale)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--postgresql", nargs="?", const="", metavar="URL")
    asked = parser.parse_args()
    if asked.postgresql is None:
        found = measure(asked.quick)
    else:
        from tests.postgres import Foreign, Server

        server = Foreign(asked.postgresql) if asked.postgresql else Server(durable=True)
        server.start()
        try:
            found = measure_postgresql(lambda: server.url(server.database()), asked.quick)
        finally:
            server.close()
    json.dump(found, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()

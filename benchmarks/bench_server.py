"""The queue service over HTTP, on SQLite and on PostgreSQL, both durable.

``python -m benchmarks.bench_server [--quick]`` prints JSON. Beside it, in the same run: the bare request,
``GET /healthz`` of the same server by the same client; and on PostgreSQL the least that claims and ends a run
there: two durable transactions of one UPDATE each, by its driver. What each side's processors spend on a run
says more than the rate where the machine has other things to do.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil
import requests

from benchmarks.bench_store import DONE, QUEUE, SPEC, agent
from launchcore.plugin import QueueConfig
from launchcore.queues import wire
from launchcore.queues.connect import open_client, open_service
from launchcore.store.codec import encode

LEASE = 600.0
PIECE = 16
"""So many runs an agent claims at once, and ends at once, on as many threads."""


@contextlib.contextmanager
def server(database: str) -> Iterator[tuple[str, psutil.Process]]:
    """A ``launch server`` over the database, on a free port; with one queue and one registered agent."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "launchcore", "server", "--db", database, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/readyz", timeout=5).close()
                break
            if time.monotonic() > until or process.poll() is not None:
                raise RuntimeError(f"no server at {url}")
            time.sleep(0.05)
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def together(count: int, work: Callable[[int], None]) -> float:
    """Seconds that ``count`` threads take."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def submits(url: str, count: int) -> float:
    """Runs per second, from 8 threads."""
    service = open_service(url)

    def work(_: int) -> None:
        for _ in range(count // 8):
            service.submit(QUEUE, SPEC)

    seconds = together(8, work)
    service.close()
    return count / seconds


def claim_complete(url: str, count: int) -> float:
    """Runs per second that one agent claims and ends: in pieces, its threads ending them side by side."""
    client = open_client(url)
    client.register(agent(), lease_seconds=LEASE)
    waiting: list[Any] = []
    lock = threading.Condition()
    left = [count]

    def claims(_: int) -> None:
        while left[0] > 0:
            limit = min(PIECE, left[0])
            found = client.claim(agent(), [QUEUE], limit=limit, lease_seconds=LEASE, wait=1.0)
            with lock:
                waiting.extend(found)
                left[0] -= len(found)
                lock.notify_all()

    def ends(_: int) -> None:
        while True:
            with lock:
                while not waiting and left[0] > 0:
                    lock.wait(1.0)
                if not waiting:
                    return
                claim = waiting.pop()
            client.write(claim.lease, DONE)

    seconds = together(1 + PIECE, lambda number: claims(number) if number == 0 else ends(number))
    client.close()
    return count / seconds


def spent(process: psutil.Process) -> float:
    """Processor seconds so far: of this process, or of another one and its children."""
    if process.pid == os.getpid():
        return time.process_time()
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            used = each.cpu_times()
            total += used.user + used.system
    return total


def claim_complete_and_cost(url: str, count: int, sides: dict[str, psutil.Process]) -> dict[str, Any]:
    """:func:`claim_complete`, and the processor time that it takes of each side."""
    before = {name: spent(process) for name, process in sides.items()}
    rate = claim_complete(url, count)
    cost = {name: 1e6 * (spent(process) - before[name]) / count for name, process in sides.items()}
    return {"claim_complete_per_s": rate, "cpu_us_per_run": cost | {"all": sum(cost.values())}}


def bare_postgresql(url: str, count: int) -> float:
    """Runs per second that one connection claims and ends, one after the other."""
    import psycopg

    claim = (
        "UPDATE bare SET state = 'claimed', token = 't' WHERE id = (SELECT id FROM bare WHERE "
        "state = 'queued' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, spec"
    )
    end = "UPDATE bare SET state = 'succeeded' WHERE id = %s AND token = 't'"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE bare (id bigserial PRIMARY KEY, state text, token text, spec text)")
        connection.execute("CREATE INDEX bare_waiting ON bare (id) WHERE state = 'queued'")
        fill = "INSERT INTO bare (state, spec) SELECT 'queued', %s FROM generate_series(1, %s)"
        connection.execute(fill, (encode(SPEC), count))
        start = time.perf_counter()
        for _ in range(count):
            found = connection.execute(claim).fetchone()
            connection.execute(end, (found and found[0],))
        return count / (time.perf_counter() - start)


def bare(url: str, count: int) -> float:
    """``GET /healthz`` per second, one after the other."""
    with requests.Session() as session:
        session.get(f"{url}/healthz", timeout=30)
        start = time.perf_counter()
        for _ in range(count):
            session.get(f"{url}/healthz", timeout=30)
        return count / (time.perf_counter() - start)


def one_by_one(url: str, count: int) -> float:
    """Claim and end, one run at a time, on one thread: two requests for each."""
    client = open_client(url)
    client.register(agent(), lease_seconds=LEASE)
    start = time.perf_counter()
    for _ in range(count):
        (claim,) = client.claim(agent(), [QUEUE], limit=1, lease_seconds=LEASE, wait=0)
        client.write(claim.lease, DONE)
    seconds = time.perf_counter() - start
    client.close()
    return count / seconds


def submit_to_claim(url: str, count: int) -> dict[str, float]:
    """Milliseconds from a submit in one process to the claim in another, which waits."""
    service = open_service(url)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    other = context.Process(target=_claimer, args=(url, count, there))
    other.start()
    here.recv()
    times = []
    for _ in range(count):
        time.sleep(0.01)  # it waits again
        start = time.time()
        service.submit(QUEUE, SPEC)
        times.append((here.recv() - start) * 1000)
    other.join()
    service.close()
    times.sort()
    return {"p50": times[len(times) // 2], "p99": times[int(len(times) * 0.99)]}


def _claimer(url: str, count: int, pipe: Connection) -> None:
    client = open_client(url)
    me = agent("other")
    client.register(me, lease_seconds=LEASE)
    pipe.send("ready")
    for _ in range(count):
        found: Any = ()
        while not found:
            found = client.claim(me, [QUEUE], limit=1, lease_seconds=LEASE, wait=30)
        pipe.send(time.time())
        client.write(found[0].lease, DONE)
    client.close()


def idle_agents(url: str, process: psutil.Process, count: int, seconds: float) -> dict[str, float]:
    """So many agents that wait for a run: memory of the server for each, and its CPU."""
    where = urlsplit(url)
    client = open_client(url)
    before = process.memory_info().rss
    sockets = []
    for number in range(count):
        me = agent(f"idle-{number}")
        client.register(me, lease_seconds=LEASE)
        asked = wire.ClaimRequest(agent=me, queues=(QUEUE,), limit=1, lease_seconds=LEASE, wait=50.0)
        body = msgspec.json.encode(asked)
        head = f"POST /v1/agents/claim HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n"
        made = socket.create_connection((where.hostname or "", where.port or 80), timeout=30)
        made.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        sockets.append(made)
    time.sleep(2.0)  # all of them wait
    process.cpu_percent()
    time.sleep(seconds)
    found = {
        "agents": count,
        "cpu_percent": process.cpu_percent(),
        "rss_mb": process.memory_info().rss / 1e6,
        "kb_per_agent": (process.memory_info().rss - before) / count / 1e3,
    }
    for each in sockets:
        each.close()
    client.close()
    return found


def on(database: str, *, quick: bool, postgres: psutil.Process | None = None) -> dict[str, Any]:
    """All figures of one database. ``postgres``: the server that it is on."""
    count = 800 if quick else 3000
    with server(database) as (url, process):
        service = open_service(url)
        service.create_queue(QUEUE, QueueConfig(type="process"))
        service.close()
        found: dict[str, Any] = {"submits_per_s": submits(url, count * 2)}
        sides = {"client": psutil.Process(), "server": process}
        sides |= {"postgresql": postgres} if postgres else {}
        claim_complete(url, count // 4)  # plans are made, connections are there
        rounds = [claim_complete_and_cost(url, count // 4, sides) for _ in range(3)]
        found |= sorted(rounds, key=lambda each: each["claim_complete_per_s"])[1]
        found["bare_request_per_s"] = statistics.median(bare(url, count // 4) for _ in range(3))
        found["claim_complete_one_by_one_per_s"] = one_by_one(url, count // 4)
        claim_complete(url, count - count // 4)
        found["submit_to_claim_ms"] = submit_to_claim(url, 40 if quick else 300)
        found["idle"] = idle_agents(url, process, 100 if quick else 1000, 3 if quick else 15)
    return found


def measure(quick: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="launch-bench-") as folder:
        found["sqlite"] = on(f"sqlite://{Path(folder)}/queue.db", quick=quick)
    from tests.postgres import Server

    try:
        postgres = Server(durable=True)
    except (OSError, RuntimeError) as error:
        found["postgresql"] = {"skipped": str(error)}
        return found
    try:
        postgres.start()
        process = postgres.process()
        found["postgresql"] = on(postgres.url(postgres.database()), quick=quick, postgres=process)
        bare = bare_postgresql(postgres.url(postgres.database()), 200 if quick else 1000)
        found["postgresql"]["bare_postgresql_per_s"] = bare
    finally:
        postgres.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few samples")
    json.dump(measure(parser.parse_args().quick), sys.stdout, indent=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())

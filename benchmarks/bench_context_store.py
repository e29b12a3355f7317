"""A build context into its store beside the bare library: ``python -m benchmarks.bench_context_store``.

JSON on standard output. The store is moto's S3, a process of its own on this machine, which takes of the
machine's cores what a service would not; ours and the bare upload are taken in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
from launch_kaniko.store_objects import ContextStore, open_store
from launch_kaniko.store_options import StoreOptions
from launch_kaniko.store_places import file_name, parse_store
from launch_kaniko.testing.store import ACCESS, World, missing, options_for, s3_server

MIB = 1 << 20
BUCKET = "bench-contexts"
PLACE = parse_store(f"s3://{BUCKET}/contexts")
PEAK = """
import random, sys
from pathlib import Path
from launch_kaniko.store_objects import open_store
from launch_kaniko.store_places import file_name, parse_store
from launch_kaniko.testing.store import ACCESS, options_for
def peak():  # of this program alone: what the kernel tells a parent includes what was before exec
    return Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
half = random.Random(1).randbytes(1 << 20), b"import torch; print('hello')\\n" * 37449
with open_store(parse_store(sys.argv[2]), ACCESS, options_for(sys.argv[1])) as store:
    idle = peak()
    store.put("ab" * 32, (half[at % 2] for at in range(int(sys.argv[3]))), lambda: None)
    print(idle, peak())
"""


def code(megabytes: int) -> bytes:
    """What a source tree is made of: Python's own library, again and again in another order."""
    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    texts = [path.read_bytes() for path in paths]
    order, out, size = random.Random(1), [], 0
    while size < megabytes * MIB:
        out.append(order.choice(texts))
        size += len(out[-1])
    return b"".join(out)[: megabytes * MIB]


def pieces(path: Path) -> Iterator[bytes]:
    """A file as :func:`launchcore.recipes.context.pack` gives it."""
    with path.open("rb", buffering=0) as file:
        while piece := file.read(MIB):
            yield piece


def timed(megabytes: int, action: Callable[[], object]) -> float:
    """MB/s."""
    began = time.perf_counter()
    action()
    return megabytes * MIB / 1e6 / (time.perf_counter() - began)


def upload(endpoint: str, path: Path, megabytes: int, rounds: int, level: int) -> dict[str, float]:
    """MB of context a second, and what the library alone puts of the same file, in parts of the same size."""
    import obstore
    from obstore.store import from_url

    options: StoreOptions = attrs.evolve(options_for(endpoint), compression=level)
    secret = {"access_key_id": "testing", "secret_access_key": "testing", "region": "us-east-1"}
    config: Any = {**secret, "endpoint": endpoint}
    bare = from_url(f"s3://{BUCKET}/bare", config=config, client_options={"allow_http": True})
    size, at_once = options.part_mb * MIB, options.concurrency
    ours, theirs = [], []
    with open_store(PLACE, ACCESS, options) as store:

        def put(store: ContextStore = store) -> None:
            store.put("ab" * 32, pieces(path), lambda: None)

        for _ in range(rounds):
            ours.append(timed(megabytes, put))
            theirs.append(
                timed(
                    megabytes,
                    lambda: obstore.put(bare, "x", path, chunk_size=size, max_concurrency=at_once),
                )
            )
    above = from_url(f"s3://{BUCKET}", config=config, client_options={"allow_http": True})
    kept = obstore.head(above, f"contexts/{file_name('ab' * 32)}")
    return {
        "mb_per_s": round(statistics.median(ours), 1),
        "bare_mb_per_s": round(statistics.median(theirs), 1),
        "share_of_bare": round(statistics.median(ours) / statistics.median(theirs), 2),
        "stored_share": round(kept["size"] / (megabytes * MIB), 3),
    }


def memory(endpoint: str, megabytes: int) -> dict[str, float]:
    """Peak resident memory of a process that puts a context of that size, half of it incompressible."""
    command = [sys.executable, "-c", PEAK, endpoint, PLACE.url, str(megabytes)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    idle, peak = map(int, done.stdout.split())
    return {"context_mb": megabytes, "idle_mb": round(idle / 1000, 1), "peak_mb": round(peak / 1000, 1)}


def checks(endpoint: str, count: int) -> dict[str, float]:
    """What a build pays when its context is there: one question."""
    took = []
    with open_store(PLACE, ACCESS, options_for(endpoint)) as store:
        store.put("cd" * 32, [b"x"], lambda: None)
        for _ in range(count):
            began = time.perf_counter()
            if not store.has("cd" * 32):
                raise RuntimeError("it is there")
            took.append(time.perf_counter() - began)
    return {"p50_ms": round(statistics.median(took) * 1000, 1)}


def measure(quick: bool, levels: tuple[int, ...] = (StoreOptions().compression,)) -> dict[str, Any]:
    """All of it; ``levels`` of compression side by side."""
    megabytes, rounds = (64, 3) if quick else (256, 5)
    why = missing()
    if why is not None:
        return {"not_measured": why}
    found: dict[str, Any] = {}
    with s3_server() as endpoint, tempfile.TemporaryDirectory(prefix="lc-") as directory:
        World(endpoint, BUCKET)
        path = Path(directory) / "context.tar"
        for kind, data in (("code", code(megabytes)), ("weights", os.urandom(MIB) * megabytes)):
            path.write_bytes(data)
            for level in levels:
                name = f"upload_{kind}" if len(levels) == 1 else f"upload_{kind}_level_{level}"
                found[name] = upload(endpoint, path, megabytes, rounds, level)
        found["has"] = checks(endpoint, 20)
        found["memory"] = [memory(endpoint, size) for size in ((16, 64) if quick else (64, 2048))]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="64 MB instead of 256, and of 2048 for memory")
    parser.add_argument("--level", action="append", type=int, default=[], help="of gzip (repeatable)")
    options = parser.parse_args()
    levels = tuple(options.level) or (StoreOptions().compression,)
    print(json.dumps(measure(options.quick, levels), indent=2))


if __name__ == "__main__":
    main()

"""A secret that every job prints in clear, in base64 and in a URL; and where it must not be (I8)."""

from __future__ import annotations

import base64
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

from launchcore.queues.base import RunInfo
from tests.chaos.served import Served

SHOWN = b"clear <secret>\nbase64 <secret>\nurl <secret>\n"
"""What a stored log has in its place."""
_ALIGNMENTS = 3
_RUN_ANSWERS = ("", "/timeline", "/logs", "/events?wait=0")
_ANSWERS = ("/v1/runs?limit=200", "/v1/agents", "/v1/queues", "/v1/audit", "/metrics")


def forms(canary: str) -> list[bytes]:
    """As it is, in base64 wherever it begins, in a URL; and each of these as a dump shows bytes."""
    raw = canary.encode()
    found = [raw, quote(raw, safe="").encode()]
    for shift in range(_ALIGNMENTS):
        first, last = (shift * 8 + 5) // 6, (shift + len(raw)) * 8 // 6
        found.append(base64.b64encode(b"\0" * shift + raw)[first:last])
    return [*found, *(form.hex().encode() for form in found)]


def absent(world: Served, runs: list[RunInfo], *, also: Iterable[Path] = ()) -> None:
    """I8: each run has printed it, and neither logs, database, files nor answers have it in any form.

    :param also: files besides those of the world.
    """
    looked_for = forms(world.canary)
    for run in runs:
        stored = world.log(run.id)
        assert SHOWN in stored, f"I8: {run.id} has not printed it: {stored!r}"
    for where, data in _places(world, runs, also):
        found = [form for form in looked_for if form in data]
        assert not found, f"I8: {found} is in {where}"


def _places(world: Served, runs: list[RunInfo], also: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    for run in runs:
        for attempt in run.attempts:
            yield f"the log of {attempt.id}", world.log(run.id, attempt.number)
    files = [path for path in world.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert {"job.sh", "server-0.out", "agent-0.out"} <= {path.name for path in files}
    for path in (*files, *also):  # the SQLite file, all that it has freed included, is one of them
        yield str(path), path.read_bytes()
    if world.database.startswith("postgresql:"):
        yield from _tables(world.database)
    asked = [*_ANSWERS, *(f"/v1/runs/{run.id}{part}" for run in runs for part in _RUN_ANSWERS)]
    for each in asked:
        with urllib.request.urlopen(f"http://127.0.0.1:{world.servers[0].port}{each}", timeout=30) as answer:
            yield f"the answer of {each}", answer.read()


def _tables(url: str) -> Iterator[tuple[str, bytes]]:
    """Every table as text; its bytes are shown in base 16."""
    import psycopg

    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert ("log_chunks",) in tables
        for (table,) in tables:
            with connection.cursor().copy(f'COPY "{table}" TO STDOUT'.encode()) as copied:
                yield f"the table {table}", b"".join(bytes(piece) for piece in copied)

"""A stored database of version 2 opens, and all that it holds is there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from launchcore.plugin import LaunchError, Reason, RunState
from launchcore.queues.base import RunFilter
from launchcore.queues.embedded import EmbeddedService
from launchcore.store import audit, sqlite, tokens
from launchcore.store.database import Database
from tests.store.rig import START, spec

pytestmark = pytest.mark.sqlite

VERSION_2 = Path(__file__).with_name("version_2.sql")


@pytest.fixture
def database(quick_path: Path) -> Iterator[Database]:
    path = quick_path / "queue.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(VERSION_2.read_text())
        raw.execute(f"PRAGMA application_id={sqlite.APPLICATION_ID}")
    made = Database(path, clock=lambda: START + 100.0)
    yield made
    made.close()


def test_runs_and_what_became_of_them(database: Database) -> None:
    service = EmbeddedService(database)
    runs = {run.spec.name or "": run for run in service.list_runs(RunFilter()).runs}

    assert {name: run.state for name, run in runs.items()} == {
        "done": RunState.SUCCEEDED,
        "preempted": RunState.SUCCEEDED,
        "poison": RunState.FAILED,
        "sweep[x=1]": RunState.RUNNING,
        "sweep[x=2]": RunState.QUEUED,
        "sweep[x=3]": RunState.QUEUED,
        "waits": RunState.QUEUED,
    }
    assert service.logs(runs["done"].id).data == b"epoch 1\nepoch 2\n"
    assert (runs["preempted"].preempted, len(runs["preempted"].attempts)) == (1, 2)
    assert runs["preempted"].attempts[0].failure is not None
    assert runs["preempted"].attempts[0].failure.reason is Reason.PREEMPTED
    assert runs["poison"].quarantined
    assert runs["waits"].spec.limits.queue_seconds == 86400.0
    assert service.timeline(runs["preempted"].id)


def test_arrays_and_refused_jobs(database: Database) -> None:
    service = EmbeddedService(database)
    array = service.array("sweep")

    assert (array.size, array.max_parallel, array.axes) == (3, 1, {"x": (1, 2, 3)})
    assert array.counts == {"queued": 2, "running": 1}
    again = service.submit_array(
        "default", spec(name="sweep"), {"x": [1, 2, 3]}, max_parallel=1, submitter="ann", key="k"
    )
    assert again == array
    assert service.queue("default").refused_jobs == ("train:1",)
    with pytest.raises(LaunchError, match="takes no more runs of train:1"):
        service.submit("default", spec(job="train:1"))


def test_tokens_and_the_audit_trail(database: Database) -> None:
    with database.read() as connection:
        (token,) = tokens.listed(connection)
        (entry,) = audit.page(connection, None, 10).entries
    assert (token.name, token.scopes, token.revoked_at) == ("laptop", ("submit", "read"), None)
    assert (entry.action, entry.subject) == ("create token", token.id)

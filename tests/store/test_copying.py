"""From the embedded queue to a server: everything arrives, and means the same."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from launchcore.plugin import LaunchError, QueueConfig, RunState
from launchcore.queues.base import RunFilter
from launchcore.queues.embedded import EmbeddedService
from launchcore.queues.embedded_client import EmbeddedClient
from launchcore.store import sqlite, tables, tokens
from launchcore.store.copying import copy
from launchcore.store.database import Database
from tests.postgres import Server
from tests.store.rig import LOST_AFTER, Agent, Rig, on_server, spec

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(on_server(), reason="copies from a SQLite file, whatever the rest is tested with"),
]
VERSION_1 = Path(__file__).with_name("version_1.sql")


@pytest.fixture
def target_url(postgres: Server) -> str:
    return postgres.url(postgres.database())


@pytest.fixture
def target(target_url: str) -> Iterator[Database]:
    made = Database(target_url)
    yield made
    made.close()


@pytest.fixture
def stored(quick_path: Path) -> Path:
    """A database of the first version."""
    path = quick_path / "queue.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(VERSION_1.read_text())
        raw.execute(f"PRAGMA application_id={sqlite.APPLICATION_ID}")
    return path


def rows(database: Database, table: sa.Table) -> list[tuple[object, ...]]:
    with database.read() as connection:
        return [
            tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns))
        ]


def test_a_stored_file_arrives_whole(stored: Path, target: Database) -> None:
    with Closing(Database(stored)) as source:
        service = EmbeddedService(source)
        digest = service.put_archive([b"tree", b"x" * 2_000_000])

        counted = copy(source, target)

        for table in tables.metadata.sorted_tables:
            if table.name not in ("schema_versions", "archives", "archive_chunks"):
                assert rows(target, table) == rows(source, table), table.name
                assert counted[table.name] == len(rows(source, table))
        there = EmbeddedService(target)
        assert counted["runs"] == 4
        assert counted["archives"] == 1
        assert there.list_runs(RunFilter()) == service.list_runs(RunFilter())
        for run in service.list_runs(RunFilter()).runs:
            assert there.logs(run.id) == service.logs(run.id)
            assert there.timeline(run.id) == service.timeline(run.id)
        with there.open_archive(digest) as file:
            assert file.read() == b"tree" + b"x" * 2_000_000


def test_what_is_new_follows_what_was_there(stored: Path, target: Database) -> None:
    with Closing(Database(stored)) as source:
        copy(source, target)
    there = EmbeddedService(target)
    before = [run.id for run in there.list_runs(RunFilter()).runs]
    there.create_queue("another", QueueConfig(type="process"))
    run = there.submit("another", spec())
    assert [each.id for each in there.list_runs(RunFilter()).runs] == [run.id, *before]


def test_an_agent_goes_on_with_what_it_has_running(rig: Rig, target: Database) -> None:
    run = rig.submit()
    waits = rig.submit()
    one = rig.agent()
    claim = one.one()
    one.start(claim)
    identity = one.client.identity()
    with pytest.raises(LaunchError, match="alive: one"):
        copy(rig.database, target)
    one.client.unregister(one.info)

    copy(rig.database, target)

    client = EmbeddedClient(target, lost_after=LOST_AFTER)
    assert client.identity() == identity
    again = Agent(client, one.info).restart("one-2")
    again.register()
    (adopted,) = again.reclaim()
    assert adopted.handle is not None
    again.end(adopted)
    there = EmbeddedService(target)
    assert there.run(run.id).state is RunState.SUCCEEDED
    assert again.one().run_id == waits.id


def test_tokens_stay_good(rig: Rig, target: Database) -> None:
    made, secret = rig.database.write(lambda tx: tokens.create(tx, "laptop", ("submit",), "ann", None))
    copy(rig.database, target)
    with target.read() as connection:
        found = tokens.by_id(connection, made.id)
    assert found is not None
    assert tokens.matches(secret, found[1])


def test_a_database_in_use_is_refused(rig: Rig, target: Database) -> None:
    EmbeddedService(target).create_queue("theirs", QueueConfig(type="process"))
    rig.submit()
    with pytest.raises(LaunchError, match="in use: its table queues"):
        copy(rig.database, target)
    assert [queue.name for queue in EmbeddedService(target).list_queues()] == ["theirs"]


def test_the_command(stored: Path, target_url: str) -> None:
    command = [sys.executable, "-m", "launchcore.cli", "db", "copy", f"sqlite://{stored}", target_url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "copied 1 queues, 1 jobs, 4 runs" in done.stdout + done.stderr
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode != 0
    assert "in use" in again.stderr
    assert "Traceback" not in again.stderr


class Closing:
    """A database for a block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> Database:
        return self._database

    def __exit__(self, *_: object) -> None:
        self._database.close()

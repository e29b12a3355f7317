"""Opening a file: made for its owner alone, refused when it is not ours, and never harmed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from launchcore.plugin import Fault, LaunchError, QueueConfig, QueueUnavailable, Reason, RunState
from launchcore.queues.base import RunFilter
from launchcore.queues.embedded import EmbeddedService
from launchcore.store import sqlite
from launchcore.store.database import Database
from launchcore.store.migrations import MIGRATIONS, Migration, migrate, version_of
from launchcore.store.sqlite import Sqlite
from tests.store.rig import Rig

pytestmark = pytest.mark.sqlite

VERSION_1 = Path(__file__).with_name("version_1.sql")


def refused(path: Path) -> LaunchError:
    with pytest.raises(LaunchError) as error:
        Database(path)
    assert error.value.reason is Reason.CONFIG_ERROR
    assert str(path) in error.value.detail
    assert "\n" not in error.value.detail
    assert error.value.hint
    return error.value


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_file_and_directory_are_for_their_owner_alone(quick_path: Path) -> None:
    umask = os.umask(0)
    try:
        rig = Rig(quick_path / "new" / "deeper")
        rig.queue()
        rig.submit()
    finally:
        os.umask(umask)

    assert mode(rig.path.parent) == 0o700
    files = [path for path in rig.path.parent.iterdir() if path.is_file()]
    assert {path.name for path in files} >= {"queue.db", "queue.db-wal"}
    assert {mode(path) for path in files} == {0o600}
    rig.service.close()


def test_a_directory_that_is_there_keeps_its_mode(quick_path: Path) -> None:
    quick_path.chmod(0o755)
    Database(quick_path / "queue.db").close()
    assert mode(quick_path) == 0o755


def test_writes_are_durable_and_the_journal_is_a_write_ahead_log(rig: Rig) -> None:
    """The pragmas that the promises stand on."""
    read = rig.database.write(
        lambda tx: [
            tx.connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    )
    assert read == ["wal", 2, 1]


def test_a_reader_cannot_write(rig: Rig) -> None:
    with pytest.raises(Exception, match="readonly"), rig.database.read() as connection:
        connection.exec_driver_sql("DELETE FROM runs")


@pytest.mark.parametrize(
    "content",
    [b"not a database, but text\n" * 100, b"SQLite format 3\0" + bytes(range(256)) * 80],
    ids=["text", "damaged"],
)
def test_what_is_no_database_is_left_as_it_is(quick_path: Path, content: bytes) -> None:
    path = quick_path / "queue.db"
    path.write_bytes(content)

    error = refused(path)

    assert error.fault is Fault.INFRASTRUCTURE
    assert "integrity_check" in (error.hint or "")
    assert path.read_bytes() == content


def test_a_file_that_is_cut_is_left_as_it_is(quick_path: Path) -> None:
    rig = Rig(quick_path)
    rig.queue()
    for _ in range(50):
        rig.submit()
    rig.service.close()
    whole = rig.path.read_bytes()
    rig.path.write_bytes(whole[: len(whole) // 2])
    before = rig.path.read_bytes()

    with pytest.raises(LaunchError) as error:
        EmbeddedService(Database(rig.path)).list_runs(RunFilter())

    assert error.value.reason is Reason.CONFIG_ERROR
    assert "is damaged" in error.value.detail
    assert rig.path.read_bytes() == before


def test_a_database_of_something_else_is_left_as_it_is(quick_path: Path) -> None:
    path = quick_path / "photos.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE photos (id INTEGER)")
    before = path.read_bytes()

    assert "not of launchcore" in refused(path).detail
    assert path.read_bytes() == before


def test_a_newer_version_is_left_as_it_is(quick_path: Path) -> None:
    path = quick_path / "queue.db"
    Database(path).close()
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("INSERT INTO schema_versions VALUES (99, 'the future', 0)")
        raw.commit()
    before = path.read_bytes()

    error = refused(path)

    assert "has version 99" in error.detail
    assert path.read_bytes() == before


@pytest.mark.parametrize("what", ["a directory", "under a file", "unwritable"])
def test_paths_that_cannot_be(quick_path: Path, what: str) -> None:
    path = quick_path / "queue.db"
    if what == "a directory":
        path.mkdir()
    elif what == "under a file":
        path.write_text("")
        path = path / "queue.db"
    else:
        path = Path("/proc/queue.db")
    assert "cannot open" in refused(path).detail


def test_a_file_that_may_not_be_written(tmp_path: Path) -> None:
    """As another user: root may write everything."""
    if os.getuid() != 0:
        pytest.skip("needs root to become somebody else")
    Rig(tmp_path).service.close()
    path = tmp_path / "queue.db"
    path.chmod(0o444)
    for folder in [tmp_path, *tmp_path.parents][:4]:
        folder.chmod(folder.stat().st_mode | 0o055)
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from launchcore.plugin import LaunchError\n"
        "import launchcore.store.archives, launchcore.store.bell, launchcore.store.sqlite\n"
        "from launchcore.store.database import Database\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try:\n"
        "    Database(Path(sys.argv[1]))\n"
        "except LaunchError as error:\n"
        "    print(error.detail, '|', error.hint)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert "cannot open" in said.stdout
    assert "ls -ld" in said.stdout


def test_a_lock_that_is_held_for_too_long(rig: Rig) -> None:
    run = rig.submit()
    impatient = EmbeddedService(Database(rig.path, clock=rig.clock, busy_seconds=0.1))
    with closing(sqlite3.connect(rig.path, isolation_level=None)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        with pytest.raises(QueueUnavailable, match="locked for more than"):
            impatient.cancel(run.id)
        assert impatient.run(run.id).state is RunState.QUEUED  # who reads need not wait
        raw.execute("ROLLBACK")
    assert impatient.cancel(run.id).state is RunState.CANCELLED
    impatient.close()


class TestMigrations:
    def test_a_stored_version_1_opens_without_loss(self, quick_path: Path) -> None:
        path = quick_path / "queue.db"
        with closing(sqlite3.connect(path)) as raw:
            raw.executescript(VERSION_1.read_text())
            raw.execute(f"PRAGMA application_id={sqlite.APPLICATION_ID}")
        service = EmbeddedService(Database(path))

        states = {run.spec.name: run.state for run in service.list_runs(RunFilter()).runs}
        assert states == {
            "waits": RunState.QUEUED,
            "runs": RunState.RUNNING,
            "done": RunState.SUCCEEDED,
            "broken": RunState.FAILED,
        }
        done = service.run("done")
        assert service.logs(done.id).data == b"epoch 1\nepoch 2\n"
        assert done.attempts[0].usage == {"cpu_seconds": 1.5}
        failed = service.run("broken")
        assert failed.failure is not None
        assert failed.failure.reason is Reason.OUT_OF_MEMORY
        assert service.queue("default").config == QueueConfig(type="process", max_running=4)
        assert service.job("train").ref == "train:2"
        assert [row.name for row in service.agents()] == ["one"]
        service.close()

    def test_a_migrated_file_has_the_tables_of_a_new_one(self, quick_path: Path) -> None:
        old, new = quick_path / "old.db", quick_path / "new.db"
        with closing(sqlite3.connect(old)) as raw:
            raw.executescript(VERSION_1.read_text())
            raw.execute(f"PRAGMA application_id={sqlite.APPLICATION_ID}")
        schemas = []
        for path in (old, new):
            Database(path).close()
            with closing(sqlite3.connect(path)) as raw:
                schemas.append(_schema(raw))
                assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
                assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert schemas[0] == schemas[1]

    def test_steps_that_are_missing_are_carried_out_in_order(self, quick_path: Path) -> None:
        database, connection = _opened(quick_path)
        done: list[int] = []
        last = len(MIGRATIONS)
        steps = [*MIGRATIONS, *(_step(number, done) for number in (last + 1, last + 2))]

        assert migrate(database, connection, now=1.0, migrations=MIGRATIONS) == last
        assert done == []  # a new file has no past
        assert migrate(database, connection, now=2.0, migrations=steps) == last + 2
        assert migrate(database, connection, now=3.0, migrations=steps) == last + 2

        assert done == [last + 1, last + 2]
        assert version_of(connection) == last + 2
        connection.close()

    def test_a_step_that_fails_leaves_the_version_before_it(self, quick_path: Path) -> None:
        database, connection = _opened(quick_path)

        def broken(connection: sa.Connection) -> None:
            connection.exec_driver_sql("CREATE TABLE half (x INTEGER)")
            raise OSError("the disk is gone")

        migrate(database, connection, now=1.0)
        steps = [*MIGRATIONS, Migration(number=len(MIGRATIONS) + 1, what="broken", apply=broken)]
        with pytest.raises(OSError, match="the disk is gone"):
            migrate(database, connection, now=1.0, migrations=steps)

        assert version_of(connection) == len(MIGRATIONS)
        assert not sa.inspect(connection).has_table("half")
        connection.close()

    @pytest.mark.slow
    def test_many_processes_may_open_a_new_file_at_once(self, tmp_path: Path) -> None:
        script = (
            "import sys; from pathlib import Path; from launchcore.store.database import Database\n"
            "sys.stdin.readline()\n"
            "Database(Path(sys.argv[1])).close()\n"
        )
        command = [sys.executable, "-c", script, str(tmp_path / "queue.db")]
        others = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(4)]
        for other in others:
            assert other.stdin is not None
            other.stdin.write(b"\n")
            other.stdin.close()
        assert [other.wait(60) for other in others] == [0, 0, 0, 0]


def _opened(folder: Path) -> tuple[Sqlite, sa.Connection]:
    database = Sqlite(folder / "queue.db", busy_seconds=1.0)
    database.prepare()
    return database, database.connect()


def _step(number: int, done: list[int]) -> Migration:
    def apply(_connection: sa.Connection) -> None:
        done.append(number)

    return Migration(number=number, what=f"step {number}", apply=apply)


def _schema(raw: sqlite3.Connection) -> dict[str, object]:
    """Columns, foreign keys and indexes of each table, whatever the text that made them."""
    found: dict[str, object] = {}
    for name, kind, sql in raw.execute("SELECT name, type, sql FROM sqlite_master WHERE sql IS NOT NULL"):
        if kind == "table":
            columns = raw.execute(f"PRAGMA table_info({name})").fetchall()
            keys = raw.execute(f"PRAGMA foreign_key_list({name})").fetchall()
            found[name] = (sorted(row[1:] for row in columns), sorted(row[2:] for row in keys))
        else:
            found[name] = " ".join(sql.split())
    return found

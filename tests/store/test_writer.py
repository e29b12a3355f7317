"""Group commit: one durable commit for all that came meanwhile, and each with its own fate."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from launchcore.plugin import QueueUnavailable
from launchcore.store.database import Database
from launchcore.store.writer import Transaction

pytestmark = pytest.mark.sqlite


@pytest.fixture
def database(quick_path: Path) -> Iterator[Database]:
    made = Database(quick_path / "queue.db")
    made.write(lambda tx: tx.connection.exec_driver_sql("CREATE TABLE t (x INTEGER PRIMARY KEY)"))
    yield made
    made.close()


def insert(number: int) -> Callable[[Transaction], int]:
    def operation(tx: Transaction) -> int:
        tx.connection.exec_driver_sql("INSERT INTO t VALUES (?)", (number,))
        return number

    return operation


def stored(database: Database) -> list[int]:
    with database.read() as connection:
        return list(connection.exec_driver_sql("SELECT x FROM t ORDER BY x").scalars())


def together(database: Database, operations: Sequence[Callable[[Transaction], object]]) -> list[object]:
    """Hand operations in while another one is being carried out, so that they share a commit."""
    results: list[object] = [None] * len(operations)
    holding, go_on = threading.Event(), threading.Event()

    def hold(_tx: Transaction) -> None:
        holding.set()
        go_on.wait(10)

    def run(place: int) -> None:
        try:
            results[place] = database.write(operations[place])
        except Exception as error:
            results[place] = error

    first = threading.Thread(target=lambda: database.write(hold))
    first.start()
    assert holding.wait(10)
    writer: Any = database._writer
    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(operations))]
    for thread in threads:
        thread.start()
    while len(writer._pending) < len(operations):
        pass
    go_on.set()
    for thread in (first, *threads):
        thread.join(10)
    return results


def count_commits(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    commits: list[int] = []
    commit = database._engine.commit

    def counted(connection: sa.Connection) -> None:
        commits.append(1)
        commit(connection)

    monkeypatch.setattr(database._engine, "commit", counted)
    return commits


def test_what_comes_meanwhile_shares_one_commit(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = count_commits(database, monkeypatch)

    assert together(database, [insert(number) for number in range(20)]) == list(range(20))

    assert len(commits) == 2
    assert stored(database) == list(range(20))


def test_one_that_fails_fails_alone(database: Database) -> None:
    def half(tx: Transaction) -> None:
        tx.connection.exec_driver_sql("INSERT INTO t VALUES (99)")
        raise ValueError("no")

    results = together(database, [insert(1), half, insert(2)])

    assert (results[0], results[2]) == (1, 2)
    assert isinstance(results[1], ValueError)
    assert stored(database) == [1, 2]


def test_a_lone_one_that_fails_leaves_nothing(database: Database) -> None:
    def half(tx: Transaction) -> None:
        tx.connection.exec_driver_sql("INSERT INTO t VALUES (99)")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        database.write(half)
    assert stored(database) == []


def test_a_duplicate_key_is_one_operations_own_mistake(database: Database) -> None:
    results = together(database, [insert(1), insert(1), insert(2)])

    assert sorted(type(result).__name__ for result in results) == ["Conflict", "int", "int"]
    assert stored(database) == [1, 2]


def test_an_interrupt_in_the_leading_thread_hangs_nobody(database: Database) -> None:
    class Interrupted(BaseException):
        pass

    def interrupt(_tx: Transaction) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        database.write(interrupt)
    assert database.write(insert(1)) == 1


def test_topics_ring_after_the_commit_only(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[object] = []

    def ring(topics: list[str]) -> None:
        rung.append((sorted(topics), stored(database)))

    monkeypatch.setattr(database._writer, "_ring", ring)

    def fails(tx: Transaction) -> None:
        tx.ring("never")
        raise ValueError("no")

    def works(tx: Transaction) -> None:
        tx.connection.exec_driver_sql("INSERT INTO t VALUES (1)")
        tx.ring("a")
        tx.ring("b")

    with pytest.raises(ValueError, match="no"):
        database.write(fails)
    database.write(works)

    assert rung == [(["a", "b"], [1])]


def test_many_threads_lose_nothing(database: Database) -> None:
    def work(start: int) -> None:
        for number in range(start, start + 100):
            database.write(insert(number))

    threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 800, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert stored(database) == list(range(800))


def test_after_close_everything_is_unavailable(database: Database) -> None:
    database.close()
    database.close()

    with pytest.raises(QueueUnavailable, match="closed"):
        database.write(insert(1))
    with pytest.raises(QueueUnavailable, match="closed"), database.read():
        pass

"""Many operations of one thread, in one durable commit."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from launchcore.plugin import QueueConfig, QueueUnavailable
from launchcore.store import queues
from launchcore.store.database import Database
from launchcore.store.writer import Transaction


def test_each_has_its_own_result_and_its_own_error(tmp_path: Path) -> None:
    database = Database(tmp_path / "queue.db")

    def fails(transaction: Transaction) -> None:
        queues.create(transaction, "torn", QueueConfig(type="process"))
        raise ValueError("no")

    made = database.write_many(
        [
            lambda tx: queues.create(tx, "one", QueueConfig(type="process")),
            fails,
            lambda tx: queues.create(tx, "two", QueueConfig(type="process")),
        ]
    )

    assert [type(error) for _, error in made] == [type(None), ValueError, type(None)]
    with database.read() as connection:
        listed = queues.listed(connection, database.configs, now=0.0)
    assert [queue.name for queue in listed] == ["one", "two"]
    database.close()


def test_more_than_a_round_beside_other_threads(tmp_path: Path) -> None:
    database = Database(tmp_path / "queue.db")
    counts: list[int] = []

    def many() -> None:
        counts.append(len(database.write_many([lambda tx: tx.now] * 600)))

    def one_by_one() -> None:
        for _ in range(20):
            database.write(lambda tx: tx.now)

    threads = [threading.Thread(target=each) for each in (many, many, one_by_one, one_by_one)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert counts == [600, 600]
    database.close()


def test_a_closed_database_takes_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "queue.db")
    database.close()

    assert database.write_many([]) == []
    with pytest.raises(QueueUnavailable):
        database.write_many([lambda tx: tx.now])

"""Archives in a server's database: in chunks, by the digest of their bytes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from launchcore.plugin import LaunchError, QueueUnavailable, Reason
from launchcore.store.archives_database import CHUNK
from launchcore.store.database import Database
from launchcore.store.tables import archive_chunks, archives
from tests.postgres import Server
from tests.store.rig import Clock

pytestmark = pytest.mark.live


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(postgres: Server, clock: Clock) -> Iterator[Database]:
    made = Database(postgres.url(postgres.database()), clock=clock)
    yield made
    made.close()


def stored(database: Database) -> tuple[int, int]:
    """(archives, chunks)"""
    with database.read() as connection:
        return (
            connection.execute(sa.select(sa.func.count()).select_from(archives)).scalar_one(),
            connection.execute(sa.select(sa.func.count()).select_from(archive_chunks)).scalar_one(),
        )


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 17])
def test_what_is_put_is_opened_by_its_digest(database: Database, size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    content = content[:size]
    pieces = [content[start : start + 70_001] for start in range(0, size, 70_001)]

    digest = database.archives.put(pieces)

    assert digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert database.archives.has(digest)
    with database.archives.open(digest) as file:
        assert file.read() == content
    assert list(database.archives.digests()) == [digest]
    assert stored(database) == (1, -(-size // CHUNK))


def test_it_is_read_from_anywhere(database: Database) -> None:
    content = b"".join(number.to_bytes(4, "big") for number in range(CHUNK // 2))
    digest = database.archives.put([content])
    with database.archives.open(digest) as file:
        for at in (CHUNK - 3, 0, len(content) - 5, CHUNK):
            file.seek(at)
            assert file.read(10) == content[at : at + 10]
        assert file.seek(0, 2) == len(content)
        assert file.read() == b""


@pytest.mark.parametrize("digest", ["", "sha256:", f"sha256:{'0' * 64}", "upload:1", "sha256:\0", "x" * 9999])
def test_what_is_not_there_is_the_users_mistake(database: Database, digest: str) -> None:
    assert not database.archives.has(digest)
    with pytest.raises(LaunchError) as error:
        database.archives.open(digest)
    assert error.value.reason is Reason.SOURCE_FAILED


def test_one_that_is_too_large_leaves_nothing(database: Database) -> None:
    with pytest.raises(LaunchError, match="larger than"):
        database.archives.put(iter(lambda: b"x" * CHUNK, b""), limit=3 * CHUNK)
    assert stored(database) == (0, 0)


def test_an_upload_that_breaks_off_leaves_nothing(database: Database) -> None:
    def breaks() -> Iterator[bytes]:
        yield b"x" * (2 * CHUNK)
        raise ConnectionError("the client is gone")

    with pytest.raises(ConnectionError):
        database.archives.put(breaks())
    assert stored(database) == (0, 0)


def test_what_a_killed_upload_left_is_removed_a_day_later(database: Database, clock: Clock) -> None:
    def killed() -> Iterator[bytes]:
        yield b"x" * CHUNK
        database.close()
        yield b"x" * CHUNK

    with pytest.raises(QueueUnavailable):
        database.archives.put(killed())
    again = Database(database_url(database), clock=clock)
    assert stored(again) == (1, 1)
    assert list(again.archives.digests()) == []

    again.archives.put([b"small"])
    assert stored(again) == (2, 2)
    clock.pass_(86_401)
    again.archives.put([b"small too"])
    assert stored(again) == (2, 2)
    again.close()


def test_the_same_bytes_at_the_same_time_are_one(database: Database) -> None:
    barrier = threading.Barrier(4)
    found: list[str] = []

    def put() -> None:
        barrier.wait(30)
        found.append(database.archives.put([b"same" * CHUNK]))

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4
    assert len(set(found)) == 1
    assert stored(database) == (1, 4)


def database_url(database: Database) -> str:
    from tests.postgres import server

    return server().url(database.name.rpartition("/")[2])

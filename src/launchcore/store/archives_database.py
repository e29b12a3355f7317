"""Uploaded archives in the database, in chunks: replicas of a server share no disk.

Each chunk is stored by a transaction of its own, so that an upload of gigabytes holds no lock and no memory;
the row that makes them an archive comes last. An upload that was cut off is forgotten a day later.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import secrets
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy import bindparam

from launchcore.store.archives import no_archive, parse_digest, too_large
from launchcore.store.engine import DEFAULT_LIMIT
from launchcore.store.ids import new_run_id
from launchcore.store.tables import archive_chunks, archives

if TYPE_CHECKING:
    from launchcore.store.database import Database
    from launchcore.store.writer import Transaction

CHUNK: Final = 512 * 1024
"""Bytes of every chunk but the last."""
_ABANDONED_SECONDS: Final = 86400.0
_PARTIAL: Final = "upload:"
"""Begins what stands for the digest while an upload goes on."""

_ROW = sa.select(archives.c.upload, archives.c.size).where(archives.c.digest == bindparam("digest"))
_DIGESTS = sa.select(archives.c.digest)
_BEGIN = archives.insert()
_FINISH = (
    archives.update()
    .where(archives.c.digest == bindparam("p_partial"))
    .values(
        digest=bindparam("p_digest"), size=bindparam("p_size"), stored_at=bindparam("p_now", type_=sa.Float)
    )
)
_PARTIALS = sa.select(archives.c.upload).where(
    archives.c.digest.like(_PARTIAL + "%"), archives.c.stored_at < bindparam("before", type_=sa.Float)
)
_ADD = archive_chunks.insert()
_READ = sa.select(archive_chunks.c.data).where(
    archive_chunks.c.upload == bindparam("upload"), archive_chunks.c.number == bindparam("number")
)
_DROP_CHUNKS = archive_chunks.delete().where(archive_chunks.c.upload == bindparam("p_upload"))
_DROP_ROW = archives.delete().where(archives.c.digest == bindparam("p_partial"))


class DatabaseArchives:
    """See :class:`launchcore.store.engine.Archives`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, chunks: Iterable[bytes], *, limit: int = DEFAULT_LIMIT) -> str:
        upload = self._database.write(_begin)
        try:
            digest, size = self._store(upload, chunks, limit)
            self._database.write(lambda tx: _finish(tx, upload, digest, size))
        except BaseException:
            with contextlib.suppress(Exception):  # it is forgotten later
                self._database.write(lambda tx: _forget(tx, upload))
            raise
        return f"sha256:{digest}"

    def has(self, digest: str) -> bool:
        return self._row(digest) is not None

    def open(self, digest: str) -> IO[bytes]:
        row = self._row(digest)
        if row is None:
            raise no_archive(digest)
        return io.BufferedReader(_Reader(self._database, row.upload, row.size), CHUNK)

    def digests(self) -> list[str]:
        with self._database.read() as connection:
            found = connection.execute(_DIGESTS).scalars().all()
        return sorted(f"sha256:{name}" for name in found if not name.startswith(_PARTIAL))

    def _row(self, digest: str) -> Any:
        name = parse_digest(digest)
        if name is None:
            return None
        with self._database.read() as connection:
            return connection.execute(_ROW, {"digest": name}).first()

    def _store(self, upload: str, chunks: Iterable[bytes], limit: int) -> tuple[str, int]:
        hashed = hashlib.sha256()
        size = number = 0
        waiting = bytearray()
        for chunk in chunks:
            size += len(chunk)
            if size > limit:
                raise too_large(limit)
            hashed.update(chunk)
            waiting += chunk
            while len(waiting) >= CHUNK:
                self._add(upload, number, bytes(waiting[:CHUNK]))
                del waiting[:CHUNK]
                number += 1
        if waiting:
            self._add(upload, number, bytes(waiting))
        return hashed.hexdigest(), size

    def _add(self, upload: str, number: int, data: bytes) -> None:
        row = {"upload": upload, "number": number, "data": data}
        self._database.write(lambda tx: tx.execute(_ADD, row).rowcount)


class _Reader(io.RawIOBase):
    """An archive, a chunk at a time. Seekable, as a file is."""

    def __init__(self, database: Database, upload: str, size: int) -> None:
        self._database = database
        self._upload = upload
        self._size = size
        self._at = 0
        self._number = -1
        self._data = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """:raises QueueUnavailable: the database cannot be reached."""
        if self._at >= self._size:
            return 0
        number, inside = divmod(self._at, CHUNK)
        if number != self._number:
            with self._database.read() as connection:
                stored = connection.execute(_READ, {"upload": self._upload, "number": number}).scalar()
            if stored is None:
                raise OSError(f"chunk {number} of an archive is not there")
            self._number, self._data = number, bytes(stored)
        piece = self._data[inside : inside + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def _begin(transaction: Transaction) -> str:
    """A new upload. Forgets those that were cut off a day ago or earlier."""
    for old in (
        transaction.execute(_PARTIALS, {"before": transaction.now - _ABANDONED_SECONDS}).scalars().all()
    ):
        _forget(transaction, old)
    upload = f"{new_run_id(transaction.now)}-{secrets.token_hex(6)}"
    row = {"digest": _PARTIAL + upload, "upload": upload, "size": 0, "stored_at": transaction.now}
    transaction.execute(_BEGIN, row)
    return upload


def _finish(transaction: Transaction, upload: str, digest: str, size: int) -> None:
    if transaction.execute(_ROW, {"digest": digest}).first() is not None:
        _forget(transaction, upload)
        return
    values = {"p_partial": _PARTIAL + upload, "p_digest": digest, "p_size": size, "p_now": transaction.now}
    transaction.execute(_FINISH, values)


def _forget(transaction: Transaction, upload: str) -> None:
    transaction.execute(_DROP_CHUNKS, {"p_upload": upload})
    transaction.execute(_DROP_ROW, {"p_partial": _PARTIAL + upload})

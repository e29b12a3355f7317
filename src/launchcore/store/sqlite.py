"""Everything that is SQLite's own: opening a file, transactions, errors. No other file knows it.

A connection is in SQLAlchemy's AUTOCOMMIT mode, and transactions are begun and ended here: writers
with ``BEGIN IMMEDIATE``, so that none has to upgrade a lock and fail; commits reach the disk
(``synchronous=FULL``) before anybody is told.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from launchcore.plugin import Fault, LaunchError, QueueDamaged, QueueUnavailable, Reason
from launchcore.store.engine import Archives, Carrier, Conflict

if TYPE_CHECKING:
    from launchcore.store.database import Database
    from launchcore.store.ears import Ears
    from launchcore.store.writer import Configs

APPLICATION_ID = 0x6C636F72
""""lcor", in the file's header: how we know our own file."""

_CONFLICT = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_REFUSED = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
)
_TROUBLE = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT}
)


class Sqlite:
    """One database file.

    :param busy_seconds: how long to wait for another process's write before ``QueueUnavailable``.
    """

    most_readers = 1000
    foreign: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, path: Path, *, busy_seconds: float) -> None:
        self.path = path
        self.name = str(path)
        self._busy_seconds = busy_seconds
        self._engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(path)),
            isolation_level="AUTOCOMMIT",
            poolclass=sa.NullPool,
            connect_args={"check_same_thread": False, "timeout": busy_seconds},
        )

    def prepare(self) -> None:
        """Make the file and its directory, for us alone, unless they are there.

        :raises LaunchError: ``config_error``: that is not possible, or the file is something else's.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise LaunchError(
                f"cannot open the queue database {self.path}: {error.strerror}",
                reason=Reason.CONFIG_ERROR,
                fault=Fault.INFRASTRUCTURE,
                hint=f"see `ls -ld {self.path.parent} {self.path}`; it must be a file that you may write",
            ) from None
        try:
            self._claim_file()
        except (sqlite3.Error, DBAPIError) as error:
            raise self.translate(error, opening=True) from None

    def connect(self) -> sa.Connection:
        """A connection for writing."""
        connection = self._engine.connect()
        raw = _raw(connection)
        for pragma in (
            "synchronous=FULL",
            "fullfsync=1",
            "foreign_keys=ON",
            "temp_store=MEMORY",
            "cache_size=-16000",
            "journal_size_limit=67108864",
            "wal_autocheckpoint=4000",
        ):
            raw.execute(f"PRAGMA {pragma}")
        return connection

    def connect_reading(self) -> sa.Connection:
        """A connection that cannot write."""
        connection = self._engine.connect()
        for pragma in ("query_only=ON", "cache_size=-8000"):
            _raw(connection).execute(f"PRAGMA {pragma}")
        return connection

    def alone(self, connection: sa.Connection) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()  # each transaction that writes is

    def begin(self, connection: sa.Connection) -> None:
        _raw(connection).execute("BEGIN IMMEDIATE")

    def begin_reading(self, connection: sa.Connection) -> None:
        _raw(connection).execute("BEGIN")

    def commit(self, connection: sa.Connection) -> None:
        _raw(connection).execute("COMMIT")

    def rollback(self, connection: sa.Connection) -> None:
        raw = _raw(connection)
        if raw.in_transaction:  # a full disk has rolled it back already
            raw.execute("ROLLBACK")

    def savepoint(self, connection: sa.Connection) -> None:
        _raw(connection).execute("SAVEPOINT one")

    def release(self, connection: sa.Connection) -> None:
        _raw(connection).execute("RELEASE one")

    def rollback_to_savepoint(self, connection: sa.Connection) -> None:
        raw = _raw(connection)
        raw.execute("ROLLBACK TO one")
        raw.execute("RELEASE one")

    def continue_numbers(self, connection: sa.Connection) -> None:
        """They do by themselves."""

    def fatal(self, error: BaseException) -> bool:
        """Whether the whole transaction is lost, not only the statement that failed."""
        code = _code(error)
        return code is not None and code in _CONFLICT | _DAMAGED | _REFUSED | _TROUBLE

    def gone(self, connection: sa.Connection) -> bool:
        return False

    def clock(self) -> float:
        return time.time()

    def make_bell(self) -> Ears:
        from launchcore.store.bell import Bell

        mark: list[sa.Connection] = []  # of the bell's thread alone: changes are counted for each connection

        def changed() -> int:
            if not mark:
                mark.append(self.connect_reading())
            return self.change_mark(mark[0])

        def close() -> None:
            for connection in mark:
                connection.close()

        return Bell(self.path.with_name(self.path.name + "-bell"), changed, close)

    def make_archives(self, database: Database) -> Archives:
        from launchcore.store.archives import FileArchives

        return FileArchives(self.path.parent / "archives")

    def make_carrier(
        self, *, clock: Callable[[], float] | None, ring: Callable[[list[str]], None], configs: Configs
    ) -> Carrier:
        from launchcore.store.writer import Writer

        return Writer(self, clock=clock or self.clock, ring=ring, configs=configs)

    def change_mark(self, connection: sa.Connection) -> int:
        """A number that changes when another connection has committed; costs no read of the file."""
        row = _raw(connection).execute("PRAGMA data_version").fetchone()
        return int(row[0])

    def translate(self, error: BaseException, *, opening: bool = False) -> Exception:
        """A database's error as one of ours, in one line."""
        code = _code(error)
        cause = str(error.orig if isinstance(error, DBAPIError) else error)
        if code in _DAMAGED:
            return QueueDamaged(
                f"the queue database {self.path} is damaged, or is no database: {cause}",
                hint=(
                    f"it was left as it is. Look with `sqlite3 {self.path} 'PRAGMA integrity_check'`, save "
                    f"what is left with `sqlite3 {self.path} .recover | sqlite3 new.db`, or move it away"
                ),
            )
        if code == sqlite3.SQLITE_CONSTRAINT:
            return Conflict(cause)
        if code in _CONFLICT:
            return QueueUnavailable(
                f"the queue database {self.path} was locked for more than {self._busy_seconds:g} s"
            )
        if code in _REFUSED and opening:
            return LaunchError(
                f"cannot write to the queue database {self.path}: {cause}",
                reason=Reason.CONFIG_ERROR,
                fault=Fault.INFRASTRUCTURE,
                hint=f"see `ls -ld {self.path.parent} {self.path}`; you must be able to write both",
            )
        if code == sqlite3.SQLITE_FULL:
            return QueueUnavailable(f"no space left for the queue database {self.path}")
        if code in _REFUSED | _TROUBLE:
            return QueueUnavailable(f"the queue database {self.path} cannot be used now: {cause}")
        return LaunchError(
            f"the queue database refused a statement: {cause}", reason=Reason.INFRASTRUCTURE, fault=Fault.CORE
        )

    def _claim_file(self) -> None:
        """Mark an empty file as ours and set its journal; refuse one that is somebody else's."""
        raw = sqlite3.connect(self.path, timeout=self._busy_seconds, isolation_level=None)
        try:
            mark = raw.execute("PRAGMA application_id").fetchone()[0]
            tables = raw.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if mark != APPLICATION_ID and (mark or tables):
                raise LaunchError(
                    f"{self.path} is a database, but not of launchcore",
                    reason=Reason.CONFIG_ERROR,
                    fault=Fault.USER,
                    hint="give another path in base_url; nothing was changed",
                )
            _patiently(raw, "PRAGMA journal_mode=WAL", self._busy_seconds)
            if mark != APPLICATION_ID:
                _patiently(raw, f"PRAGMA application_id={APPLICATION_ID}", self._busy_seconds)
            elif os.access(self.path, os.W_OK):
                raw.execute("BEGIN IMMEDIATE")  # a file that nobody may write is told of now, not later
                raw.execute("ROLLBACK")
        finally:
            raw.close()


def _patiently(raw: sqlite3.Connection, statement: str, seconds: float) -> None:
    """Execute a statement for which SQLite's busy timeout does not count."""
    end = time.monotonic() + seconds
    while True:
        try:
            raw.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if _code(error) not in _CONFLICT or time.monotonic() > end:
                raise
            time.sleep(0.01)


def _raw(connection: sa.Connection) -> sqlite3.Connection:
    driver: Any = connection.connection.dbapi_connection
    return driver  # type: ignore[no-any-return]


def _code(error: BaseException | None) -> int | None:
    """SQLite's primary result code."""
    if isinstance(error, DBAPIError):
        error = error.orig
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF

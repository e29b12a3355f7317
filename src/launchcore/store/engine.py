"""What the store asks of a database. :mod:`~launchcore.store.sqlite` and :mod:`~launchcore.store.postgres`
satisfy it; everything else in this package is written once, for both."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

if TYPE_CHECKING:
    from launchcore.store.database import Database
    from launchcore.store.ears import Ears
    from launchcore.store.writer import Configs, Transaction

T = TypeVar("T")

DEFAULT_LIMIT = 4 << 30
"""Bytes of one archive."""


class Conflict(Exception):
    """A row of this key is there already, or one that this row needs is not."""


class Again(Exception):
    """What a transaction has read was changed before it could lock it: it is to be carried out once more.

    Never raised on SQLite, where one transaction writes at a time.
    """


class Archives(Protocol):
    """Uploaded archives, by the SHA-256 of their bytes. Whoever reads one verifies it against its name."""

    def put(self, chunks: Iterable[bytes], *, limit: int = DEFAULT_LIMIT) -> str:
        """Store an archive, durably, and return ``sha256:<hex>``. The same bytes again change nothing.

        :raises LaunchError: ``config_error`` (user): more than ``limit`` bytes; nothing is kept.
        :raises QueueUnavailable: it could not be written (disk full).
        """
        ...

    def has(self, digest: str) -> bool:
        """Whether it is there. A text that is no digest is not."""
        ...

    def open(self, digest: str) -> IO[bytes]:
        """Open it for reading.

        :raises LaunchError: ``source_failed`` (user): not there.
        """
        ...

    def digests(self) -> Iterable[str]:
        """Of all that are there."""
        ...


class Carrier(Protocol):
    """Carries out operations in transactions, on any thread."""

    def run(self, operation: Callable[[Transaction], T]) -> T:
        """Carry out ``operation``, perhaps more than once, and return its result when it is durable.

        :raises: what it raised (then it has changed nothing), or the database's error.
        """
        ...

    def run_many(
        self, operations: Sequence[Callable[[Transaction], T]]
    ) -> list[tuple[T | None, Exception | None]]:
        """Carry out operations that have nothing to do with each other: what each returned or raised."""
        ...

    def close(self) -> None:
        """Wait for what is being carried out, and close all connections."""
        ...


class Engine(Protocol):
    """One database: its connections, its transactions, its errors.

    Transactions are begun and ended by these methods alone: connections are in AUTOCOMMIT mode.
    """

    @property
    def name(self) -> str:
        """For people. Never has a password."""
        ...

    @property
    def most_readers(self) -> int:
        """Connections that read at the same time, of one process."""
        ...

    @property
    def foreign(self) -> tuple[type[Exception], ...]:
        """The errors of the driver."""
        ...

    def prepare(self) -> None:
        """Make it ready to be connected to, or refuse what is not ours.

        :raises LaunchError: ``config_error``: with what to do.
        """
        ...

    def connect(self) -> sa.Connection:
        """A connection for writing."""
        ...

    def connect_reading(self) -> sa.Connection:
        """A connection that does not write."""
        ...

    def alone(self, connection: sa.Connection) -> contextlib.AbstractContextManager[None]:
        """While in it, nobody else changes the tables' definitions."""
        ...

    def begin(self, connection: sa.Connection) -> float | None:
        """Begin a transaction that writes. Gives the database's own time, where it has one."""
        ...

    def begin_reading(self, connection: sa.Connection) -> None:
        """Begin a transaction with one consistent view."""
        ...

    def commit(self, connection: sa.Connection) -> None:
        """Durably: whoever is told afterwards can rely on it."""
        ...

    def rollback(self, connection: sa.Connection) -> None: ...
    def savepoint(self, connection: sa.Connection) -> None: ...
    def release(self, connection: sa.Connection) -> None: ...
    def rollback_to_savepoint(self, connection: sa.Connection) -> None: ...

    def continue_numbers(self, connection: sa.Connection) -> None:
        """Rows were written with numbers of their own: new ones are to follow after those."""
        ...

    def fatal(self, error: BaseException) -> bool:
        """Whether the whole transaction is lost, not only the statement that failed."""
        ...

    def gone(self, connection: sa.Connection) -> bool:
        """Whether the connection is of no more use, though the database may be."""
        ...

    def translate(self, error: BaseException, *, opening: bool = False) -> Exception:
        """A database's error as one of ours, in one line."""
        ...

    def clock(self) -> float:
        """UNIX seconds, on the clock that all who use the database share."""
        ...

    def make_bell(self) -> Ears: ...
    def make_archives(self, database: Database) -> Archives: ...
    def make_carrier(
        self,
        *,
        clock: Callable[[], float] | None,
        ring: Callable[[list[str]], None],
        configs: Configs,
    ) -> Carrier:
        """:param clock: instead of the database's own.
        :param ring: called with the topics of each commit, after it.
        """
        ...


def engine_for(where: Path | str, *, busy_seconds: float) -> Engine:
    """The engine of a SQLite file, or of a ``postgresql://`` URL.

    :raises LaunchError: ``config_error``: the driver is not installed, or the URL is none.
    """
    if isinstance(where, Path):
        from launchcore.store.sqlite import Sqlite

        return Sqlite(where, busy_seconds=busy_seconds)
    from launchcore.store.postgres import Postgres

    return Postgres(where, busy_seconds=busy_seconds)


class InsertNew(sa.Insert):
    """An INSERT that leaves a row that is there already as it is. Written alike for both databases, without
    the import of either's dialect. To be used with ``inline()``: it tells nothing of the row."""

    inherit_cache = True


@compiles(InsertNew)
def _insert_new(statement: InsertNew, compiler: Any, **options: Any) -> str:
    return f"{compiler.visit_insert(statement, **options)} ON CONFLICT DO NOTHING"

"""One open queue database: its transactions, its readers, its bell, its archives."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from launchcore.plugin import Fault, LaunchError, QueueConfig, QueueUnavailable, Reason
from launchcore.store.engine import engine_for
from launchcore.store.migrations import migrate
from launchcore.store.writer import Transaction

T = TypeVar("T")

_PATIENCE = 60.0
"""Seconds that a read waits for others to end, where too many read at a time."""


class Database:
    """An open database. Its methods may be called from any thread.

    :param where: a SQLite file, or a ``postgresql://`` URL (see :func:`open_database` for URLs of both).
    :param clock: UNIX seconds: the time on which leases run; the database's own unless it is given.
    :param busy_seconds: how long to wait for another process's write.
    :raises LaunchError: ``config_error``: it cannot be opened, with what to do.
    :raises QueueUnavailable: it is locked, the disk is full, or the server does not answer.
    """

    def __init__(
        self, where: Path | str, *, clock: Callable[[], float] | None = None, busy_seconds: float = 5.0
    ) -> None:
        self._engine = engine_for(where, busy_seconds=busy_seconds)
        self.name = self._engine.name
        """For people. Never has a password."""
        self.clock = clock or self._engine.clock
        self.configs: dict[tuple[int, int], QueueConfig] = {}
        """Queue configurations by queue and revision, which never change."""
        self.archives = self._engine.make_archives(self)
        self._readers: list[sa.Connection] = []
        self._reading = threading.BoundedSemaphore(self._engine.most_readers)
        self._closed = False
        self._close_lock = threading.Lock()
        self._foreign: tuple[type[Exception], ...] = (
            sa.exc.SQLAlchemyError,
            UnicodeEncodeError,
            *self._engine.foreign,
        )
        self._engine.prepare()
        with self._translated(opening=True):
            connection = self._engine.connect()
            try:
                with self._engine.alone(connection):
                    migrate(self._engine, connection, now=self.clock())
            finally:
                connection.close()
        self.bell = self._engine.make_bell()
        self._writer = self._engine.make_carrier(clock=clock, ring=self.bell.ring, configs=self.configs)

    def write(self, operation: Callable[[Transaction], T]) -> T:
        """Carry out ``operation`` in a transaction, durably, and tell those who wait.

        :raises QueueUnavailable: nothing was written: locked, disk full, input/output error.
        :raises LaunchError: the database is damaged; or what ``operation`` raised.
        """
        try:
            return self._writer.run(operation)
        except self._foreign as error:
            raise self._translation(error) from None

    def write_many(
        self, operations: Sequence[Callable[[Transaction], T]]
    ) -> list[tuple[T | None, Exception | None]]:
        """Like :meth:`write` for operations that have nothing to do with each other: one thread for all of
        them, and what each returned or raised. It raises itself when none could be carried out.
        """
        try:
            done = self._writer.run_many(operations)
        except self._foreign as error:
            raise self._translation(error) from None
        foreign = self._foreign
        return [
            (value, self._translation(error) if error and isinstance(error, foreign) else error)
            for value, error in done
        ]

    def continue_numbers(self, transaction: Transaction) -> None:
        """Rows were written with numbers of their own: new ones are to follow after those."""
        self._engine.continue_numbers(transaction.connection)

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection with one consistent view, for reading.

        :raises QueueUnavailable: like :meth:`write`.
        """
        if self.closed:
            raise QueueUnavailable("the queue database has been closed")
        if not self._reading.acquire(timeout=_PATIENCE):
            raise QueueUnavailable(f"the queue database {self.name} is too busy")
        try:
            with self._translated():
                connection = self._reader()
                try:
                    yield connection
                    self._engine.commit(connection)
                except BaseException:
                    with contextlib.suppress(Exception):
                        connection.close()  # rolls back; a new one is cheap
                    raise
                self._keep(connection)
        finally:
            self._reading.release()

    def sweep(self, *, lost_after: float = 600.0) -> None:
        """Carry out what time alone brings, in all queues: expired leases, deadlines, retries, waits.

        Agents do it with each renewal; a server does it every few seconds, whether agents live or not.

        :raises QueueUnavailable: like :meth:`write`.
        """
        from launchcore.store import expiry

        self.write(lambda transaction: expiry.everything(transaction, lost_after=lost_after))

    def close(self) -> None:
        """Close everything. Idempotent; calls that wait return."""
        with self._close_lock:
            if self._closed:
                return
            self._closed = True
        self.bell.close()
        self._writer.close()
        for connection in self._readers:
            with contextlib.suppress(Exception):
                connection.close()
        self._readers.clear()

    @property
    def closed(self) -> bool:
        return self._closed

    def _keep(self, connection: sa.Connection) -> None:
        if self._closed:
            connection.close()
        else:
            self._readers.append(connection)

    def _reader(self) -> sa.Connection:
        """A connection whose transaction has begun: one that is there, or else a new one."""
        while True:
            try:
                connection = self._readers.pop()
            except IndexError:
                break
            try:
                self._engine.begin_reading(connection)
                return connection
            except self._engine.foreign:
                gone = self._engine.gone(connection)
                with contextlib.suppress(Exception):
                    connection.close()
                if not gone:
                    raise
        connection = self._engine.connect_reading()
        try:
            self._engine.begin_reading(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def _translated(self, *, opening: bool = False) -> Iterator[None]:
        try:
            yield
        except self._foreign as error:
            raise self._translation(error, opening=opening) from None

    def _translation(self, error: Exception, *, opening: bool = False) -> Exception:
        """An error of the database or its driver, as one of ours."""
        if isinstance(error, UnicodeEncodeError):
            return LaunchError(
                "a text with characters that are no text", reason=Reason.CONFIG_ERROR, fault=Fault.USER
            )
        return self._engine.translate(error, opening=opening)


def open_database(
    url: str, *, clock: Callable[[], float] | None = None, busy_seconds: float = 5.0
) -> Database:
    """The database at ``sqlite:///ABSOLUTE/PATH.db`` or ``postgresql://USER@HOST:PORT/DATABASE``.

    :raises LaunchError: ``config_error``: the URL is none of these, or it cannot be opened.
    :raises QueueUnavailable: as :class:`Database` does.
    """
    from launchcore.queues.connect import database_path, is_server

    where = url if is_server(url) else database_path(url)
    return Database(where, clock=clock, busy_seconds=busy_seconds)

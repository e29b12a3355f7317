"""One open queue database: its writer, its readers, its bell, its archives."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from launchcore.plugin import Fault, LaunchError, QueueConfig, QueueUnavailable, Reason
from launchcore.store.archives import Archives
from launchcore.store.bell import Bell
from launchcore.store.migrations import migrate
from launchcore.store.sqlite import Sqlite
from launchcore.store.writer import Transaction, Writer

T = TypeVar("T")


class Database:
    """An open file. Its methods may be called from any thread.

    :param clock: UNIX seconds: the time on which leases run.
    :param busy_seconds: how long to wait for another process's write.
    :raises LaunchError: ``config_error``: it cannot be opened, with what to do.
    :raises QueueUnavailable: it is locked, or the disk is full.
    """

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = time.time, busy_seconds: float = 5.0
    ) -> None:
        self.path = path
        self.clock = clock
        self.archives = Archives(path.parent / "archives")
        self.configs: dict[tuple[int, int], QueueConfig] = {}
        """Queue configurations by queue and revision, which never change."""
        self._sqlite = Sqlite(path, busy_seconds=busy_seconds)
        self._readers: list[sa.Connection] = []
        self._closed = False
        self._close_lock = threading.Lock()
        self._mark_connection: sa.Connection | None = None
        self._foreign = (sa.exc.SQLAlchemyError, self._sqlite.Error, UnicodeEncodeError)
        self._sqlite.prepare()
        with self._translated(opening=True):
            connection = self._sqlite.connect()
            try:
                migrate(self._sqlite, connection, now=clock())
            finally:
                connection.close()
        self.bell = Bell(path.with_name(path.name + "-bell"), self._change_mark)
        self._writer = Writer(self._sqlite, clock=clock, ring=self.bell.ring, configs=self.configs)

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
        return [
            (value, self._translation(error) if isinstance(error, self._foreign) else error)
            for value, error in done
        ]

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection with one consistent view, for reading.

        :raises QueueUnavailable: like :meth:`write`.
        """
        if self.closed:
            raise QueueUnavailable("the queue database has been closed")
        with self._translated():
            try:
                connection = self._readers.pop()
            except IndexError:
                connection = self._sqlite.connect_reading()
            try:
                self._sqlite.begin_reading(connection)
                yield connection
                self._sqlite.commit(connection)
            except BaseException:
                connection.close()  # rolls back; a new one is cheap
                raise
            self._keep(connection)

    def close(self) -> None:
        """Close everything. Idempotent; calls that wait return."""
        with self._close_lock:
            if self._closed:
                return
            self._closed = True
        self.bell.close()
        self._writer.close()
        for connection in (*self._readers, self._mark_connection):
            if connection is not None:
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

    def _change_mark(self) -> int:
        """Asked by the bell's thread only: the mark is counted for each connection apart."""
        if self._mark_connection is None:
            self._mark_connection = self._sqlite.connect_reading()
        return self._sqlite.change_mark(self._mark_connection)

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
        return self._sqlite.translate(error, opening=opening)

"""Group commit: the threads of a process share one connection and one durable commit.

A commit waits for the disk, whatever it holds. So a thread that finds nobody writing leads: it
carries out its own operation and all that were handed in meanwhile, each in a savepoint of its own,
commits once, and wakes the others with their results. Whoever waits first then leads the next round.
A lone thread pays for no hand-over.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from launchcore.plugin import QueueConfig, QueueUnavailable
from launchcore.store.engine import Engine

T = TypeVar("T")
Configs = dict[tuple[int, int], QueueConfig]

_MOST_IN_A_ROUND = 256


class Transaction:
    """What an operation works with: the connection, the time, and whom to tell after the commit.

    ``configs``: decoded queue configurations by queue and revision, which never change. ``concurrent``:
    others may write at the same time, so rows are locked before what was read of them counts.
    """

    __slots__ = ("concurrent", "configs", "connection", "execute", "now", "topics")

    def __init__(
        self, connection: sa.Connection, now: float, configs: Configs, *, concurrent: bool = False
    ) -> None:
        self.concurrent = concurrent
        self.configs = configs
        self.connection = connection
        self.execute = connection.execute
        self.now = now
        self.topics: list[str] = []

    def ring(self, topic: str) -> None:
        """After the commit, wake those who wait for this topic."""
        self.topics.append(topic)


class _Ticket(Generic[T]):
    """One operation on its way, and how it ended."""

    __slots__ = ("done", "error", "leads", "operation", "turn", "value")

    def __init__(self, operation: Callable[[Transaction], T]) -> None:
        self.operation = operation
        self.turn = threading.Lock()
        self.turn.acquire()
        self.leads = False
        self.done = False
        self.error: BaseException | None = None
        self.value: T | None = None


class Writer:
    """Carries out operations in transactions. An operation may run on any thread, once.

    :param ring: called with the topics of each commit, after it.
    """

    def __init__(
        self,
        database: Engine,
        *,
        clock: Callable[[], float],
        ring: Callable[[list[str]], None],
        configs: Configs,
    ) -> None:
        self._configs = configs
        self._database = database
        self._clock = clock
        self._ring = ring
        self._mutex = threading.Lock()
        self._pending: list[_Ticket[Any]] = []
        self._led = False
        self._closed = False
        self._connection: sa.Connection | None = None

    def run(self, operation: Callable[[Transaction], T]) -> T:
        """Carry out ``operation`` and return its result when it is durable.

        :raises: what it raised (then it has changed nothing), or the database's error.
        """
        ticket = _Ticket(operation)
        self._hand_in([ticket])
        self._see_through(ticket)
        if ticket.error is not None:
            raise ticket.error
        return ticket.value  # type: ignore[return-value]

    def run_many(
        self, operations: Sequence[Callable[[Transaction], T]]
    ) -> list[tuple[T | None, Exception | None]]:
        """Carry out operations that have nothing to do with each other, in order, as if each were handed
        in by a thread of its own. Gives what each returned, or what it raised.
        """
        tickets = [_Ticket(operation) for operation in operations]
        if tickets:
            self._hand_in(tickets)
        waiting = iter(tickets)
        try:
            for ticket in waiting:
                self._see_through(ticket)
        except BaseException:
            for ticket in waiting:  # nobody waits for these: none of them may be the one that leads
                self._abandon(ticket)
            raise
        return [(ticket.value, _own(ticket.error)) for ticket in tickets]

    def _hand_in(self, tickets: list[_Ticket[Any]]) -> None:
        with self._mutex:
            if self._closed:
                raise QueueUnavailable("the queue database has been closed")
            self._pending += tickets
            tickets[0].leads = not self._led
            self._led = True

    def _see_through(self, ticket: _Ticket[Any]) -> None:
        """Wait for a ticket's turn, and lead its round if that is asked."""
        if not ticket.leads:
            try:
                ticket.turn.acquire()
            except BaseException:
                self._abandon(ticket)
                raise
        if ticket.leads and not ticket.done:
            self._lead(ticket)

    def close(self) -> None:
        """Wait for the round in progress, and close the connection."""
        with contextlib.suppress(QueueUnavailable):
            self.run(self._close)
        self._disconnect()

    def _close(self, _transaction: Transaction) -> None:
        with self._mutex:
            self._closed = True

    def _abandon(self, ticket: _Ticket[Any]) -> None:
        """Its thread was interrupted while it waited."""
        with self._mutex:
            if ticket in self._pending:
                self._pending.remove(ticket)
            if ticket.leads and not ticket.done:
                self._pass_on()

    def _pass_on(self) -> None:
        """Make the next one lead. The mutex is held."""
        if self._pending:
            self._pending[0].leads = True
            self._pending[0].turn.release()
        else:
            self._led = False

    def _lead(self, mine: _Ticket[Any]) -> None:
        with self._mutex:
            batch = self._pending[:_MOST_IN_A_ROUND]
            del self._pending[:_MOST_IN_A_ROUND]
        topics: list[str] = []
        try:
            topics = self._carry_out(batch)
        except BaseException as error:
            for ticket in batch:
                ticket.error = error
            if not isinstance(error, Exception):
                for ticket in batch:
                    ticket.error = QueueUnavailable("interrupted while writing")
                raise
        finally:
            for ticket in batch:
                ticket.done = True
                if ticket is not mine:
                    ticket.turn.release()
            with self._mutex:
                self._pass_on()
        if topics:
            self._ring(topics)

    def _carry_out(self, batch: list[_Ticket[Any]]) -> list[str]:
        """One transaction. Returns the topics to ring; raises when all of it is lost."""
        if self._closed:
            raise QueueUnavailable("the queue database has been closed")
        database = self._database
        if self._connection is None:
            self._connection = database.connect()
        connection = self._connection
        topics: list[str] = []
        try:
            database.begin(connection)
            for ticket in batch:
                if len(batch) > 1:
                    database.savepoint(connection)
                try:
                    transaction = Transaction(connection, self._clock(), self._configs)
                    ticket.value = ticket.operation(transaction)
                except Exception as error:
                    if database.fatal(error):
                        raise
                    ticket.error = error
                    if len(batch) > 1:
                        database.rollback_to_savepoint(connection)
                    else:
                        database.rollback(connection)
                        return topics
                else:
                    topics += transaction.topics
                    if len(batch) > 1:
                        database.release(connection)
            database.commit(connection)
        except BaseException:
            try:
                database.rollback(connection)
            except Exception:  # the connection itself is of no more use
                self._disconnect()
            raise
        return topics

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()


def _own(error: BaseException | None) -> Exception | None:
    """An operation's error; one that is the thread's own (an interrupt) is raised."""
    if error is not None and not isinstance(error, Exception):
        raise error
    return error

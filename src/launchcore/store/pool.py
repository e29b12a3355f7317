"""Carrying out operations on a server: several connections, each operation a transaction of its own.

The server makes the commits that come at the same time durable together, and takes care that locks are
held for as short as can be; so nobody waits for others here, as in :mod:`~launchcore.store.writer`. What is
handed in together is carried out together: operations of one kind in common (:mod:`~launchcore.store.joint`).
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import sqlalchemy as sa

from launchcore.plugin import QueueUnavailable
from launchcore.store import joint
from launchcore.store.engine import Again, Conflict
from launchcore.store.writer import Configs, Transaction

if TYPE_CHECKING:
    from launchcore.store.postgres import Postgres

T = TypeVar("T")

MOST: Final = 8
"""Connections that write, of one process."""
_TRIES: Final = 10
_PATIENCE: Final = 60.0
"""Seconds that an operation waits for a connection to be free."""


class Pool:
    """See :class:`launchcore.store.engine.Carrier`."""

    def __init__(
        self,
        database: Postgres,
        *,
        clock: Callable[[], float] | None,
        ring: Callable[[list[str]], None],
        configs: Configs,
        most: int = MOST,
    ) -> None:
        self._database = database
        self._clock = clock
        self._ring = ring
        self._configs = configs
        self._most = most
        self._free = threading.BoundedSemaphore(most)
        self._idle: list[sa.Connection] = []
        self._closed = False

    def run(self, operation: Callable[[Transaction], T]) -> T:
        with self._connection() as slot:
            for _ in range(_TRIES - 1):
                with contextlib.suppress(Again):
                    return self._carry_out(slot, operation)
            return self._carry_out(slot, operation, last=True)

    def run_many(
        self, operations: Sequence[Callable[[Transaction], T]]
    ) -> list[tuple[T | None, Exception | None]]:
        """In one transaction; where that cannot be (a deadlock), each in one of its own."""
        if len(operations) > 1:
            with contextlib.suppress(Again), self._connection() as slot:
                return self._carry_out(slot, lambda transaction: self._each(transaction, operations))
        done: list[tuple[T | None, Exception | None]] = []
        for operation in operations:
            try:
                done.append((self.run(operation), None))
            except Exception as error:
                if self._database.fatal(error) and not done:
                    raise
                done.append((None, error))
        return done

    def close(self) -> None:
        self._closed = True
        for _ in range(self._most):
            self._free.acquire(timeout=_PATIENCE)
        self._drop_idle()
        for _ in range(self._most):
            with contextlib.suppress(ValueError):
                self._free.release()

    def _each(
        self, transaction: Transaction, operations: Sequence[Callable[[Transaction], T]]
    ) -> list[tuple[T | None, Exception | None]]:
        """Those of a kind in common, as far as they can be; the others each in a savepoint of its own."""
        done: list[tuple[T | None, Exception | None]] = []
        for many, alike in itertools.groupby(operations, key=joint.kind):
            group: list[Any] = list(alike)
            over: Sequence[bool] = ()
            if many is not None and len(group) > 1:
                over = self._jointly(transaction, joint.together(many, group), len(group) == len(operations))
            done += [
                (None, None) if settled else self._apart(transaction, operation)
                for settled, operation in zip(over or [False] * len(group), group, strict=True)
            ]
        return done

    def _jointly(
        self, transaction: Transaction, all_of_them: Callable[[Transaction], Sequence[bool]], alone: bool
    ) -> Sequence[bool]:
        """Which of them were carried out in common; nothing where that failed.

        :param alone: the transaction has nothing but these.
        :raises Again: it failed, and each has to have a transaction of its own: a savepoint would cost all
            that do not fail two round trips.
        """
        if not alone:
            return self._apart(transaction, all_of_them)[0] or ()
        try:
            return all_of_them(transaction)
        except Exception as error:
            if self._database.fatal(error) or self._is_worth_another_try(error):
                raise
            raise Again from error

    def _apart(
        self, transaction: Transaction, operation: Callable[[Transaction], Any]
    ) -> tuple[Any, Exception | None]:
        """In a savepoint of its own: what it returned or raised.

        :raises: what the whole transaction is lost by.
        """
        database, connection, rung = self._database, transaction.connection, len(transaction.topics)
        database.savepoint(connection)
        try:
            value = operation(transaction)
        except Exception as error:
            if database.fatal(error) or self._is_worth_another_try(error):
                raise
            database.rollback_to_savepoint(connection)
            del transaction.topics[rung:]
            return None, error
        database.release(connection)
        return value, None

    def _carry_out(
        self, slot: list[sa.Connection], operation: Callable[[Transaction], T], *, last: bool = False
    ) -> T:
        """One transaction.

        :raises Again: it may be carried out again, and has changed nothing; not when it is the ``last`` try.
        """
        database = self._database
        connection, now = self._begun(slot)
        if self._clock is not None:
            now = self._clock()
        transaction = Transaction(connection, now, self._configs, concurrent=True)
        try:
            value = operation(transaction)
            database.commit(connection)
        except BaseException as error:
            try:
                database.rollback(connection)
            except Exception:  # the connection itself is of no more use
                _discard(slot)
            if isinstance(error, Exception) and self._is_worth_another_try(error):
                if not last:
                    raise Again from error
                if isinstance(error, Again):
                    raise QueueUnavailable("the queue changes faster than it can be written to") from None
            raise
        if transaction.topics:
            self._ring(transaction.topics)
        return value

    def _begun(self, slot: list[sa.Connection]) -> tuple[sa.Connection, float]:
        """A connection in a transaction, and the time there. One that was lost while idle is replaced."""
        if slot:
            try:
                return slot[0], self._database.begin(slot[0])
            except self._database.foreign:
                _discard(slot)
                self._drop_idle()  # probably the server was started again: they are all lost
        slot.append(self._database.connect())
        return slot[0], self._database.begin(slot[0])

    def _is_worth_another_try(self, error: Exception) -> bool:
        shown: Exception = error
        if isinstance(error, (*self._database.foreign, sa.exc.DBAPIError)):
            if self._database.repeatable(error):
                return True
            shown = self._database.translate(error)
        return isinstance(shown, (Again, Conflict))

    @contextlib.contextmanager
    def _connection(self) -> Any:
        """A place for one connection, which may be empty, and is kept for the next."""
        if self._closed:
            raise QueueUnavailable("the queue database has been closed")
        if not self._free.acquire(timeout=_PATIENCE):
            raise QueueUnavailable(f"the queue database {self._database.name} is too busy")
        slot: list[sa.Connection] = []
        try:
            with contextlib.suppress(IndexError):
                slot.append(self._idle.pop())
            yield slot
        finally:
            if slot:
                if self._is_closed() or self._database.gone(slot[0]):
                    _discard(slot)
                else:
                    self._idle.append(slot[0])
            self._free.release()

    def _is_closed(self) -> bool:
        return self._closed  # by another thread, perhaps

    def _drop_idle(self) -> None:
        while self._idle:
            with contextlib.suppress(IndexError):
                _discard([self._idle.pop()])


def _discard(slot: list[sa.Connection]) -> None:
    with contextlib.suppress(Exception):
        slot.pop().close()

"""What all endpoints share: the database, the threads that ask it, and who waits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar, cast

from launchcore.queues.embedded import EmbeddedService
from launchcore.server.auth import Authenticator, Principal
from launchcore.server.limits import Buckets
from launchcore.server.metrics import Metrics
from launchcore.server.options import Options
from launchcore.server.waiting import Room
from launchcore.store import audit, expiry
from launchcore.store.database import Database
from launchcore.store.writer import Transaction

T = TypeVar("T")
Operation: TypeAlias = Callable[[Transaction], Any]
Done: TypeAlias = tuple[Any, Exception | None]
log = logging.getLogger("launchcore.server")

_MOST_IN_A_ROUND = 256


class Core:
    """One server's parts. Its methods are for the event loop, unless they say otherwise."""

    def __init__(self, database: Database, options: Options) -> None:
        self.database = database
        self.options = options
        self.room = Room(database.bell)
        self.metrics = Metrics()
        self.auth = Authenticator(self)
        rate = options.requests_per_second
        self.requests = Buckets(rate=rate, burst=2 * rate)
        self.stopping = False
        self._threads = ThreadPoolExecutor(options.threads, thread_name_prefix="launchcore-server")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="launchcore-server-writer")
        self._pending: list[tuple[Operation, asyncio.Future[Done]]] = []
        self._writes: asyncio.Future[None] | None = None
        self._unwatched: set[asyncio.Future[None]] = set()

    def stop(self) -> None:
        """Say no to new work, and answer whoever waits. On any thread; idempotent."""
        self.stopping = True
        self.room.close()

    def shut_down(self) -> None:
        """Wait for what is being asked of the database. The database itself stays open."""
        self._writer.shutdown()
        self._threads.shutdown()

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function that may take a while, on a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def read(self, look: Callable[[Any], T]) -> T:
        """Look at the database, with a connection that has one consistent view."""

        def reading() -> T:
            with self.database.read() as connection:
                return look(connection)

        return await self.call(reading)

    async def write(self, operation: Callable[[Transaction], T]) -> T:
        """Carry out an operation in a transaction. All that is asked for meanwhile goes into one commit.

        :raises: like :meth:`Database.write`.
        """
        ((value, error),) = await self.write_many([operation])
        if error is not None:
            raise error
        return cast("T", value)

    async def write_many(self, operations: Sequence[Operation]) -> list[Done]:
        """Several, in order: what each returned, or raised."""
        loop = asyncio.get_running_loop()
        added = [(operation, loop.create_future()) for operation in operations]
        self._pending += added
        if self._writes is None and added:
            self._writes = asyncio.ensure_future(self._write_rounds())
        return [await future for _, future in added]

    def write_later(self, operation: Operation) -> None:
        """The same for what nobody waits for: an error is noted, and that is all."""

        async def writing() -> None:
            try:
                await self.write(operation)
            except Exception as error:
                log.debug("a note could not be written: %s", error)

        unwatched = asyncio.ensure_future(writing())
        self._unwatched.add(unwatched)
        unwatched.add_done_callback(self._unwatched.discard)

    def sweep(self) -> None:
        """What time alone brings about, in all queues. Takes a while: on a thread."""
        lost_after = self.options.lost_after
        self.database.write(lambda transaction: expiry.everything(transaction, lost_after=lost_after))

    def service(
        self, who: Principal, action: str, subject: str | Callable[[Any], str | None], detail: str = ""
    ) -> EmbeddedService:
        """The user's side, whose next write is written into the audit trail, in the same transaction.

        :param subject: what is changed; or, from what the write returned, ``None``: nothing was.
        """

        def note(transaction: Transaction, value: Any) -> None:
            about = subject if isinstance(subject, str) else subject(value)
            if about is not None:
                record(transaction, who, action, about, detail)

        return EmbeddedService(
            cast("Database", _Audited(self.database, note)), lost_after=self.options.lost_after
        )

    @property
    def reading(self) -> EmbeddedService:
        """The user's side, for looking."""
        return EmbeddedService(self.database, lost_after=self.options.lost_after)

    async def _write_rounds(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._pending:
                round_, self._pending = self._pending[:_MOST_IN_A_ROUND], self._pending[_MOST_IN_A_ROUND:]
                operations = [operation for operation, _ in round_]
                try:
                    done = await loop.run_in_executor(self._writer, self.database.write_many, operations)
                except Exception as error:
                    done = [(None, error)] * len(round_)
                for (_, future), each in zip(round_, done, strict=True):
                    with contextlib.suppress(asyncio.InvalidStateError):  # nobody waits for it any more
                        future.set_result(each)
        finally:
            self._writes = None


def record(transaction: Transaction, who: Principal, action: str, subject: str, detail: str = "") -> None:
    """Write into the audit trail."""
    audit.record(transaction, who=who.name, token=who.token, action=action, subject=subject, detail=detail)


class _Audited:
    """A database whose writes are noted."""

    def __init__(self, database: Database, note: Callable[[Transaction, Any], None]) -> None:
        self._database = database
        self._note = note

    def write(self, operation: Callable[[Transaction], T]) -> T:
        def noted(transaction: Transaction) -> T:
            value = operation(transaction)
            self._note(transaction, value)
            return value

        return self._database.write(noted)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

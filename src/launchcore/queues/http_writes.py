"""Many writes of one agent at the same time go to the service in one request.

Whoever finds nobody sending takes all that wait, as :mod:`launchcore.store.writer` does for commits. Each
write has its own answer: one that fails does not touch the others.

Threads that were answered together mostly write again together. The first of them would find itself alone,
and the others would wait for its request: so after a request with several writes, who comes next waits a
moment for as many.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from launchcore.plugin import QueueUnavailable
from launchcore.queues.wire import AttemptWrite

MOST: Final = 256
MOST_BYTES: Final = 1 << 20
"""Of one request: writes, and bytes of logs in them; a single write may be larger."""
MOMENT: Final = 0.002
"""Seconds: less than a request takes."""


class _Ticket:
    def __init__(self, write: AttemptWrite) -> None:
        self.write = write
        self.size = len(write.update.log.data) if write.update.log else 0
        self.turn = threading.Semaphore(0)
        self.leads = False
        self.done = False
        self.error: Exception | None = None


class Writes:
    """:param send: sends writes, and returns for each of them what was wrong with it, in order.
    :param moment: seconds that a write waits for others at most.
    """

    def __init__(
        self,
        send: Callable[[Sequence[AttemptWrite]], Sequence[Exception | None]],
        *,
        moment: float = MOMENT,
    ) -> None:
        self._send = send
        self._moment = moment
        self._mutex = threading.Lock()
        self._enough = threading.Condition(self._mutex)
        self._waiting: list[_Ticket] = []
        self._expected = 0
        """Writes in the last request."""
        self._led = False

    def run(self, write: AttemptWrite) -> None:
        """Send one write, alone or with others, and return when it is stored.

        :raises: what was wrong with it, or with all of the request.
        """
        ticket = _Ticket(write)
        with self._mutex:
            self._waiting.append(ticket)
            if len(self._waiting) == self._expected:
                self._enough.notify()
            ticket.leads = not self._led
            self._led = True
        if not ticket.leads:
            try:
                ticket.turn.acquire()
            except BaseException:
                self._abandon(ticket)
                raise
        if ticket.leads:
            self._lead(ticket)
        if ticket.error is not None:
            raise ticket.error

    def _lead(self, mine: _Ticket) -> None:
        try:
            with self._mutex:
                self._enough.wait_for(lambda: len(self._waiting) >= self._expected, self._moment)
        except BaseException:
            self._abandon(mine)
            raise
        with self._mutex:
            batch = self._take()
            self._expected = len(batch)
        try:
            self._answer(batch)
        except BaseException as error:
            for ticket in batch:
                if ticket.error is None:
                    ticket.error = _again(error)
            if not isinstance(error, Exception):
                raise
        finally:
            for ticket in batch:
                ticket.done = True
                if ticket is not mine:
                    ticket.turn.release()
            with self._mutex:
                self._pass_on()

    def _answer(self, batch: list[_Ticket]) -> None:
        results = self._send([ticket.write for ticket in batch])
        if len(results) != len(batch):
            raise QueueUnavailable(f"{len(batch)} writes were answered by {len(results)} results")
        for ticket, error in zip(batch, results, strict=True):
            ticket.error = error

    def _take(self) -> list[_Ticket]:
        """The mutex is held."""
        count, size = 0, 0
        for ticket in self._waiting[:MOST]:
            size += ticket.size
            if count and size > MOST_BYTES:
                break
            count += 1
        batch = self._waiting[:count]
        del self._waiting[:count]
        return batch

    def _pass_on(self) -> None:
        """The mutex is held."""
        if self._waiting:
            self._waiting[0].leads = True
            self._waiting[0].turn.release()
        else:
            self._led = False

    def _abandon(self, ticket: _Ticket) -> None:
        """Its thread was interrupted while it waited."""
        with self._mutex:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            if ticket.leads and not ticket.done:
                self._pass_on()


def _again(error: BaseException) -> Exception:
    """Each thread gets an exception of its own: one that is raised twice collects both tracebacks."""
    if not isinstance(error, Exception):
        return QueueUnavailable("interrupted while sending")
    try:
        copy = type(error)(*error.args)
    except TypeError:
        return error
    copy.__dict__.update(error.__dict__)
    return copy

"""Who waits for something waits on the event loop, without a thread, and is woken by the bell.

A *shared* topic (``queue:default``) is for one of those that wait for it: of a thousand idle agents a new
run wakes one. It wakes the next one when it has found something, and whoever leaves without having looked
passes the call on, so that none is lost. An *own* topic (``run:…``, ``agent:…``) wakes all.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Protocol

_EVERYTHING = "*"


class Rings(Protocol):
    """The bell, as far as it is needed here."""

    def hear(self, listener: Callable[[frozenset[str]], None]) -> Callable[[], None]: ...


class Waiter:
    """One call that waits, for use as a context: look, :meth:`sleep`, look again …"""

    def __init__(self, room: Room, own: Iterable[str], shared: Iterable[str]) -> None:
        self._room = room
        self.own = frozenset(own)
        self.shared = frozenset(shared)
        self.called: set[str] = set()
        """Shared topics for which it was chosen, and has not looked since."""
        self._rung = False
        self._future: asyncio.Future[None] | None = None

    async def sleep(self, seconds: float) -> None:
        """Until it is woken (since the last sleep), or for so long."""
        if not self._rung and seconds > 0 and not self._room.closed:
            loop = asyncio.get_running_loop()
            self._future = loop.create_future()
            alarm = loop.call_later(seconds, self.ring)
            try:
                await self._future
            finally:
                alarm.cancel()
                self._future = None
        self._rung = False

    def ring(self) -> None:
        """On the event loop only."""
        self._rung = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def looking(self) -> frozenset[str]:
        """It is about to look: what it was chosen for is what it looks for."""
        called, self.called = frozenset(self.called), set()
        return called

    def __enter__(self) -> Waiter:
        self._room.enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room.leave(self)


class Room:
    """All that wait in this process."""

    def __init__(self, bell: Rings) -> None:
        self._bell = bell
        self._own: dict[str, set[Waiter]] = {}
        self._shared: dict[str, OrderedDict[Waiter, None]] = {}
        self._alarms: dict[str, asyncio.TimerHandle] = {}
        self._lock = threading.Lock()
        self._heard: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_hearing: Callable[[], None] | None = None
        self.closed = False
        self.waiting = 0

    def open(self) -> None:
        """Begin to listen; on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._stop_hearing = self._bell.hear(self._rang)

    def close(self) -> None:
        """Nobody waits here any more: everybody who does looks a last time. On any thread; idempotent."""
        self.closed = True
        stop_hearing, self._stop_hearing = self._stop_hearing, None
        if stop_hearing is not None:
            stop_hearing()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake_all)

    def waiter(self, *, own: Iterable[str] = (), shared: Iterable[str] = ()) -> Waiter:
        """One that waits for these topics."""
        return Waiter(self, own, shared)

    def wake_one(self, topics: Iterable[str]) -> None:
        """Wake one of those who wait for each shared topic."""
        for topic in topics:
            waiters = self._shared.get(topic, OrderedDict())
            chosen = next((waiter for waiter in waiters if topic not in waiter.called), None)
            if chosen is not None:
                waiters.move_to_end(chosen)
                chosen.called.add(topic)
                chosen.ring()

    def wake_at(self, topics: Iterable[str], seconds: float) -> None:
        """The same in so many seconds, if somebody waits then. An earlier time replaces a later one."""
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        for topic in topics:
            before = self._alarms.get(topic)
            if before is not None and before.when() <= when:
                continue
            if before is not None:
                before.cancel()
            self._alarms[topic] = loop.call_at(when, self._alarm, topic)

    def enter(self, waiter: Waiter) -> None:
        self.waiting += 1
        for topic in waiter.own:
            self._own.setdefault(topic, set()).add(waiter)
        for topic in waiter.shared:
            self._shared.setdefault(topic, OrderedDict())[waiter] = None

    def leave(self, waiter: Waiter) -> None:
        self.waiting -= 1
        for topic in waiter.own:
            self._own[topic].discard(waiter)
            if not self._own[topic]:
                del self._own[topic]
        for topic in waiter.shared:
            del self._shared[topic][waiter]
            if not self._shared[topic]:
                del self._shared[topic]
                if alarm := self._alarms.pop(topic, None):
                    alarm.cancel()
        self.wake_one(waiter.looking())

    def _alarm(self, topic: str) -> None:
        self._alarms.pop(topic, None)
        self.wake_one([topic])

    def _rang(self, topics: frozenset[str]) -> None:
        """The bell, on a thread of its own or on that of whoever wrote."""
        known = [topic for topic in topics if topic in self._own or topic in self._shared]
        if _EVERYTHING in topics:
            known.append(_EVERYTHING)
        if not known or self._loop is None:
            return
        with self._lock:
            first = not self._heard
            self._heard.update(known)
        if first and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            heard, self._heard = self._heard, set()
        if _EVERYTHING in heard:
            heard.update(self._shared)
            heard.update(topic for topic in self._own if not topic.startswith("adopt:"))
        for topic in heard:
            for waiter in self._own.get(topic, ()):
                waiter.ring()
        self.wake_one(topic for topic in list(heard) if topic in self._shared)

    def _wake_all(self) -> None:
        for waiters in (*self._own.values(), *self._shared.values()):
            for waiter in waiters:
                waiter.ring()

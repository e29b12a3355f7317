"""Who waits for what, in this process. How a ring comes from other processes is the bells' own.

A bell is one of these that also hears other processes: :mod:`~launchcore.store.bell` beside a file,
:mod:`~launchcore.store.bell_postgres` through a server.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from types import TracebackType

EVERYBODY = "*"
"""The topic that wakes whoever waits for any."""


class Ear:
    """One waiting thread's registration for some topics."""

    def __init__(self, bell: Ears, topics: frozenset[str]) -> None:
        self._bell = bell
        self.topics = topics
        self._rung = threading.Event()

    def wait(self, seconds: float) -> bool:
        """Wait for a ring since the last call, at most ``seconds``. False: time is up."""
        rung = self._rung.wait(max(0.0, seconds))
        self._rung.clear()
        return rung

    def ring(self) -> None:
        self._rung.set()

    def __enter__(self) -> Ear:
        self._bell.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bell.remove(self)


class Ears(ABC):
    """The registrations of one open database."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ears: set[Ear] = set()
        self._listeners: tuple[Callable[[frozenset[str]], None], ...] = ()
        self._counts: Counter[str] = Counter()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    @abstractmethod
    def ring(self, topics: Iterable[str]) -> None:
        """Wake whoever waits for one of the topics, here and in other processes. Never raises."""

    @abstractmethod
    def close(self) -> None:
        """Stop listening; whoever waits returns. Idempotent."""

    @abstractmethod
    def _start(self) -> None:
        """Begin to hear other processes, on ``self._thread``. The lock is held; must not raise."""

    def listen(self, topics: Iterable[str]) -> Ear:
        """A registration, for use as a context. Look at the database only after entering it."""
        return Ear(self, frozenset(topics))

    def hear(self, listener: Callable[[frozenset[str]], None]) -> Callable[[], None]:
        """Call ``listener`` with the topics of every ring, until the function that is returned is called.

        On any thread, so it must be quick and must not raise. ``"*"`` among them means: all topics.
        """
        with self._lock:
            self._begin()
            self._listeners = (*self._listeners, listener)
        return lambda: self._leave(listener)

    def ring_here(self, topics: Iterable[str]) -> None:
        """Like :meth:`ring`, for this process only."""
        self._ring_here(frozenset(topics))

    def add(self, ear: Ear) -> None:
        with self._lock:
            self._begin()
            self._ears.add(ear)
            self._counts.update(ear.topics)

    def remove(self, ear: Ear) -> None:
        with self._lock:
            self._ears.discard(ear)
            self._counts.subtract(ear.topics)
            for topic in ear.topics:
                if not self._counts[topic]:
                    del self._counts[topic]

    def _begin(self) -> None:
        if self._thread is None and not self._stopping.is_set():
            self._start()

    def _leave(self, listener: Callable[[frozenset[str]], None]) -> None:
        with self._lock:
            self._listeners = tuple(each for each in self._listeners if each is not listener)

    def _ring_here(self, topics: frozenset[str]) -> None:
        for listener in self._listeners:
            listener(topics)
        if not self._ears:
            return
        with self._lock:
            if EVERYBODY in topics:
                for ear in self._ears:
                    ear.ring()
            elif any(topic in self._counts for topic in topics):
                for ear in self._ears:
                    if not ear.topics.isdisjoint(topics):
                        ear.ring()

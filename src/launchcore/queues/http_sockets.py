"""Connections whose wait for an answer can be ended from another thread."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager


class HungUp(Exception):
    """The wait was ended by :meth:`Wait.hang_up`. What was asked may have been done."""


class Wait:
    """One call that may be ended early. Hanging up shuts the socket down: the other side notices."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._rung = threading.Event()

    @property
    def rung(self) -> bool:
        return self._rung.is_set()

    def hang_up(self) -> None:
        """From any thread; also before the call has come to wait."""
        with self._lock:
            self._rung.set()
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def sleep(self, seconds: float) -> None:
        """Pause between two tries, unless it is ended.

        :raises HungUp: it is.
        """
        if self._rung.wait(seconds):
            raise HungUp

    @contextlib.contextmanager
    def on(self, connected: Any) -> Iterator[None]:
        """While an answer is awaited on a socket (plain or TLS).

        The descriptor is duplicated: shutting it down touches nothing that the reading thread is using,
        and never a socket that has taken the number of one that was closed.
        """
        with self._lock:
            if self._rung.is_set():
                raise HungUp
            self._socket = socket.socket(fileno=os.dup(connected.fileno()))
        try:
            yield
        finally:
            with self._lock:
                found, self._socket = self._socket, None
                if found is not None:
                    found.close()


class Waits:
    """All calls of one client that wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: set[Wait] = set()
        self._closed = False

    @contextlib.contextmanager
    def waiting(self) -> Iterator[Wait]:
        wait = Wait()
        with self._lock:
            self._all.add(wait)
            if self._closed:
                wait.hang_up()
        try:
            yield wait
        finally:
            with self._lock:
                self._all.discard(wait)

    def hang_up(self, *, for_good: bool = False) -> None:
        """End those that wait now; ``for_good``: and those to come."""
        with self._lock:
            self._closed = self._closed or for_good
            found = list(self._all)
        for wait in found:
            wait.hang_up()


class Waiting(threading.local):
    """The wait of the call that this thread is making."""

    wait: Wait | None = None

    def on(self, connected: Any) -> AbstractContextManager[None]:
        """While this thread awaits its answer on a socket."""
        if self.wait is None or connected is None:
            return contextlib.nullcontext()
        return self.wait.on(connected)


class _Plain(HTTPConnection):
    def __init__(self, *args: Any, waiting: Waiting, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting = waiting

    def getresponse(self) -> Any:
        with self._waiting.on(self.sock):
            return super().getresponse()


class _Tls(_Plain, HTTPSConnection):
    """The same, encrypted."""


class WaitingAdapter(HTTPAdapter):
    """Looks at ``waiting`` before it awaits an answer. Never repeats a request by itself."""

    def __init__(self, waiting: Waiting, connections: int) -> None:
        self._waiting = waiting
        super().__init__(pool_connections=4, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._prepare(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        self._prepare(manager)
        return manager

    def _prepare(self, manager: PoolManager) -> None:
        plain = functools.partial(_Plain, waiting=self._waiting)
        tls = functools.partial(_Tls, waiting=self._waiting)
        manager.pool_classes_by_scheme = {
            "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
        }

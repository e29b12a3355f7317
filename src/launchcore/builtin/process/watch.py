"""Push what keepers say: one thread for each keeper, which finds back to it by itself."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from launchcore.builtin.process.client import Events, KeeperClient
from launchcore.plugin import LaunchError

log = logging.getLogger("launchcore.process")

Deliver = Callable[[Path, Mapping[str, Any]], None]

LONGEST_PAUSE = 5.0


class Watch:
    """A context manager: in its block, ``deliver(directory, event)`` is called for every change.

    After a lost connection everything is told again, so nothing is missed, and some is told twice.
    """

    def __init__(self, deliver: Deliver, *clients: KeeperClient) -> None:
        self._deliver = deliver
        self._clients = list(clients)
        self._threads: dict[Path, threading.Thread] = {}
        self._events: dict[Path, Events] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._open = False

    def add(self, client: KeeperClient) -> None:
        """Watch this keeper too. Does nothing when it is watched already, or outside of the block."""
        with self._lock:
            if not self._open or client.root in self._threads:
                return
            thread = threading.Thread(
                target=self._follow, args=(client,), name="launchcore-process-watch", daemon=True
            )
            self._threads[client.root] = thread
        thread.start()

    def __enter__(self) -> None:
        self._open = True
        for client in self._clients:
            self.add(client)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._open = False
            self._closed.set()
            for events in self._events.values():
                events.close()
        for thread in self._threads.values():
            thread.join(timeout=5.0)

    def _follow(self, client: KeeperClient) -> None:
        pause = 0.0
        while not self._closed.wait(pause):
            try:
                events = client.events()
                with self._lock:
                    if not self._open:
                        events.close()
                        return
                    self._events[client.root] = events
                pause = 0.02
                while True:
                    for event in events.next():
                        self._tell(client.root, event)
            except LaunchError as problem:
                log.warning("%s", problem.detail)
            except (OSError, ValueError):
                pass  # the keeper is gone, or this watch is closed
            finally:
                with self._lock, contextlib.suppress(KeyError):
                    self._events.pop(client.root).close()
            pause = min(max(pause, 0.02) * 2, LONGEST_PAUSE)

    def _tell(self, root: Path, event: Mapping[str, Any]) -> None:
        try:
            self._deliver(root, event)
        except Exception:
            log.exception("a status could not be passed on")

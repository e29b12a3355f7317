"""The engine's event stream: opened again and again, and what it may have missed is looked up each time."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any

from launch_docker.engine import Engine
from launch_docker.errors import EngineAway, EngineError
from launch_docker.streams import cut
from launchcore.plugin import OWNER_LABEL

log = logging.getLogger("launchcore.docker")

QUIET = 30.0
"""Seconds without an event after which the stream is opened anew: it may be dead without our knowing."""
AGAIN = (0.1, 5.0)
"""Seconds between two tries to reach an engine that is away: the first, and the most."""
ACTIONS = ("die", "died", "oom", "kill", "destroy", "remove", "health_status", "pause", "unpause")


class Watch:
    """One thread that listens. ``seen`` gets each event, ``relist`` is called when the stream
    has been opened, with whether some may have been missed.

    Both are called on the watch's thread, and may raise what the engine raises.
    """

    def __init__(
        self,
        engine: Engine,
        owner: str,
        seen: Callable[[Mapping[str, Any]], None],
        relist: Callable[[bool], None],
    ) -> None:
        self._engine = engine
        self._owner = owner
        self._seen = seen
        self._relist = relist
        self._closed = threading.Event()
        self._stream: Any = None
        self._lock = threading.Lock()
        self.last_event = time.monotonic()
        """When the engine was last heard, on the monotonic clock."""
        self.connected = False
        self._thread = threading.Thread(target=self._run, name="docker-events", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._closed.set()
        with self._lock:
            stream = self._stream
        if stream is not None:
            cut(stream)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        since: str | None = None
        pause, away, missed = AGAIN[0], False, True
        while not self._closed.is_set():
            try:
                with contextlib.closing(self._listen(since, missed)) as events:
                    for event in events:
                        since = _after(event) or since
                        pause, away = AGAIN[0], False
                        self.last_event = time.monotonic()
                        self._handle(event)
                pause, missed = AGAIN[0], True  # the engine has closed the stream, in order
            except EngineAway as error:
                quiet = time.monotonic() - self.last_event >= QUIET * 0.9 and self.connected
                missed = not (quiet and since is not None)
                if not quiet and not away and not self._closed.is_set():
                    log.warning("the Docker engine cannot be watched, trying again: %s", error)
                    away = True
            except EngineError as error:
                log.warning("the Docker engine gives no events, trying again: %s", error)
            except Exception:
                log.exception("watching the Docker engine failed, starting again")
            finally:
                self.connected = False
            self._closed.wait(pause)
            pause = min(pause * 2, AGAIN[1])

    def _listen(self, since: str | None, missed: bool) -> Generator[Mapping[str, Any], None, None]:
        filters = {"type": ["container"], "event": list(ACTIONS), "label": [f"{OWNER_LABEL}={self._owner}"]}
        response = self._engine.request(
            "GET", "/events", params={"filters": filters, "since": since}, stream=True, seconds=QUIET
        )
        with response:
            with self._lock:
                self._stream = response
            if self._closed.is_set():
                return
            # The stream is open: what was before is in the list, what happens from now on in the stream.
            self.connected = True
            self.last_event = time.monotonic()
            self._relist(missed)
            yield from self._engine.lines(response)

    def _handle(self, event: Mapping[str, Any]) -> None:
        try:
            self._seen(event)
        except EngineAway:
            raise
        except Exception:
            # One bad event must not stop the watch.
            log.exception("an event of the Docker engine could not be used")


def _after(event: Mapping[str, Any]) -> str | None:
    """The moment just after an event, as the API takes it."""
    nano = event.get("timeNano")
    if not isinstance(nano, int):
        return None
    nano += 1
    return f"{nano // 10**9}.{nano % 10**9:09d}"

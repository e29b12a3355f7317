"""One collection of objects, followed: listed, watched from there, listed again when the thread is lost.

As client-go's Reflector does it, with what goes wrong in the field: a version that was forgotten (410, as
an HTTP status or as an event), errors within the stream, streams that are silent for ever, versions that go
back (a server that was restored from a backup), servers that are away. No bug of a handler ends it.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from launch_k8s.api import Api
from launch_k8s.errors import ApiAway, ApiError
from launch_k8s.pace import Pauses
from launch_k8s.wire import Refusal, Wire

log = logging.getLogger("launchcore.kubernetes")

SILENCE: Final = 75.0
"""Seconds without a byte after which a stream is taken for dead: a live one has a bookmark each minute."""
AGAIN: Final = (0.2, 15.0)
"""Seconds between two tries: the first, and the most."""
SHORT: Final = 1.0
"""Seconds: a stream that ends before them is not opened again at once."""


class Sink(Protocol):
    """Who is told. Called on the watch's own thread."""

    def replace(self, objects: Iterable[Mapping[str, Any]], began: float) -> None:
        """These are all that there are. ``objects`` comes page by page. The list was asked for at
        ``began``, monotonic seconds; on an error it raises what :class:`Api` raises."""

    def change(self, what: str, thing: Mapping[str, Any]) -> None:
        """``ADDED``, ``MODIFIED`` or ``DELETED``."""


class Lost(Exception):
    """The version is not known any more, or not to be trusted: list anew."""


class Watch:
    """One thread that follows one collection, until it is closed."""

    def __init__(self, api: Api, path: str, selector: str, sink: Sink, *, name: str) -> None:
        self._api = api
        self._path = path
        self._selector = selector
        self._sink = sink
        self._silence = min(SILENCE, api.settings.watch_seconds + 10.0)
        self._version: str | None = None
        self._closed = threading.Event()
        self._relist = False
        self._wire: Wire | None = None
        self._lock = threading.Lock()
        self.name = name
        self.error: str | None = None
        """What is wrong now, if anything is."""
        self.last_contact = float("-inf")
        """When something was heard last, monotonic seconds."""
        self.lists = 0
        self.listed_at = float("-inf")
        """When the last complete list was asked for, monotonic seconds."""
        self._thread = threading.Thread(target=self._run, name=f"kubernetes-watch-{name}", daemon=True)
        self._thread.start()

    @property
    def last_event_age(self) -> float:
        """Seconds since anything (an event, a bookmark, a list) came."""
        return time.monotonic() - self.last_contact

    @property
    def sighted(self) -> bool:
        """What is known is how things are, as far as can be said."""
        return self.listed_at > float("-inf") and self.error is None

    def relist(self) -> None:
        """Look at everything again: there is something that has not been looked at."""
        with self._lock:
            self._relist = True
            if self._wire is not None:
                self._wire.shut()

    def close(self, *, wait: bool = True) -> None:
        """Stop following."""
        self._closed.set()
        with self._lock:
            if self._wire is not None:
                self._wire.shut()
        if wait and threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)

    # -- on its own thread -----------------------------------------------------------------------

    def _run(self) -> None:
        pauses = Pauses(*AGAIN)
        while not self._closed.is_set():
            try:
                if self._version is None or self._relist:
                    self._list()
                opened = time.monotonic()
                self._follow()
                if time.monotonic() - opened > SHORT or self._relist:
                    pauses.reset()
                    continue
            except Lost as lost:
                log.debug("%s: listing again: %s", self.name, lost)
                self._version = None
            except (ApiAway, ApiError) as error:
                self._failed(error)
            except Exception as error:
                # One bad event, one bug, must not stop the watch for good.
                log.exception("watching %s failed, starting again", self.name)
                self.error = f"{type(error).__name__} in the agent"
                self._version = None
            self._closed.wait(pauses.next())

    def _failed(self, error: ApiAway | ApiError) -> None:
        if isinstance(error, ApiError) and error.gone:
            self._version = None
            return
        if self.error is None and not self._closed.is_set():
            log.warning("%s cannot be watched, trying again: %s", self.name, error)
        self.error = str(error)
        self._version = None  # who was blind looks at everything again

    def _list(self) -> None:
        self._relist = False
        began = time.monotonic()
        version = ""

        def pages() -> Iterable[Mapping[str, Any]]:
            nonlocal version
            for page in self._api.pages(self._path, labelSelector=self._selector):
                version = str((page.get("metadata") or {}).get("resourceVersion") or "")
                yield page

        self._sink.replace(pages(), began)
        self._version = version or None
        self.lists += 1
        self.listed_at = began
        self._heard()

    def _follow(self) -> None:
        """Until the stream ends."""
        wire = self._api.stream(
            self._path,
            silence=self._silence,
            watch=True,
            allowWatchBookmarks=True,
            labelSelector=self._selector,
            resourceVersion=self._version,
            timeoutSeconds=max(int(self._api.settings.watch_seconds), 1),
        )
        with self._lock:
            self._wire = wire
        try:
            rest = b""
            while not (wire.over or self._closed.is_set() or self._relist):
                lines = (rest + wire.read(wait=True)).split(b"\n")
                self._heard()
                rest = lines.pop()
                for line in lines:
                    if line.strip():
                        self._event(json.loads(line))
            if wire.broken and not self._closed.is_set():
                log.debug("%s: the stream broke off", self.name)
        except Refusal as refusal:
            raise self._api.refusal(refusal) from None
        except ApiAway:
            # Silence is no failure: the server may have nothing to say, and send no bookmarks either.
            log.debug("%s: a silent stream is opened again", self.name)
        finally:
            with self._lock:
                self._wire = None
            wire.close()

    def _event(self, event: Mapping[str, Any]) -> None:
        what, thing = str(event.get("type")), event.get("object") or {}
        if what == "ERROR":
            error = ApiError(int(thing.get("code") or 500), thing)
            if error.gone:
                raise Lost(error.message)
            raise error
        version = str((thing.get("metadata") or {}).get("resourceVersion") or "")
        if _earlier(version, self._version):
            # Within one stream versions only grow. A repeated event, or a server that was put back.
            raise Lost(f"version {version} after {self._version}")
        self._version = version or self._version
        if what in ("ADDED", "MODIFIED", "DELETED"):
            try:
                self._sink.change(what, thing)
            except Exception:
                log.exception("an event of %s could not be used", self.name)

    def _heard(self) -> None:
        self.last_contact = time.monotonic()
        if self.error is not None:
            log.info("%s is watched again", self.name)
            self.error = None


def _earlier(one: str, other: str | None) -> bool:
    """Whether a version is before another. Numbers by convention only; of others we say nothing."""
    return one.isdigit() and (other or "").isdigit() and int(one) < int(other or 0)

"""The output of a build, line by line, to its end: nodes end streams for reasons of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from launch_k8s.api import Api
from launch_k8s.errors import ApiAway
from launch_k8s.logs import Lines, Position, Skip
from launch_k8s.wire import Refusal, Wire

SILENCE: Final = 60.0
"""Seconds without a byte after which a stream is opened again: a step may be silent, a node may have gone."""


class Following:
    """One container's log. :meth:`stop` may be called from any thread, before or while it is read."""

    def __init__(self, api: Api, path: str, container: str, write: Callable[[str], None]) -> None:
        """:param write: called with each line, without its end."""
        self._api = api
        self._path = path
        self._container = container
        self._write = write
        self._position = Position()
        self._wire: Wire | None = None
        self._stopped = False
        self._lock = threading.Lock()
        self.told = False
        """Something came."""

    def read(self, *, follow: bool) -> bool:
        """What there is and, if ``follow``, what comes; until the stream ends. False: it ended badly.

        A log that cannot be read changes no result.
        """
        params: dict[str, Any] = {"container": self._container, "timestamps": True}
        params["follow"] = True if follow else None
        params["sinceTime"] = self._position.since_time
        try:
            wire = self._api.stream(self._path, silence=SILENCE, **params)
        except ApiAway:
            return False
        with self._lock:
            if self._stopped:
                wire.close()
                return True
            self._wire = wire
        try:
            return self._take(wire, follow=follow)
        except (ApiAway, Refusal):
            return False
        finally:
            with self._lock:
                self._wire = None
            wire.close()

    def stop(self) -> None:
        """Read no more."""
        with self._lock:
            self._stopped = True
            if self._wire is not None:
                self._wire.shut()

    def _take(self, wire: Wire, *, follow: bool) -> bool:
        lines, skip = Lines(), Skip(self._position.copy())
        while not wire.over and not self._stopped:
            self._give(lines.feed(wire.read(wait=True)), skip)
        if wire.ended and not follow:
            self._give(lines.rest(), skip)
        return wire.ended

    def _give(self, found: list[tuple[str, int, bytes]], skip: Skip) -> None:
        for at, second, line in found:
            if not skip.wanted(at):
                continue
            if skip.gap is not None:
                self._write(f"[{skip.gap}]")
                skip.gap = None
            self._position.advance(at, second)
            self.told = True
            self._write(line.decode("utf-8", "replace").rstrip("\r\n"))

"""A :class:`launchcore.plugin.StageContext` for tests: remembers, and can be cancelled."""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from typing import IO

from launchcore.plugin import Cancelled, ImageRef, LaunchError, Reason, Registry


class RecordingContext:
    """``lines`` has what was logged; :meth:`cancel` does what a user's cancel does.

    ``registry`` is asked for digests; without one, it has no image.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.registry: Registry | None = None
        self._archives: dict[str, bytes] = {}
        self._stoppers: list[Callable[[], None]] = []
        self._cancelled = False
        self._lock = threading.Lock()

    def add_archive(self, data: bytes) -> str:
        """Store an archive as an upload does, and return its digest."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._archives[digest] = data
        return digest

    def cancel(self) -> None:
        """The work is no longer wanted, from now on."""
        with self._lock:
            self._cancelled = True
            stoppers, self._stoppers = self._stoppers, []
        for stop in stoppers:
            stop()

    def log(self, text: str) -> None:
        self.lines.append(text)

    def check(self) -> None:
        if self._cancelled:
            raise Cancelled

    @contextlib.contextmanager
    def on_cancel(self, stop: Callable[[], None]) -> Iterator[None]:
        with self._lock:
            late = self._cancelled
            if not late:
                self._stoppers.append(stop)
        if late:
            stop()
        try:
            yield
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._stoppers.remove(stop)

    def digest(self, ref: ImageRef) -> str | None:
        return self.registry.digest(ref) if self.registry is not None else None

    def ensure(self, ref: ImageRef) -> None:
        if self.registry is not None:
            self.registry.ensure(ref)

    def open_archive(self, digest: str) -> IO[bytes]:
        try:
            return io.BytesIO(self._archives[digest])
        except KeyError:
            raise LaunchError(f"no archive {digest}", reason=Reason.SOURCE_FAILED) from None

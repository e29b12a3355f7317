"""What must be remembered of an attempt beside its container: empty files in the agent's state.

``refused``: it must not be started any more. ``cancelled``: its end is our own doing.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final

REFUSED: Final = "refused"
CANCELLED: Final = "cancelled"
KEPT: Final = 2 * 86400.0
"""Seconds after which a mark can matter to nobody: no start is on its way for so long."""


class Marks:
    """The marks of one agent's state directory. Safe for several processes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def set(self, kind: str, attempt_id: str) -> None:
        """Idempotent; the first time stays."""
        path = self._path(kind, attempt_id)
        try:
            path.open("x").close()
        except FileExistsError:
            return
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def unset(self, kind: str, attempt_id: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._path(kind, attempt_id).unlink()

    def since(self, kind: str, attempt_id: str) -> float | None:
        """When it was set, UNIX seconds."""
        try:
            return self._path(kind, attempt_id).stat().st_mtime
        except FileNotFoundError:
            return None

    def has(self, kind: str, attempt_id: str) -> bool:
        return self._path(kind, attempt_id).exists()

    def forget_old(self) -> None:
        """Remove those that can matter to nobody."""
        before = time.time() - KEPT
        for kind in (REFUSED, CANCELLED):
            with contextlib.suppress(FileNotFoundError):
                for entry in os.scandir(self._directory / kind):
                    if entry.stat().st_mtime < before:
                        os.unlink(entry.path)  # noqa: PTH108 (a path of scandir)

    def _path(self, kind: str, attempt_id: str) -> Path:
        return self._directory / kind / attempt_id.replace("/", "_")

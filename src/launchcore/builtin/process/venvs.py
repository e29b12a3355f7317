"""The cache of virtual environments: made once, by one at a time, and the least used removed.

An environment cannot be moved, so it is made where it will stay and is there only once its
``complete.json`` is. Whoever is killed on the way leaves something that the next one removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from launchcore.builtin.process import procfs
from launchcore.plugin import StageContext

RECENT_SECONDS = 3600.0
"""An environment that was asked for this recently is not removed: its run may be about to start."""


class Venvs:
    """``root`` is shared by all agents that have the same cache directory."""

    def __init__(self, root: Path, *, most: int, most_bytes: int) -> None:
        self._root = root
        self._most = most
        self._most_bytes = most_bytes

    def folder(self, key: str) -> Path:
        return self._root / key

    def find(self, key: str) -> Path | None:
        """The environment of this key, if it is complete. Counts as a use of it."""
        complete = self.folder(key) / "complete.json"
        try:
            if time.time() - complete.stat().st_mtime > 60:
                os.utime(complete)
        except OSError:
            return None
        return self.folder(key) / "venv"

    def make(self, key: str, build: Callable[[Path, int], None], context: StageContext | None) -> Path:
        """Find or make it. ``build(folder, hold)`` makes ``folder/venv``; ``hold`` is the lock's
        descriptor, for programs that may outlive this process.

        :raises LaunchError: what ``build`` raises, or :class:`Cancelled` while waiting for another.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        with self._locked(key, context) as hold:
            if (found := self.find(key)) is not None:
                return found
            folder = self.folder(key)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                build(folder, hold)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            new = folder / "complete.new"
            new.write_text(json.dumps({"bytes": _size(folder)}))
            new.rename(folder / "complete.json")
        self.prune()
        return folder / "venv"

    @contextlib.contextmanager
    def _locked(self, key: str, context: StageContext | None) -> Iterator[int]:
        lock = os.open(self._root / f"{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            told = False
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if context is not None:
                        context.check()
                        if not told:
                            context.log("another run is installing the same dependencies; waiting for it")
                            told = True
                time.sleep(0.05)
            yield lock
        finally:
            os.close(lock)

    def prune(self) -> None:
        """Remove the least recently used, beyond the limits, that nothing runs in."""
        kept, total = 0, 0
        for used, size, folder in self._by_age():
            kept, total = kept + 1, total + size
            recent = time.time() - used < RECENT_SECONDS
            if (kept > self._most or total > self._most_bytes) and not recent and self._remove(folder):
                kept, total = kept - 1, total - size

    def _by_age(self) -> list[tuple[float, int, Path]]:
        """(last used, bytes, directory), the newest first; unfinished ones count as they are."""
        found = []
        for folder in self._root.iterdir():
            if not folder.is_dir():
                continue
            complete = folder / "complete.json"
            with contextlib.suppress(OSError, ValueError):
                made = complete.exists()
                size = json.loads(complete.read_text())["bytes"] if made else 0
                found.append(((complete if made else folder).stat().st_mtime, int(size), folder))
        return sorted(found, reverse=True)

    def _remove(self, folder: Path) -> bool:
        mark = procfs.mark("VIRTUAL_ENV", str(folder / "venv"))
        if any(procfs.is_marked(pid, (mark,)) for pid in procfs.snapshot()):
            return False
        lock = os.open(folder.with_name(f"{folder.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            (folder / "complete.json").unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            return True
        finally:
            os.close(lock)


def _size(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(parent, name).lstat().st_size
    return total

"""The files behind the echo runner: one directory for each object, safe for several processes.

``starts`` has one line for each real start, for ever: the count by which tests prove that an
attempt was started at most once. ``marks/`` has one empty file for each attempt that must not be
started any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from launchcore.testing.echo.script import EchoObject


class Objects:
    """All objects under one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._objects = directory / "objects"
        self._marks = directory / "marks"
        for path in (self._objects, self._marks):
            path.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Alone among all processes: between looking whether it is there and making it."""
        with (self.directory / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def create(self, one: EchoObject, log: bytes) -> None:
        """Make an object; call it ``locked``. The rename is the start: before it there is nothing."""
        made = self._objects / f".{one.attempt_id}.{os.getpid()}"
        made.mkdir()
        (made / "log").write_bytes(log)
        (made / "object.json").write_bytes(msgspec.json.encode(one))
        (made / "counts").mkdir()
        made.rename(self._objects / one.attempt_id)
        with (self.directory / "starts").open("a") as file:
            file.write(f"{one.attempt_id} {os.getpid()} {time.time()}\n")

    def read(self, attempt_id: str) -> EchoObject | None:
        try:
            text = (self._objects / attempt_id / "object.json").read_bytes()
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        return msgspec.json.decode(text, type=EchoObject)

    def rewrite(self, one: EchoObject) -> None:
        """Change an object; call it ``locked``."""
        path = self._objects / one.attempt_id / "object.json"
        new = path.with_suffix(f".{os.getpid()}")
        new.write_bytes(msgspec.json.encode(one))
        new.rename(path)

    def log(self, attempt_id: str) -> bytes:
        return (self._objects / attempt_id / "log").read_bytes()

    def count(self, attempt_id: str, what: str) -> int:
        """Count one more of ``what`` for this attempt, over all processes; the new count."""
        path = self._objects / attempt_id / "counts" / what
        with contextlib.suppress(FileNotFoundError), path.open("ab") as file:
            file.write(b".")
            return file.tell()
        return 0

    def remove(self, attempt_id: str) -> None:
        shutil.rmtree(self._objects / attempt_id, ignore_errors=True)

    def all(self) -> list[EchoObject]:
        names = [entry.name for entry in os.scandir(self._objects) if not entry.name.startswith(".")]
        return [one for one in map(self.read, sorted(names)) if one is not None]

    def mark(self, attempt_id: str) -> None:
        """From now on a start of this attempt is refused."""
        (self._marks / attempt_id).touch()

    def is_marked(self, attempt_id: str) -> bool:
        return (self._marks / attempt_id).exists()


def real_starts(directory: Path) -> list[str]:
    """The attempts that were really started under an echo directory, one entry for each start."""
    try:
        return [line.split()[0] for line in (directory / "starts").read_text().splitlines()]
    except FileNotFoundError:
        return []

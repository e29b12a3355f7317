"""The files in a keeper's directory: all that has to survive the keeper, the agent and a reboot.

::

    keeper.lock keeper.sock keeper.log
    attempts/ATTEMPT/started.json   before the process exists, completed with its pid at once
                     log            what it writes
                     stop.json      it was asked to stop, and why
                     wait.json      how it ended, as the nanny saw it while there was no keeper
                     exit.json      how it ended: after this, nothing of it is left and nothing follows
    tombstones/ATTEMPT              is never to be started

Nothing is flushed to the disk on purpose: the page cache survives every ``kill -9``, and after a
crash of the machine the processes are gone as well. Imported by the keeper: standard library only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections import deque
from pathlib import Path
from typing import Any, TypedDict, cast

ROOM = 64
"""Spaces after a record that will be completed in place, so that a full disk cannot prevent it."""


class Started(TypedDict):
    """``started.json``. ``start`` is in clock ticks since boot, ``clock`` CLOCK_MONOTONIC seconds.

    ``pid`` is 0 while the process is being made. There is no environment in it: that has secrets.
    """

    attempt: str
    run: str
    queue: str
    owner: str
    pid: int
    start: int
    boot: str
    argv: list[str]
    cwd: str
    labels: dict[str, str]
    started_at: float
    clock: float
    run_seconds: float | None
    memory_bytes: int | None
    grace: float
    cgroup: str | None
    secrets: str | None


class Exit(TypedDict):
    """``exit.json``. Exactly one of ``exit_code``, ``signal`` and ``lost`` is set.

    ``stopped``: the keeper stopped it: ``cancelled``, ``timeout``, ``memory`` or ``cleanup``.
    ``oom``: ``limit`` (its own memory limit), ``machine`` (the kernel, for the whole machine).
    """

    exit_code: int | None
    signal: int | None
    lost: str | None
    stopped: str | None
    oom: str | None
    finished_at: float
    usage: dict[str, float]
    leftovers: int


class Wait(TypedDict):
    """``wait.json``: a wait status, and what the kernel says that it used."""

    status: int
    finished_at: float
    usage: dict[str, float]


def safe_name(attempt: str) -> str:
    """A file name for any attempt id: itself when it is harmless, else a digest."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}", attempt):
        return attempt
    return "x" + hashlib.blake2b(attempt.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def read_json(path: Path) -> dict[str, Any] | None:
    """A record, or ``None`` when it is not there or not whole."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_json(path: Path, record: Any) -> None:
    """Replace a record at once: a reader sees the old or the new one.

    :raises OSError: the disk is full, the directory is gone.
    """
    new = path.with_name(path.name + ".new")
    new.write_bytes(json.dumps(record).encode())
    new.rename(path)


class Place:
    """The directory of one attempt."""

    def __init__(self, root: Path, attempt: str) -> None:
        self.name = safe_name(attempt)
        self.path = root / "attempts" / self.name
        self.log = self.path / "log"
        self._started = self.path / "started.json"
        self._exit = self.path / "exit.json"

    def begin(self, started: Started) -> None:
        """Write down that a process is about to be made.

        :raises OSError: it cannot be written down, so nothing may be started.
        """
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._started.write_bytes(json.dumps(started).encode() + b" " * ROOM)

    def complete(self, started: Started) -> None:
        """Add the pid, in the space that :meth:`begin` took."""
        record = os.open(self._started, os.O_WRONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(record).st_size
            os.pwrite(record, json.dumps(started).encode().ljust(size), 0)
        finally:
            os.close(record)

    def started(self) -> Started | None:
        return cast("Started | None", read_json(self._started))

    def has_ended(self) -> bool:
        return self._exit.exists()

    def exit(self) -> Exit | None:
        return cast("Exit | None", read_json(self._exit))

    def write_exit(self, record: Exit) -> None:
        write_json(self._exit, record)

    def wait(self) -> Wait | None:
        return cast("Wait | None", read_json(self.path / "wait.json"))

    def write_wait(self, record: Wait) -> None:
        write_json(self.path / "wait.json", record)

    def stopped(self) -> str | None:
        found = read_json(self.path / "stop.json")
        return None if found is None else str(found.get("why"))

    def write_stop(self, why: str) -> None:
        write_json(self.path / "stop.json", {"why": why, "at": time.time()})

    def remove(self) -> None:
        """Remove all of it. Idempotent."""
        try:
            entries = list(os.scandir(self.path))
        except OSError:
            return
        for entry in entries:
            with contextlib.suppress(OSError):
                Path(entry.path).unlink()
        with contextlib.suppress(OSError):
            self.path.rmdir()


def all_started(root: Path) -> list[tuple[Place, Started | None]]:
    """Every attempt's directory; ``None`` for one whose record is not whole."""
    try:
        names = [entry.name for entry in os.scandir(root / "attempts")]
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        place = Place(root, name)
        place.path = root / "attempts" / name
        found.append((place, place.started()))
    return found


class Tombstones:
    """Attempts that are never to be started (again): empty files, for a day, and at most ``most``."""

    def __init__(self, root: Path, *, seconds: float = 86400.0, most: int = 50_000) -> None:
        self._folder = root / "tombstones"
        self._seconds = seconds
        self._most = most
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        old = sorted((entry.stat().st_mtime, entry.name) for entry in os.scandir(self._folder))
        self._order = deque(old)

    def has(self, attempt: str) -> bool:
        return (self._folder / safe_name(attempt)).exists()

    def add(self, attempt: str) -> None:
        """:raises OSError: the promise could not be written down."""
        name = safe_name(attempt)
        os.close(os.open(self._folder / name, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        self._order.append((time.time(), name))
        self.prune()

    def prune(self) -> None:
        """Forget the oldest."""
        while self._order and (
            len(self._order) > self._most or self._order[0][0] < time.time() - self._seconds
        ):
            with contextlib.suppress(FileNotFoundError):
                (self._folder / self._order.popleft()[1]).unlink()

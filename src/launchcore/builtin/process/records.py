"""The files in a keeper's directory: all that has to survive the keeper, the agent and a reboot.

::

    keeper.lock keeper.sock keeper.log
    attempts/ATTEMPT.record   a journal, one JSON object a line: ``started`` before the process exists,
                              ``pid`` at once after, ``stop`` when it is asked to stop and why, ``wait``
                              how it ended as the nanny saw it while there was no keeper, and ``exit``
                              last: nothing of it is left then, and nothing follows
    attempts/ATTEMPT.log      what it writes
    tombstones                attempts that are never to be started (again)

A few appended lines and two files a run: making and removing names is what costs on a file system
that others flush. Nothing is flushed here, on purpose: the page cache survives every ``kill -9``, and
after a crash of the machine the processes are gone as well. Standard library only, for the keeper.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, cast

from launchcore.builtin.process.wire import encode_text


class Started(TypedDict):
    """``start`` is in clock ticks since boot, ``clock`` in seconds of CLOCK_MONOTONIC.

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
    """Exactly one of ``exit_code``, ``signal`` and ``lost`` is set.

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
    """A wait status, and what the kernel says that it used."""

    status: int
    finished_at: float
    usage: dict[str, float]


def safe_name(attempt: str) -> str:
    """A file name for any attempt id: itself when it is harmless, else a digest."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}", attempt):
        return attempt
    return "x" + hashlib.blake2b(attempt.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


class Record(TypedDict, total=False):
    """All that a journal says."""

    started: Started
    stop: str
    wait: Wait
    exit: Exit


class Place:
    """The files of one attempt."""

    def __init__(self, root: Path, attempt: str) -> None:
        folder, name = root / "attempts", safe_name(attempt)
        self.record = folder / f"{name}.record"
        self.log = folder / f"{name}.log"

    def begin(self, started: Started) -> None:
        """Write down that a process is about to be made.

        :raises OSError: it cannot be written down, so nothing may be started.
        """
        flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC
        _write(self.record, {"started": started}, flags)

    def append(self, **facts: Any) -> None:
        """Add to the journal: ``stop``, ``wait``, ``exit``, or ``pid`` with ``start``.

        :raises OSError: the disk is full, the files are gone.
        """
        _write(self.record, facts, os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC)

    def read(self) -> Record | None:
        """``None``: nothing was ever started here."""
        try:
            data = self.record.read_bytes()
        except OSError:
            return None
        found: dict[str, Any] = {}
        for line in data.splitlines():
            with contextlib.suppress(ValueError):  # a line that a full disk cut short
                found |= json.loads(line)
        if "started" not in found:
            return None
        found["started"] |= {key: found[key] for key in ("pid", "start") if key in found}
        return cast("Record", found)

    def has_ended(self) -> bool:
        return "exit" in (self.read() or {})

    def remove(self) -> None:
        """Remove all of it. Idempotent."""
        for path in (self.record, self.log):
            with contextlib.suppress(OSError):
                path.unlink()


def _write(path: Path, facts: Mapping[str, Any], flags: int) -> None:
    # A line begins with its line end: what a full disk cut short cannot spoil what follows.
    line = b"\n" + encode_text(facts)
    record = os.open(path, flags, 0o600)
    try:
        if os.write(record, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(record)


def all_places(root: Path) -> list[tuple[Place, Record | None]]:
    """Every attempt's files, and what its journal says."""
    try:
        names = [entry.name for entry in os.scandir(root / "attempts")]
    except FileNotFoundError:
        return []
    places = [Place(root, name.removesuffix(".record")) for name in names if name.endswith(".record")]
    return [(place, place.read()) for place in places]


class Tombstones:
    """Attempts that are never to be started (again), for a day, and at most ``most``: the oldest go first.

    One file with a time and a name a line; only the newest of a name counts.
    """

    def __init__(self, root: Path, *, seconds: float = 86400.0, most: int = 20_000) -> None:
        self._file = root / "tombstones"
        self._seconds = seconds
        self._most = most
        self._times: dict[str, float] = {}
        self._lines = 0
        with contextlib.suppress(FileNotFoundError):
            for line in self._file.read_text().splitlines():
                time_text, _, name = line.partition(" ")
                if name:
                    self._times.pop(name, None)
                    self._times[name] = float(time_text)
                self._lines += 1
        self.prune()

    def has(self, attempt: str) -> bool:
        return safe_name(attempt) in self._times

    def add(self, attempt: str) -> None:
        """:raises OSError: the promise could not be written down."""
        name, now = safe_name(attempt), time.time()
        with self._file.open("a") as file:
            file.write(f"\n{now:.3f} {name}")
        self._times.pop(name, None)
        self._times[name] = now
        self._lines += 1
        self.prune()

    def prune(self) -> None:
        """Forget the oldest; write the file anew when most of it is forgotten."""
        while self._times:
            name, when = next(iter(self._times.items()))
            if len(self._times) <= self._most and when >= time.time() - self._seconds:
                break
            del self._times[name]
        if self._lines > 2 * len(self._times) + 1000:
            new = self._file.with_name("tombstones.new")
            with contextlib.suppress(OSError):
                new.write_text("".join(f"\n{when:.3f} {name}" for name, when in self._times.items()))
                new.rename(self._file)
                self._lines = len(self._times)

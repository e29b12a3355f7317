"""What ``/proc`` says about processes: who belongs to an attempt, provably, and how to signal them.

A pid alone proves nothing, since pids are used again. A process is known by its pid *and* its start
time; it is an attempt's by the marker in its environment (which every descendant inherits, even one
that leaves the session), by its session while the attempt's first process lives, or by its parent.
Where there is no ``/proc`` (macOS) only process groups are signalled. Standard library only.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

ATTEMPT_MARK = "LAUNCHCORE_ATTEMPT"
OWNER_MARK = "LAUNCHCORE_OWNER"
KEEPER_MARK = "LAUNCHCORE_KEEPER"
"""The variables by which every descendant of an attempt is found; the last one has the keeper's directory."""

PROC = Path("/proc")


class Proc(NamedTuple):
    """One process, from ``/proc/PID/stat`` (see proc(5)); ``start`` in clock ticks since boot."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    start: int
    rss_bytes: int

    @property
    def dead(self) -> bool:
        """It has ended, and waits for its parent to look."""
        return self.state in "ZX"


@cache
def boot_id() -> str:
    """What tells one boot of this machine from another."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@cache
def _page() -> int:
    return os.sysconf("SC_PAGE_SIZE")


def _read(path: str) -> bytes:
    """Read a small file of ``/proc`` cheaply; empty when it is not there or not ours to read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        data = more = os.read(fd, 65536)
        while more:  # some files of /proc give a page at a time
            more = os.read(fd, 65536)
            data += more
        return data
    except OSError:
        return b""
    finally:
        os.close(fd)


def look(pid: int) -> Proc | None:
    """The process of this pid, dead or alive; ``None`` when there is none."""
    line = _read(f"/proc/{pid}/stat")
    # The name stands in parentheses and may contain anything, even parentheses.
    _, closed, after = line.rpartition(b")")
    fields = after.split()
    if not closed or len(fields) < 22:
        return None
    return Proc(
        pid,
        chr(fields[0][0]),
        int(fields[1]),
        int(fields[2]),
        int(fields[3]),
        int(fields[19]),
        int(fields[21]) * _page(),
    )


def snapshot() -> dict[int, Proc]:
    """All processes."""
    try:
        names = os.listdir("/proc")  # noqa: PTH208  # called often; a Path for each process is slow
    except OSError:
        return {}
    found = (look(int(name)) for name in names if name.isdigit())
    return {proc.pid: proc for proc in found if proc is not None}


def children(pid: int) -> list[int]:
    """Direct children of a single-threaded process, the dead ones too."""
    data = _read(f"/proc/{pid}/task/{pid}/children")
    if data or Path(f"/proc/{pid}/task/{pid}/children").exists():
        return [int(each) for each in data.split()]
    return [proc.pid for proc in snapshot().values() if proc.parent == pid]


def mark(name: str, value: str) -> bytes:
    """A variable as it stands in ``/proc/PID/environ``, between zero bytes."""
    return b"\0" + os.fsencode(f"{name}={value}") + b"\0"


def environment(pid: int) -> bytes:
    """The environment that a process was started with, with zero bytes around every variable."""
    return b"\0" + _read(f"/proc/{pid}/environ")


def value_of(environ: bytes, name: str) -> str | None:
    """A variable's value in what :func:`environment` gives."""
    _, found, rest = environ.partition(b"\0" + name.encode() + b"=")
    return os.fsdecode(rest.partition(b"\0")[0]) if found else None


def is_marked(pid: int, marks: Iterable[bytes]) -> bool:
    """Whether all these variables are in the environment that the process was started with."""
    data = environment(pid)
    return all(each in data for each in marks)


def members(
    pid: int,
    start: int,
    marks: Collection[bytes],
    *,
    reapers: Collection[int] = (),
    procs: dict[int, Proc] | None = None,
) -> list[Proc]:
    """The living processes that are provably of the attempt whose first process is or was ``pid``.

    :param pid: of its first process; 0 when it is not known, and then only the marks are proof: session 0
        is that of everything which the machine's first process has started.
    :param reapers: processes that have no children but runs and what runs have left (keeper, nanny).
    """
    procs = snapshot() if procs is None else procs
    first = procs.get(pid)
    lives = first is not None and first.start == start
    ours = {pid} if lives else set()
    for proc in procs.values():
        if proc.pid in ours or proc.pid in reapers or proc.start < start:
            continue
        in_session = pid > 0 and pid in (proc.session, proc.group)
        # Without its first process a session's number proves nothing, unless a reaper is the parent.
        by_session = in_session and (lives or (first is None and proc.parent in reapers))
        if by_session or is_marked(proc.pid, marks):
            ours.add(proc.pid)
    _add_descendants(ours, procs)
    return [procs[each] for each in sorted(ours) if not procs[each].dead]


def _add_descendants(ours: set[int], procs: dict[int, Proc]) -> None:
    by_parent: dict[int, list[int]] = {}
    for proc in procs.values():
        by_parent.setdefault(proc.parent, []).append(proc.pid)
    waiting = list(ours)
    while waiting:
        for child in by_parent.get(waiting.pop(), ()):
            if child not in ours:
                ours.add(child)
                waiting.append(child)


def send(proc: Proc, number: int) -> bool:
    """Signal this process and no other that has its pid now. False when it is gone."""
    try:
        if not hasattr(os, "pidfd_open"):
            os.kill(proc.pid, number)
            return True
        fd = os.pidfd_open(proc.pid)
    except OSError:
        return False
    try:
        now = look(proc.pid)
        if now is None or now.start != proc.start:
            return False
        signal.pidfd_send_signal(fd, number)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def writes_to(pid: int, path: Path) -> bool:
    """Whether standard output of the process is this file."""
    try:
        return Path(f"/proc/{pid}/fd/1").samefile(path)
    except OSError:
        return False


def proportional_bytes(proc: Proc) -> int:
    """Memory of a process with shared pages divided among their users; its RSS when it may not be read."""
    for line in _read(f"/proc/{proc.pid}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return proc.rss_bytes

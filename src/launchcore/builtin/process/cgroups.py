"""Memory limits by control groups, where this account may make them: version 2, and the old version 1.

Documented in the kernel's ``Documentation/admin-guide/cgroup-v2.rst`` and ``cgroup-v1/memory.rst``.
Standard library only.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple


class Home(NamedTuple):
    """Where this process's groups can be made. ``own`` is the group that it is in."""

    version: int
    own: Path
    parent: Path


def find_home(proc: Path = Path("/proc/self")) -> Home | None:
    """The place for groups with a memory limit, or ``None`` when there is none that we may use."""
    try:
        groups = (proc / "cgroup").read_text().splitlines()
        mounts = (proc / "mountinfo").read_text().splitlines()
    except OSError:
        return None
    for line in groups:
        number, controllers, path = line.split(":", 2)
        version = 1 if "memory" in controllers.split(",") else 2 if number == "0" else 0
        own = _mounted(mounts, version, path) if version else None
        if own is not None and (home := _usable(version, own)):
            return home
    return None


def _mounted(mounts: list[str], version: int, path: str) -> Path | None:
    """The directory of a group: ``path`` below the mount of its hierarchy."""
    for line in mounts:
        left, _, right = line.partition(" - ")
        fields, (kind, _, options) = left.split(), right.split(" ", 2)
        if version == 1 and (kind != "cgroup" or "memory" not in options.split(",")):
            continue
        if version == 2 and kind != "cgroup2":
            continue
        root, point = fields[3], fields[4]
        inside = path.removeprefix(root.rstrip("/")) if path.startswith(root.rstrip("/")) else path
        return Path(point) / inside.lstrip("/")
    return None


def _usable(version: int, own: Path) -> Home | None:
    # Version 2 gives a limit only to groups whose parent has switched the controller on, and such a
    # parent has no processes of its own: look upwards for one.
    parents = [own] if version == 1 else [own, *own.parents]
    for parent in parents:
        if version == 2:
            try:
                if "memory" not in (parent / "cgroup.subtree_control").read_text().split():
                    continue
            except OSError:
                return None
        probe = parent / f"launchcore-probe-{os.getpid()}"
        try:
            (own / "cgroup.procs").write_text("0")
            probe.mkdir()
            probe.rmdir()
        except OSError:
            return None
        return Home(version, own, parent)
    return None


def create(home: Home, name: str, limit: int) -> Path | None:
    """A group that may use ``limit`` bytes, swap included; ``None`` when the kernel will not have it."""
    path = home.parent / name
    try:
        path.mkdir(exist_ok=True)
        if home.version == 2:
            (path / "memory.max").write_text(str(limit))
            extra = {"memory.swap.max": "0", "memory.oom.group": "1"}
        else:
            (path / "memory.limit_in_bytes").write_text(str(limit))
            extra = {"memory.memsw.limit_in_bytes": str(limit)}
    except OSError:
        remove(path)
        return None
    for file, value in extra.items():
        with contextlib.suppress(OSError):
            (path / file).write_text(value)
    return path


def enter(path: Path) -> None:
    """Move this process into the group. Whatever it starts from now on is in it from its birth.

    :raises OSError: not allowed.
    """
    (path / "cgroup.procs").write_text("0")


def oom_kills(path: Path) -> int:
    """How many processes the kernel has killed for this group's limit."""
    for file in ("memory.events", "memory.oom_control"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in (path / file).read_text().splitlines():
                key, value = line.split()
                if key == "oom_kill":
                    return int(value)
    return 0


def remove(path: Path) -> bool:
    """Remove an empty group. False while something is still in it."""
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def sweep(home: Home, prefix: str, keep: set[str]) -> None:
    """Remove the groups of one keeper, except those whose names end with one of ``keep``."""
    for path in home.parent.glob(prefix + "*"):
        if path.name.removeprefix(prefix) not in keep:
            remove(path)

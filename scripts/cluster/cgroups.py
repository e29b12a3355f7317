"""Control groups of the cluster's own."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path


def _roots() -> Iterable[Path]:
    """The roots of the machine's control groups: one (version 2), or one for each controller."""
    top = Path("/sys/fs/cgroup")
    if (top / "cgroup.controllers").exists():
        return [top]
    return [each for each in top.iterdir() if each.is_dir() and not each.is_symlink()]


def make_cgroups(name: str) -> None:
    """For everything that the kubelet makes below it."""
    for controller in _roots():
        (controller / name).mkdir(exist_ok=True)


def processes_in(name: str) -> set[int]:
    """All that runs in it and below it."""
    found: set[int] = set()
    for controller in _roots():
        for listed in (controller / name).rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                found.update(map(int, listed.read_text().split()))
    return found


def remove_cgroups(name: str) -> None:
    """With all below it: nothing may run there any more."""
    until = time.monotonic() + 10
    for controller in _roots():
        while (controller / name).exists() and time.monotonic() < until:
            for folder, _, _ in os.walk(controller / name, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()

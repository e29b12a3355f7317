"""File locks that hold between threads and processes, end with their holder, and can be waited for politely.

A ``flock`` belongs to the open file: it lives as long as any process that inherited the descriptor. So
when an agent is killed in the middle of a fetch, its orphaned ``git`` still keeps others out.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from launchcore.plugin import LaunchError


@contextlib.contextmanager
def locked(
    path: Path, *, check: Callable[[], None], shared: bool = False, timeout: float = 3600.0
) -> Iterator[int]:
    """Hold the lock file ``path``; gives its descriptor. ``check`` is called while waiting, and may raise.

    :param timeout: seconds.
    :raises LaunchError: ``infrastructure``, retryable: somebody else held it for too long.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _wait(descriptor, path.name, shared, check, deadline)
            if same(path, descriptor):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _wait(descriptor: int, name: str, shared: bool, check: Callable[[], None], deadline: float) -> None:
    pause = 0.001
    while not try_lock(descriptor, shared=shared):
        check()
        if time.monotonic() > deadline:
            raise LaunchError(
                f"waited too long for another fetch, which holds {name}",
                hint="look for a git process that hangs",
                retryable=True,
            )
        time.sleep(pause)
        pause = min(pause * 2, 0.1)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Take the lock if nobody is in the way."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def same(path: Path, descriptor: int) -> bool:
    """Whether ``path`` is still what was opened: a cache may be deleted at any time."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False

"""One build at a time for each tag: among threads, and among processes that share the agent's state."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from launchcore.plugin import StageContext


@contextlib.contextmanager
def building(folder: Path, name: str, context: StageContext) -> Iterator[None]:
    """Hold the lock of the image ``name``; waits for whoever has it, and obeys a cancel.

    A ``flock`` belongs to the open file, so it holds between threads too, and ends with its holder. The
    files stay, since removing one would let two in; there are 4096 at most, shared by names at random.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(name.encode()).hexdigest()[:3]
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        told, pause = False, 0.005
        while not _taken(descriptor):
            context.check()
            if not told:
                told = True
                context.log("another run builds the same image: waiting for it")
            time.sleep(pause)
            pause = min(pause * 2, 0.25)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

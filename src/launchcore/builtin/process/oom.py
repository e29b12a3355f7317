"""Evidence that the kernel killed a process because the machine was out of memory. Standard library only."""

from __future__ import annotations

import os
import re
from pathlib import Path

VMSTAT = Path("/proc/vmstat")
KMSG = Path("/dev/kmsg")


def kill_count(vmstat: Path = VMSTAT) -> int:
    """How often the kernel's out-of-memory killer has struck since boot."""
    try:
        found = re.search(r"^oom_kill (\d+)$", vmstat.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def was_named(pid: int, since: float, kmsg: Path = KMSG) -> bool | None:
    """Whether the kernel's log names ``pid`` as killed since ``since`` (CLOCK_MONOTONIC seconds).

    ``None``: the log may not be read by this account. Format: ``Documentation/ABI/testing/dev-kmsg``.
    """
    try:
        fd = os.open(kmsg, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        while True:
            try:
                record = os.read(fd, 8192)
            except BlockingIOError:
                return False
            except BrokenPipeError:  # this record was overwritten before we came to it
                continue
            if not record:
                return False
            head, _, text = record.partition(b";")
            when = int(head.split(b",")[2]) / 1e6
            if when >= since and re.search(rb"Killed process %d\b" % pid, text):
                return True
    except (OSError, ValueError, IndexError):
        return None
    finally:
        os.close(fd)

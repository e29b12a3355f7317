"""Containers that run without the engine's knowing.

A Docker engine that is killed while it starts a container has not written down yet that it runs: when it
is back it calls it ``created``, removes it when asked to, and its processes go on. The kernel knows better:
the control group of a container's processes has the container's id in its name, whatever made it
(``/docker/ID``, ``docker-ID.scope``). Only on the engine's own machine, and outside of containers.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

PATIENCE = 5.0
"""Seconds for killed processes to be gone."""


def processes(container: str, proc: Path = Path("/proc")) -> list[int]:
    """The ids of the processes in this container's control group; none where that cannot be seen."""
    found, wanted = [], container.encode()
    with contextlib.suppress(OSError):
        for each in os.scandir(proc):
            if each.name.isdigit():
                with contextlib.suppress(OSError):  # it has just ended
                    if wanted in Path(each.path, "cgroup").read_bytes():
                        found.append(int(each.name))
    return found


def end(container: str) -> bool:
    """Kill them. False: some are still there, or may not be killed by this account."""
    until = time.monotonic() + PATIENCE
    while found := processes(container):
        if time.monotonic() > until:
            return False
        for each in found:
            with contextlib.suppress(ProcessLookupError):
                try:
                    os.kill(each, signal.SIGKILL)
                except PermissionError:
                    return False
        time.sleep(0.02)
    return True

"""The demo's own agent: a process that the demo starts, and stops again by its id."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from launchcore.cli.errors import CommandError
from launchcore.cli.exits import Exit
from launchcore.demo.place import Place

if TYPE_CHECKING:
    from launchcore.queues.base import Service

PATIENCE = 30.0
"""Seconds for an agent to say that it serves its queue, and to end when it is told to."""


@contextlib.contextmanager
def serving(service: Service, place: Place, queue: str, *, keep: bool) -> Iterator[int | None]:
    """While in the block, an agent serves the demo's queue. Gives its process id.

    ``None``: one that an earlier demo has left there serves it already; that one is left alone.
    :param keep: leave the agent there after the block.
    :raises CommandError: it did not come up; with the end of its log.
    """
    if service.queue(queue).agents:
        yield None
        return
    process = _start(place)
    try:
        _wait_until_it_serves(service, process, place, queue)
        yield process.pid
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            _stop(process)


def _start(place: Place) -> subprocess.Popen[bytes]:
    """In a session of its own, so that Ctrl-C in this terminal is ours alone."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LAUNCHCORE_")}
    command = [sys.executable, "-m", "launchcore.cli", "agent", "--config", str(place.config)]
    with place.agent_log.open("wb") as log:
        return subprocess.Popen(
            [*command, "--log-format", "text"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environ,
            cwd=place.directory,
            start_new_session=True,
        )


def _wait_until_it_serves(
    service: Service, process: subprocess.Popen[bytes], place: Place, queue: str
) -> None:
    deadline = time.monotonic() + PATIENCE
    while not service.queue(queue).agents:
        if process.poll() is not None or time.monotonic() > deadline:
            lines = place.agent_log.read_text(errors="replace").strip().splitlines()
            raise CommandError(
                f"the demo's agent did not start: {lines[-1] if lines else 'it said nothing'}",
                hint=f"its log is {place.agent_log}; `launch doctor` looks for the cause",
                code=Exit.UNAVAILABLE,
            )
        time.sleep(0.02)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

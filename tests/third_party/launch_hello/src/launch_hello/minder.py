"""Minds one process: ``python -m launch_hello.minder DIRECTORY``, the order as JSON on standard input.

Returns when the process has been started, or with an error; a child of it stays and minds. SIGUSR1
stops the process: politely at once, by force after the seconds that ``DIRECTORY/grace`` says.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def main(place: Path) -> int:
    order = json.load(sys.stdin)
    told, tells = os.pipe()
    if os.fork():
        os.close(tells)
        with os.fdopen(told) as answer:
            error = answer.read()
        print(error, file=sys.stderr)
        return 1 if error else 0
    os.setsid()
    _mind(place, order, tells)
    os._exit(0)


def _mind(place: Path, order: dict[str, Any], tells: int) -> None:
    alive = (place / "minder").open("w")
    alive.write(str(os.getpid()))
    alive.flush()
    fcntl.flock(alive, fcntl.LOCK_EX)
    process: subprocess.Popen[bytes] | None = None
    force_at = [float("inf")]

    def stop(_signal: int, _frame: object) -> None:
        force_at[0] = min(force_at[0], time.monotonic() + float((place / "grace").read_text()))
        _kill(process, signal.SIGTERM)

    signal.signal(signal.SIGUSR1, stop)
    began = time.time()
    try:
        with (place / "log").open("ab") as log:
            process = subprocess.Popen(
                order["argv"],
                cwd=order["cwd"],
                env=order["env"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    except OSError as error:
        os.write(tells, f"cannot run {order['argv'][0]!r}: {error.strerror}".encode())
        os._exit(1)
    if order["seconds"] is not None:
        force_at[0] = time.monotonic() + order["seconds"]
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(tells)
    while process.poll() is None:
        if time.monotonic() >= force_at[0]:
            _kill(process, signal.SIGKILL)
        time.sleep(0.01)
    _kill(process, signal.SIGKILL)  # whoever is left of its group
    code = process.returncode
    end = {
        "exit_code": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "started_at": began,
        "finished_at": time.time(),
    }
    (place / "end.new").write_text(json.dumps(end))
    (place / "end.new").rename(place / "end")


def _kill(process: subprocess.Popen[bytes] | None, number: int) -> None:
    if process is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

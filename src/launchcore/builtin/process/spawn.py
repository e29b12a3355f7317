"""Make one process, cheaply: ``posix_spawn`` (vfork), which says so when the program cannot be executed.

A fork of the keeper would cost three times as much. Standard library only.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path


class NotExecuted(Exception):
    """Nothing was started. ``program``: what was tried, ``number``: the errno, ``step``: at what."""

    def __init__(self, step: str, program: str, number: int) -> None:
        super().__init__(f"{step} {program}: {os.strerror(number)}")
        self.step = step
        self.program = program
        self.number = number


def find_program(name: str, path: str, cwd: str) -> str:
    """The file that ``execvp`` would execute for ``name``, relative to ``cwd``.

    :raises NotExecuted: ENOENT: not on the path; EACCES: found, and not executable.
    """
    if "/" in name:
        return name
    refused = False
    for folder in path.split(os.pathsep):
        candidate = Path(cwd, folder or ".", name)
        if os.access(candidate, os.X_OK) and not candidate.is_dir():
            return str(candidate)
        refused = refused or candidate.is_file()
    raise NotExecuted("execute", name, errno.EACCES if refused else errno.ENOENT)


def spawn(argv: list[str], env: Mapping[str, str], cwd: str, log: Path, *, nice: int) -> int:
    """Start ``argv`` in a session of its own; its pid, once it executes.

    It inherits the caller's umask and standard input (``/dev/null``); no other descriptor, since all
    are close-on-exec. Signals are as a new process expects them. The caller's working directory is
    changed on the way, and is ``/`` afterwards.

    :raises NotExecuted: and nothing is left.
    :raises OSError: the log cannot be opened, or there are too many processes.
    """
    try:
        os.chdir(cwd)
    except OSError as error:
        raise NotExecuted("enter", cwd, error.errno or 0) from None
    out = -1
    try:
        program = find_program(argv[0], env.get("PATH", os.defpath), cwd)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        pid = _execute(program, argv, env, out)
    finally:
        os.chdir("/")
        if out >= 0:
            os.close(out)
    if nice:
        os.setpriority(os.PRIO_PROCESS, pid, min(19, os.getpriority(os.PRIO_PROCESS, pid) + nice))
    return pid


def _execute(program: str, argv: list[str], env: Mapping[str, str], out: int) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)]
    patience = 3
    while True:
        try:
            return os.posix_spawn(
                program,
                argv,
                env,
                file_actions=actions,
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD],
            )
        except OSError as error:
            patience -= 1
            if error.errno in (errno.EAGAIN, errno.ENOMEM):
                raise
            if error.errno != errno.ETXTBSY or not patience:
                raise NotExecuted("execute", program, error.errno or 0) from None
        # Somebody still has the file open for writing, for a moment (a sibling between fork and exec).
        time.sleep(0.02)

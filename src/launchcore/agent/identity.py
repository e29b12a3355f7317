"""Who an agent is: a name that only one live process of a machine can hold."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import socket
import stat
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import IO

import attrs

from launchcore.plugin import AgentInfo, Fault, LaunchError, Reason


@attrs.frozen(kw_only=True)
class Identity:
    """An agent's name, held by a lock on ``lock`` until the process ends, however it ends."""

    name: str
    session: str
    host: str
    lock: IO[str]

    def info(self, *, queues: tuple[str, ...], max_jobs: int, host_bound: tuple[str, ...]) -> AgentInfo:
        return AgentInfo(
            name=self.name,
            session=self.session,
            host=self.host,
            pid=os.getpid(),
            version=version("launchcore"),
            queues=queues,
            max_jobs=max_jobs,
            host_bound=host_bound,
        )


def lock_folder(service: str) -> Path:
    """Where the names of one queue service's agents are locked: one place for this user and machine,
    whatever state directory each agent has.

    :param service: the queue service's identity.
    :raises LaunchError: the place is somebody else's.
    """
    root = Path(tempfile.gettempdir()) / f"launchcore-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise LaunchError(
            f"{root} is not this user's directory",
            fault=Fault.INFRASTRUCTURE,
            hint="remove it, or set TMPDIR",
        )
    return root / "agents" / service


def take_identity(wanted: str | None, folder: Path) -> Identity:
    """Take ``wanted``, or the first free of HOST, HOST-2, HOST-3 …

    Since the kernel drops the lock with the process, holding it proves that no older session of
    this name lives on this machine: what it left can be taken over at once.

    :param folder: where the locks are: :func:`lock_folder`.
    :raises LaunchError: a live agent of this machine has ``wanted``.
    """
    host = socket.gethostname() or "localhost"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    base = re.sub(r"[^A-Za-z0-9_.-]", "-", host)
    names = [wanted] if wanted else [base, *(f"{base}-{number}" for number in range(2, 1000))]
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", name):
            raise LaunchError(
                f"agent name {name!r} is not usable",
                reason=Reason.CONFIG_ERROR,
                hint="letters, digits, '-', '_' and '.', at most 63",
            )
        lock = (folder / f"{name}.lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        lock.seek(0)
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        return Identity(name=name, session=secrets.token_hex(8), host=host, lock=lock)
    raise LaunchError(
        f"an agent named {wanted!r} runs on this machine already",
        reason=Reason.CONFIG_ERROR,
        hint="give this one another --name, or none",
    )

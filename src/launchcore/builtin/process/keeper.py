"""The keeper: a small process that starts, watches and ends runs, and outlives the agent.

``python -m launchcore.builtin.process.keeper DIRECTORY`` returns once a keeper serves the directory
(this one, or one that did already). There are two processes behind it, in a session of their own:

- the **keeper** does everything, on one thread: it is small, so making a process is cheap, and it
  exists so that the agent may be killed without any run, exit code or deadline being lost;
- the **nanny** does nothing but be the keeper's parent. If the keeper is killed, the kernel makes the
  nanny the parent of all runs (``PR_SET_CHILD_SUBREAPER``, prctl(2)); it notes how they end, and
  starts a new keeper, which goes on watching them. It costs a few shared pages.

Under systemd, an agent's unit needs ``KillMode=process``; otherwise stopping the unit ends the keeper
and all runs with it. Standard library only; starts in some 50 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import gc
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

from launchcore.builtin.process.nanny import Nanny
from launchcore.builtin.process.station import Station

TAKEN = 3
"""The keeper's exit status when another one serves the directory."""
LOCK_SECONDS = 10.0
"""How long to wait for a lock that nobody behind a socket holds (a predecessor that is just ending)."""


class Unavailable(Exception):
    """No keeper can serve this directory; the text says why."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="keeper")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds without children and clients")
    options = parser.parse_args()
    root: Path = options.directory
    ready, tell = os.pipe()
    _fresh_process()
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    root.chmod(0o700)
    if os.fork() == 0:
        os.close(ready)
        _leave(root)
        status = _keep_watch(root.resolve(), options.idle, tell)
        os._exit(status)
    os.close(tell)
    answer = os.read(ready, 4096)
    if answer == b"ready":
        return 0
    sys.stderr.write(answer.decode() or f"the keeper did not start; see {root / 'keeper.log'}")
    return 1


def _fresh_process() -> None:
    """Signals, umask and descriptors as a new process has them, whatever the agent had."""
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    os.umask(0o022)


def _leave(root: Path) -> None:
    """Leave the agent's session and directory; talk to ``keeper.log`` only."""
    os.setsid()
    os.chdir("/")
    log = root / "keeper.log"
    with contextlib.suppress(OSError):
        if log.stat().st_size > 1 << 20:
            log.unlink()
    null = os.open("/dev/null", os.O_RDWR)
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:  # a full disk: go on without
        out = null
    for target, source in ((0, null), (1, out), (2, out)):
        os.dup2(source, target)


def _keep_watch(root: Path, idle: float, tell: int) -> int:
    """The nanny's part."""
    _become_reaper()
    gc.freeze()  # pages that no collection touches stay shared between nanny and keeper
    nanny = Nanny(root, lambda fd: _fork_keeper(root, idle, fd))
    nanny.start(tell)
    os.close(tell)
    try:
        nanny.watch()
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _fork_keeper(root: Path, idle: float, tell: int) -> int:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            _become_reaper()
            status = _serve(root, idle, tell)
        except Unavailable as problem:
            _tell(tell, str(problem))
        except BaseException as problem:
            traceback.print_exc()
            _tell(tell, f"the keeper cannot work in {root}: {problem}")
        finally:
            sys.stderr.flush()
            os._exit(status)
    return pid


def _tell(fd: int, text: str) -> None:
    # -1: nobody listens to a keeper that the nanny has started again.
    with contextlib.suppress(OSError):
        os.write(fd, text.encode()[:4000])


def _serve(root: Path, idle: float, tell: int) -> int:
    """The keeper's part."""
    if not _lock(root):
        _tell(tell, "ready")
        return TAKEN
    station = Station(root, idle=idle)
    station.load()
    _tell(tell, "ready")
    if tell >= 0:
        os.close(tell)
    station.loop.run()
    # Under the lock: whoever finds no socket starts a new keeper, which waits for the lock.
    with contextlib.suppress(OSError):
        (root / "keeper.sock").unlink()
    return 0


def _lock(root: Path) -> bool:
    """Take the directory's lock, for the life of this process. False: another keeper serves it.

    A process that is being made holds a copy of the lock until it executes, so a keeper that starts
    after another's death never misses one that is still to appear.
    """
    lock = os.open(root / "keeper.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if is_served(root):
                os.close(lock)
                return False
        if time.monotonic() > until:
            raise Unavailable(f"{root / 'keeper.lock'} is held by a process that does not serve {root}")
        time.sleep(0.01)


def is_served(root: Path) -> bool:
    """Whether somebody listens."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
        probe.settimeout(1.0)
        try:
            os.chdir(root)  # a path of any length fits into an address that way
            probe.connect("keeper.sock")
        except OSError:
            return False
        finally:
            os.chdir("/")
    return True


def _become_reaper() -> None:
    """Become the parent of every orphaned descendant. Without it (not Linux) they are init's."""
    with contextlib.suppress(Exception):
        import ctypes

        pr_set_child_subreaper = 36
        ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


if __name__ == "__main__":
    # Descriptors that the agent forgot to close are not for the runs.
    os.closerange(3, min(os.sysconf("SC_OPEN_MAX"), 65536))
    sys.exit(main())

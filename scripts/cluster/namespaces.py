"""Namespaces of processes, mounts and network with one process that holds them: kill it, and all is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

SETUP = """\
mount --make-rshared /
for place in /run /var/log /var/lib/cni; do mkdir -p $place; mount -t tmpfs -o mode=755 tmpfs $place; done
mkdir -p /run/lock
hostname {hostname}
ip link set lo up
: > {root}/ready
exec env --ignore-signal=CHLD sleep infinity
"""
"""``/run``, the logs of containers and the addresses of pods are the cluster's own, and go with it.
A process whose parent has died becomes a child of the last line's; ignoring SIGCHLD is how it reaps them."""


class Namespaces:
    """Processes in a world of their own below one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._pid_file = root / "holder"

    def start(self, hostname: str) -> None:
        script = SETUP.format(hostname=hostname, root=self.root)
        with (self.root / "holder.log").open("wb") as log:
            outer = subprocess.Popen(
                [
                    *("unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--mount-proc"),
                    *("--kill-child", "--", "sh", "-e", "-c", script, f"launchcore-cluster={self.root}"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + 20
        while not (self.root / "ready").exists():
            if outer.poll() is not None or time.monotonic() > until:
                outer.kill()
                raise RuntimeError(f"no namespaces: {(self.root / 'holder.log').read_text()[-500:]}")
            time.sleep(0.02)
        self._pid_file.write_text(str(next(children(outer.pid))))
        outer.returncode = 0  # it is not ours to wait for: the cluster outlives this process

    def holder(self) -> int | None:
        """The process that everything lives and dies with, or ``None``: nothing runs."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(self._pid_file.read_text())
            # The number alone could be another process's by now.
            if f"launchcore-cluster={self.root}" in _command(_parent(pid)):
                return pid
        return None

    def command(self, *command: str) -> list[str]:
        """How to run this inside."""
        holder = self.holder()
        if holder is None:
            raise RuntimeError(f"no cluster runs in {self.root}")
        spaces = ("--mount", "--pid", "--net", "--ipc", "--uts")
        return ["nsenter", f"--target={holder}", *spaces, "--", *command]

    def run(
        self, *command: str, stdin: IO[bytes] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run something short inside."""
        done = subprocess.run(
            self.command(*command), stdin=stdin, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-1000:]}")
        return done

    def spawn(self, command: Sequence[str], log: Path, environ: dict[str, str]) -> None:
        """Start a long-lived program inside. It does not end with this process."""
        with log.open("ab") as out:
            process = subprocess.Popen(
                self.command(*command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **environ},
                start_new_session=True,
            )
        process.returncode = 0

    def find(self, program: str) -> int | None:
        """The pid (as seen from outside) of a program that was started here."""
        holder = self.holder()
        if holder is None:
            return None
        ours = _space(holder)
        for pid in processes():
            with contextlib.suppress(OSError):
                name = _command(pid).partition(" ")[0]
                if Path(name).name == program and _space(pid) == ours:
                    return pid
        return None

    def close(self) -> None:
        """End everything inside, and wait until it has gone."""
        holder = self.holder()
        if holder is None:
            return
        space = _space(holder)
        outer = _parent(holder)
        os.kill(holder, signal.SIGKILL)
        until = time.monotonic() + 30
        while any(_space(pid) == space for pid in processes()) and time.monotonic() < until:
            time.sleep(0.05)
        with contextlib.suppress(OSError):
            os.waitpid(outer, os.WNOHANG)


def processes() -> Iterator[int]:
    """All that the machine has."""
    return (int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit())


def children(parent: int) -> Iterator[int]:
    for pid in processes():
        with contextlib.suppress(OSError):
            if _parent(pid) == parent:
                yield pid


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def _space(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""

"""What the tests of the process runner share: a runner in a directory of its own, plans, waiting."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from launchcore.builtin.process import procfs
from launchcore.builtin.process.runner import ProcessRunner
from launchcore.builtin.process.settings import ProcessConfig, ProcessSettings, Python
from launchcore.plugin import (
    Given,
    Limits,
    Phase,
    RunHandle,
    RunPlan,
    RunStatus,
    Site,
    SourceRef,
    SourceTree,
)

T = TypeVar("T")

NOTHING = Given()

NUMBERS = itertools.count(1)
"""No attempt has the id of another, so that tests can share a keeper."""

DEADLINE = 30.0
"""Seconds that a condition may take on a busy machine."""


def eventually(condition: Callable[[], T], *, seconds: float = DEADLINE) -> T:
    """Wait for a condition to be true; what it gave."""
    until = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"never came true: {condition}")
        time.sleep(0.01)


class Bench:
    """One agent's directories, and runners that work in them."""

    def __init__(self, root: Path, state: Path | None = None) -> None:
        self.root = root
        self.site = Site(state=state or root / "state", cache=root / "cache", owner="queue-1", host="here")
        self.settings = ProcessSettings(idle_seconds=30.0)
        self.runner = self.another()

    def another(self, **settings: Any) -> ProcessRunner:
        """Another runner object, as another agent would have it."""
        return ProcessRunner(attrs.evolve(self.settings, **settings), self.site)

    @property
    def keeper_root(self) -> Path:
        return (self.site.state / "process" / "queue-1").resolve()

    def tree(self, files: Mapping[str, str] = {}, name: str = "tree") -> SourceTree:
        path = self.root / name
        path.mkdir(exist_ok=True, parents=True)
        for file, text in files.items():
            target = path / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            if text.startswith("#!"):
                target.chmod(0o755)
        return SourceTree(path=path, identity=f"test:{name}", pinned=SourceRef(type="test"))

    def plan(self, *command: str, attempt: str | None = None, **more: Any) -> RunPlan:
        """A plan for ``command``; its directory is empty, and it gets no virtual environment."""
        attempt = attempt or f"r{next(NUMBERS)}-1"
        scratch = self.root / "scratch" / attempt
        scratch.mkdir(parents=True, exist_ok=True)
        fields: dict[str, Any] = {
            "run_id": attempt.rpartition("-")[0],
            "attempt_id": attempt,
            "attempt": 1,
            "queue": "q",
            "name": f"launch-{attempt}",
            "settings": ProcessConfig(python=Python.NONE),
            "command": command,
            "tree": self.tree(),
            "limits": Limits(grace_seconds=5.0),
            "scratch": scratch,
        }
        return RunPlan(**{**fields, **more})

    def shell(self, script: str, **more: Any) -> RunPlan:
        return self.plan("/bin/sh", "-c", script, **more)

    def python(self, script: str, **more: Any) -> RunPlan:
        return self.plan(sys.executable, "-S", "-c", script, **more)

    def start(self, plan: RunPlan, given: Given = NOTHING) -> RunHandle:
        return self.runner.start(plan, given)

    def status(self, handle: RunHandle) -> RunStatus:
        return self.runner.poll([handle])[handle.key]

    def ended(self, handle: RunHandle, *, seconds: float = DEADLINE) -> RunStatus:
        """Its last status."""

        def final() -> RunStatus | None:
            status = self.status(handle)
            return status if status.phase.final else None

        found = eventually(final, seconds=seconds)
        assert found is not None
        return found

    def run(self, plan: RunPlan, given: Given = NOTHING) -> RunStatus:
        return self.ended(self.start(plan, given))

    def log(self, handle: RunHandle) -> str:
        return self.read(handle).decode()

    def read(self, handle: RunHandle, limit: int = 1 << 20) -> bytes:
        """The whole log, which must have an end."""
        data, cursor = b"", None
        while True:
            batch = self.runner.logs(handle, cursor, limit)
            assert batch.gap is None
            data, cursor = data + batch.data, batch.cursor
            if batch.end:
                return data
            time.sleep(0 if batch.data else 0.01)

    # -- the keeper ----------------------------------------------------------------------------

    def keepers(self) -> list[int]:
        """Processes of keepers of this directory: the nanny first, then its child."""
        found = []
        for pid in procfs.snapshot():
            words = cmdline(pid)
            if "launchcore.builtin.process.keeper" in words and str(self.keeper_root) in words:
                found.append(pid)
        return sorted(found, key=lambda pid: (-len(procfs.children(pid)), pid))

    def keeper(self) -> int:
        """The one that does the work: it holds the lock, which /proc/locks shows."""
        inode = (self.keeper_root / "keeper.lock").stat().st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if words[1] == "FLOCK" and int(words[5].split(":")[2]) == inode:
                return int(words[4])
        raise AssertionError("no keeper holds the lock")

    def kill_keeper(self) -> int:
        """SIGKILL to the keeper only; its pid."""
        pid = self.keeper()
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not alive(pid))
        return pid

    def marked(self, attempt: str) -> list[int]:
        """Living processes that carry this attempt's mark."""
        marks = (
            procfs.mark(procfs.ATTEMPT_MARK, attempt),
            procfs.mark(procfs.KEEPER_MARK, str(self.keeper_root)),
        )
        return [
            proc.pid
            for proc in procfs.snapshot().values()
            if not proc.dead and procfs.is_marked(proc.pid, marks)
        ]

    def close(self) -> None:
        """End everything that was started in these directories."""
        for handle in self.runner.owned():
            self.runner.cleanup(handle)
        for pid in self.keepers():
            try:
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def alive(pid: int) -> bool:
    proc = procfs.look(pid)
    return proc is not None and not proc.dead


def cmdline(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return []


def number_in(path: Path) -> int:
    """Wait for a file with a number in it."""
    return int(eventually(lambda: path.exists() and path.read_text().strip()))


__all__ = ["Bench", "Phase", "alive", "cmdline", "eventually", "number_in"]

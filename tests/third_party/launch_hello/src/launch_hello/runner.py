"""A small honest runner: a directory for each attempt, and a minder process that outlives the agent."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from launchcore.plugin import (
    Failure,
    Fault,
    Given,
    LaunchError,
    LogBatch,
    OnChange,
    Phase,
    Reason,
    RunHandle,
    RunPlan,
    RunStatus,
    Secret,
    Site,
    Stage,
    StageContext,
)


class HelloRunner:
    """Implements :class:`launchcore.plugin.Runner`."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.root = site.state / "hello"
        for name in ("runs", "never"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    def prepare(self, plan: RunPlan, given: Given, context: StageContext) -> None:
        context.check()

    def start(self, plan: RunPlan, given: Given) -> RunHandle:
        place = self._place(plan.attempt_id)
        with self._locked():
            if not place.exists():
                self._start(place, plan, given)
        return self._handle(plan.attempt_id)

    def _start(self, place: Path, plan: RunPlan, given: Given) -> None:
        if (self.root / "never" / plan.attempt_id).exists():
            raise LaunchError(f"{plan.attempt_id} was given up", reason=Reason.LOST)
        if plan.start_before is not None and time.time() >= plan.start_before:
            raise LaunchError(f"too late to start {plan.attempt_id}", reason=Reason.LOST)
        env = {"PATH": os.environ.get("PATH", os.defpath), **plan.env}
        for one in given.env:
            env[one.name] = one.value.reveal() if isinstance(one.value, Secret) else one.value
        place.mkdir()
        (place / "owner").write_text(self.site.owner)
        cwd = plan.tree.path if plan.tree else plan.scratch
        order = {"argv": plan.command, "env": env, "cwd": str(cwd), "seconds": plan.limits.run_seconds}
        minder = [sys.executable, "-m", "launch_hello.minder", str(place)]
        # The environment has secrets, so it goes through a pipe: not into a file, not into argv.
        done = subprocess.run(minder, input=json.dumps(order), text=True, capture_output=True, check=False)
        if done.returncode != 0:
            shutil.rmtree(place)
            raise LaunchError(done.stderr.strip() or "could not be started", reason=Reason.USER_ERROR)

    def find(self, attempt_id: str) -> RunHandle | None:
        with self._locked():
            if self._place(attempt_id).exists():
                return self._handle(attempt_id)
            (self.root / "never" / attempt_id).touch()
            return None

    def poll(self, handles: Sequence[RunHandle]) -> Mapping[str, RunStatus]:
        return {handle.key: self._status(self._place(handle.attempt_id)) for handle in handles}

    def _status(self, place: Path) -> RunStatus:
        if not place.exists():
            return RunStatus(phase=Phase.GONE)
        alive = _minder(place) is not None  # before the end is looked for: it may come in between
        try:
            end: dict[str, Any] = json.loads((place / "end").read_text())
        except FileNotFoundError:
            if alive:
                return RunStatus(phase=Phase.RUNNING)
            return RunStatus(phase=Phase.FAILED, failure=_failure(Reason.LOST, "its minder was killed"))
        if end["exit_code"] == 0:
            return RunStatus(phase=Phase.SUCCEEDED, **end)
        what = f"signal {end['signal']}" if end["signal"] else f"exit code {end['exit_code']}"
        return RunStatus(phase=Phase.FAILED, failure=_failure(Reason.USER_ERROR, what), **end)

    def logs(self, handle: RunHandle, cursor: str | None, limit: int) -> LogBatch:
        place = self._place(handle.attempt_id)
        final = self._status(place).phase.final
        begin = int(cursor or 0)
        with (place / "log").open("rb") as file:
            file.seek(begin)
            data = file.read(limit)
            rest = file.read(1)
        return LogBatch(data=data, cursor=str(begin + len(data)), end=final and not rest)

    def cancel(self, handle: RunHandle, grace: float) -> None:
        place = self._place(handle.attempt_id)
        minder = _minder(place)
        if minder is not None:
            (place / "grace").write_text(str(grace))
            with contextlib.suppress(ProcessLookupError):
                os.kill(minder, signal.SIGUSR1)

    def cleanup(self, handle: RunHandle) -> None:
        place = self._place(handle.attempt_id)
        (self.root / "never" / handle.attempt_id).touch()
        self.cancel(handle, 0.0)
        while _minder(place) is not None:
            time.sleep(0.01)
        shutil.rmtree(place, ignore_errors=True)

    @contextlib.contextmanager
    def watch(self, on_change: OnChange) -> Iterator[None]:
        yield

    def owned(self) -> Sequence[RunHandle]:
        places = sorted((self.root / "runs").iterdir())
        return [self._handle(place.name) for place in places if _owner(place) == self.site.owner]

    def _place(self, attempt_id: str) -> Path:
        return self.root / "runs" / Path(attempt_id).name

    def _handle(self, attempt_id: str) -> RunHandle:
        return RunHandle(runner="hello-runner", attempt_id=attempt_id)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.root / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _minder(place: Path) -> int | None:
    """The minder's process id, if it lives: it holds a lock as long as it does."""
    try:
        with (place / "minder").open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
    except BlockingIOError:
        return int((place / "minder").read_text())
    except FileNotFoundError:
        return None


def _owner(place: Path) -> str | None:
    try:
        return (place / "owner").read_text()
    except FileNotFoundError:
        return None


def _failure(reason: Reason, detail: str) -> Failure:
    fault = Fault.INFRASTRUCTURE if reason is Reason.LOST else Fault.USER
    return Failure(reason=reason, fault=fault, stage=Stage.EXECUTE, detail=detail)

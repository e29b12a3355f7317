"""The echo runner: objects of files that do what their script says."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from launchcore.host.schema import plain
from launchcore.host.settings import structure
from launchcore.plugin import (
    OWNER_LABEL,
    Busy,
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
    StageContext,
)
from launchcore.testing.echo.objects import Objects
from launchcore.testing.echo.script import EchoObject, Script, status_at, visible_at

LOOK_EVERY = 0.05
"""Seconds between two looks of a watch, for what other processes change (cancel, cleanup)."""


class EchoRunner:
    """Implements :class:`launchcore.plugin.Runner`. Several in several processes may share a directory."""

    def __init__(self, directory: Path, site: Site, name: str = "echo") -> None:
        self.name = name
        self.directory = directory
        self.site = site
        self.objects = Objects(directory)

    def prepare(self, plan: RunPlan, given: Given, context: StageContext) -> None:
        script = script_of(plan)
        if script.prepare_error is not None:
            raise LaunchError(script.prepare_error, reason=Reason.BUILD_FAILED)
        busy(plan, "prepare", script.busy_prepares, script.busy_seconds)
        pause(script.prepare_for, context)

    def start(self, plan: RunPlan, given: Given) -> RunHandle:
        script = script_of(plan)
        if script.start_error is not None:
            raise LaunchError(script.start_error, retryable=script.start_error_retryable)
        if script.start_bug:
            raise RuntimeError("the echo runner has a bug, on request")
        busy(plan, "start", script.busy_starts, script.busy_seconds)
        time.sleep(script.start_hang)
        with self.objects.locked():
            if self.objects.read(plan.attempt_id) is None:
                self._create(plan, given, script)
        if script.die_after_start:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._handle(plan.attempt_id)

    def find(self, attempt_id: str) -> RunHandle | None:
        with self.objects.locked():
            one = self.objects.read(attempt_id)
            if one is None:
                self.objects.mark(attempt_id)
                return None
        self._fail(one, "find", one.script.find_errors)
        return self._handle(attempt_id)

    def poll(self, handles: Sequence[RunHandle]) -> Mapping[str, RunStatus]:
        return {handle.key: self._status(handle) for handle in handles}

    def logs(self, handle: RunHandle, cursor: str | None, limit: int) -> LogBatch:
        one = self.objects.read(handle.attempt_id)
        if one is None:
            raise LaunchError("the log is gone with its run")
        self._fail(one, "logs", one.script.log_errors)
        now = time.time()
        ended = status_at(one, now).phase.final  # before reading: what follows is then all there is
        log = visible_at(one, self.objects.log(one.attempt_id), now)
        begin = int(cursor) if cursor is not None else 0
        gap = None
        if begin < min(one.script.log_gap, len(log)):
            begin = min(one.script.log_gap, len(log))
            gap = f"{begin} bytes were lost"
        data = log[begin : begin + max(limit, 1)]
        return LogBatch(
            data=data, cursor=str(begin + len(data)), end=ended and begin + len(data) == len(log), gap=gap
        )

    def cancel(self, handle: RunHandle, grace: float) -> None:
        with self.objects.locked():
            one = self.objects.read(handle.attempt_id)
            if one is None:
                return
            self._fail(one, "cancel", one.script.cancel_errors)
            if one.cancel_at is None:
                self.objects.rewrite(attrs.evolve(one, cancel_at=time.time(), grace=grace))

    def cleanup(self, handle: RunHandle) -> None:
        with self.objects.locked():
            one = self.objects.read(handle.attempt_id)
            if one is not None:
                self._fail(one, "cleanup", one.script.cleanup_errors)
            self.objects.mark(handle.attempt_id)
            self.objects.remove(handle.attempt_id)

    @contextlib.contextmanager
    def watch(self, on_change: OnChange) -> Iterator[None]:
        done = threading.Event()
        watcher = threading.Thread(target=self._look, args=(on_change, done), daemon=True, name="echo-watch")
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def owned(self) -> Sequence[RunHandle]:
        return [
            self._handle(one.attempt_id)
            for one in self.objects.all()
            if one.labels.get(OWNER_LABEL, self.site.owner) == self.site.owner
        ]

    # -- inside --------------------------------------------------------------------------------

    def _create(self, plan: RunPlan, given: Given, script: Script) -> None:
        if self.objects.is_marked(plan.attempt_id):
            raise LaunchError(
                f"{plan.attempt_id} was given up; it is not started any more", reason=Reason.LOST
            )
        now = time.time()
        if plan.start_before is not None and now >= plan.start_before:
            raise LaunchError(f"too late to start {plan.attempt_id}", reason=Reason.LOST)
        if script.die_before_start:
            self._die_once(plan.attempt_id)
        one = EchoObject(
            attempt_id=plan.attempt_id,
            script=script,
            started_at=now,
            labels={**plan.labels, **{label.name: label.value for label in given.labels}},
            logins=tuple(login.host for login in given.logins),
            volumes={volume.path: volume.source for volume in given.volumes},
        )
        self.objects.create(one, output(script, plan, given))

    def _die_once(self, attempt_id: str) -> None:
        path = self.directory / f"died-{attempt_id}"
        if not path.exists():
            path.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def _handle(self, attempt_id: str) -> RunHandle:
        return RunHandle(runner=self.name, attempt_id=attempt_id, data={"directory": str(self.directory)})

    def _status(self, handle: RunHandle) -> RunStatus:
        one = self.objects.read(handle.attempt_id)
        if one is None:
            return RunStatus(phase=Phase.GONE, message="there is no such echo")
        self._fail(one, "poll", one.script.poll_errors)
        if one.script.unknown_for and self.objects.count(one.attempt_id, "unknown") <= one.script.unknown_for:
            return RunStatus(phase=Phase.UNKNOWN, message="cannot see it, on request")
        return status_at(one, time.time())

    def _fail(self, one: EchoObject, what: str, times: int) -> None:
        if times and self.objects.count(one.attempt_id, what) <= times:
            raise LaunchError(f"{what} failed, on request")

    def _look(self, on_change: OnChange, done: threading.Event) -> None:
        seen: dict[str, RunStatus] = {}
        while not done.is_set():
            now = time.time()
            pause = LOOK_EVERY
            for one in self.objects.all():
                status = status_at(one, now)
                if seen.get(one.attempt_id) != status:
                    seen[one.attempt_id] = status
                    on_change(self._handle(one.attempt_id), status)
                pause = min(pause, max(one.next_change(now) - now, 0.001))
            done.wait(pause)


def script_of(plan: RunPlan) -> Script:
    """The queue's script, with what the run's command overrides: ``key=value``, values as JSON or text.

    :raises LaunchError: the command is no script.
    """
    script: Script = plan.settings if plan.settings is not None else Script()
    raw: dict[str, Any] = {}
    for word in plan.command:
        key, equals, text = word.partition("=")
        if equals:
            try:
                raw[key] = json.loads(text)
            except ValueError:
                raw[key] = text
    if raw:
        whole = {**plain(script), **{key.replace("-", "_"): value for key, value in raw.items()}}
        script = structure(Script, whole, path="command")
    return script.of_attempt(plan.attempt)


def output(script: Script, plan: RunPlan, given: Given) -> bytes:
    """Everything that a run prints. What it shows of its environment is all that is stored of it."""
    env = dict(plan.env)
    for variable in given.env:
        env[variable.name] = variable.value.reveal() if isinstance(variable.value, Secret) else variable.value
    files = {file.path_env: file.content.reveal() for file in given.files if file.path_env}
    env.update({file.path_env: f"/echo/{file.name}" for file in given.files if file.path_env})
    shown = [f"{name}={env[name]}" for name in script.show_env if name in env]
    shown += [files[name] for name in script.show_files if name in files]
    text = "".join(f"{line}\n" for line in (*script.lines, *shown)).encode()
    return text + (b"x" * 63 + b"\n") * (script.output_bytes // 64) + b"x" * (script.output_bytes % 64)


def busy(plan: RunPlan, what: str, times: int, seconds: float) -> None:
    """Say so as often as the script wants it; ``-1``: always."""
    counted = plan.scratch / f"busy-{what}"
    before = len(counted.read_bytes()) if counted.exists() else 0
    if times < 0 or before < times:
        counted.write_bytes(b"." * (before + 1))
        raise Busy("the echo runner is busy", after=seconds)


def pause(seconds: float, context: StageContext) -> None:
    """Do nothing for a while, as long as it is wanted."""
    stopped = threading.Event()
    with context.on_cancel(stopped.set):
        stopped.wait(seconds)
    context.check()

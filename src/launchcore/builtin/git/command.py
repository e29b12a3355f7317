"""Runs git: bounded in time, output and patience; cancelled with everything that it started."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import attrs

from launchcore.builtin.text import plain
from launchcore.plugin import Fault, LaunchError, Reason, StageContext

_MAX_OUTPUT = 64 << 20
_MAX_ERRORS = 64 << 10
_KILL_AFTER = 2.0
_SAY_EVERY = 10.0
_PROGRESS = re.compile(rb"(Receiving objects|Resolving deltas): +\d+% [^\r\n]*")


@attrs.frozen
class Result:
    """How a git process ended. ``errors`` is the end of what it printed to standard error."""

    code: int
    output: bytes
    errors: str


@attrs.frozen(kw_only=True)
class Watch:
    """Who looks on while git works: the stage, and a clock. ``deadline`` is on the monotonic clock."""

    deadline: float
    context: StageContext | None = None

    def check(self) -> None:
        """:raises LaunchError: cancelled, or too late."""
        if self.context is not None:
            self.context.check()
        if time.monotonic() > self.deadline:
            raise LaunchError(
                "git took too long and was stopped",
                reason=Reason.SOURCE_FAILED,
                fault=Fault.INFRASTRUCTURE,
                hint="try again, or raise plugins.git.timeout_seconds of the agent",
                retryable=True,
            )

    def log(self, text: str) -> None:
        if self.context is not None:
            self.context.log(text)

    def on_cancel(self, stop: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.context is None else self.context.on_cancel(stop)


def run_git(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    watch: Watch,
    cwd: Path | None = None,
    stdin: IO[bytes] | None = None,
    consume: Callable[[bytes], None] | None = None,
    inspect: Callable[[], None] | None = None,
    keep: Sequence[int] = (),
) -> Result:
    """Run git to its end.

    :param consume: is given the output piece by piece, and may raise to stop git.
    :param inspect: is called a few times a second, and may raise to stop git.
    :param keep: descriptors that git holds open as long as it lives (locks).
    :raises LaunchError: cancelled, too late, git is not installed; or what the callbacks raised.
    """
    watch.check()
    try:
        process = subprocess.Popen(
            ["git", *arguments],
            env=dict(env),
            cwd=cwd or "/",
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=tuple(keep),
        )
    except FileNotFoundError as error:
        raise LaunchError(
            "git is not installed on the agent's machine",
            reason=Reason.CONFIG_ERROR,
            fault=Fault.INFRASTRUCTURE,
            hint="install git 2.31 or later",
        ) from error
    running = _Running(process, watch, consume, inspect)
    with process, watch.on_cancel(running.terminate):
        return running.follow()


class _Running:
    """One git process with its whole process group."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        watch: Watch,
        consume: Callable[[bytes], None] | None,
        inspect: Callable[[], None] | None,
    ) -> None:
        self._process = process
        self._watch = watch
        self._consume = consume
        self._inspect = inspect
        self._output = bytearray()
        self._errors = bytearray()
        self._said = time.monotonic()
        self._reaped = False
        self._lock = threading.Lock()

    def terminate(self) -> None:
        """Ask the whole group to stop; git removes its temporary files then. Any thread, any time."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        with self._lock, contextlib.suppress(ProcessLookupError):
            if not self._reaped:  # until then, the process keeps its number
                os.killpg(self._process.pid, number)

    def follow(self) -> Result:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ, self._take_output)
            selector.register(self._process.stderr, selectors.EVENT_READ, self._take_errors)
            try:
                while selector.get_map():
                    self._read(selector)
                    self._watch.check()
                    if self._inspect is not None:
                        self._inspect()
                code = self._reap()
                self._watch.check()  # a git that was cancelled has failed for that reason, and no other
            except BaseException:
                self._stop(selector)
                raise
        return Result(code, bytes(self._output), self._errors.decode("utf-8", "replace"))

    def _read(self, selector: selectors.BaseSelector, take: bool = True) -> None:
        for key, _ in selector.select(0.1):
            data = os.read(key.fd, 1 << 16)
            if not data:
                selector.unregister(key.fileobj)
            elif take:
                key.data(data)

    def _reap(self) -> int:
        """Wait for the end, in short steps: :meth:`terminate` may need the lock meanwhile."""
        pause = 0.0005
        while True:
            with self._lock:
                code = self._process.poll()
                self._reaped = code is not None
            if code is not None:
                return code
            self._watch.check()
            time.sleep(pause)
            pause = min(2 * pause, 0.1)

    def _stop(self, selector: selectors.BaseSelector) -> None:
        """Make sure that nothing of the group is left: politely, and after a while by force."""
        self.terminate()
        force_at = time.monotonic() + _KILL_AFTER
        while selector.get_map() and time.monotonic() < force_at:
            self._read(selector, take=False)
        self._signal(signal.SIGKILL)
        with self._lock:
            self._process.wait()
            self._reaped = True

    def _take_output(self, data: bytes) -> None:
        if self._consume is not None:
            self._consume(data)
            return
        self._output += data
        if len(self._output) > _MAX_OUTPUT:
            raise LaunchError("git printed far too much", reason=Reason.SOURCE_FAILED)

    def _take_errors(self, data: bytes) -> None:
        self._errors += data
        del self._errors[:-_MAX_ERRORS]
        if time.monotonic() - self._said > _SAY_EVERY and (progress := _PROGRESS.search(data)) is not None:
            self._said = time.monotonic()
            self._watch.log(f"git: {plain(progress[0].strip())}")

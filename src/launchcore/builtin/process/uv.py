"""Run uv: without the agent's secrets, with its output in the run's log, and stopped when the run is."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from launchcore.builtin.process.settings import ProcessSettings
from launchcore.builtin.process.variables import inherited
from launchcore.plugin import Fault, Given, LaunchError, Reason, Secret, StageContext

_NOT_PASSED = frozenset(
    {
        "UV_PROJECT",
        "UV_PROJECT_ENVIRONMENT",
        "UV_PYTHON",
        "UV_SYSTEM_PYTHON",
        "UV_WORKING_DIRECTORY",
        "UV_ENV_FILE",
        "UV_TARGET",
    }
)
"""Variables of uv that say where things go: that is ours to say."""

_AWAY = re.compile(
    r"failed to fetch|error sending request|dns error|connection (refused|reset)|timed out|"
    r"temporary failure|network is unreachable|5\d\d (internal|bad gateway|service unavailable)",
    re.IGNORECASE,
)


class Uv:
    """``given``: variables for uv that plugins contribute (a private index, say); never the run's own."""

    def __init__(self, settings: ProcessSettings, environ: Mapping[str, str], given: Given) -> None:
        self._settings = settings
        env = inherited(environ)
        env |= {name: value for name, value in environ.items() if name.startswith("UV_")}
        for variable in given.env:
            if variable.name.startswith("UV_"):
                value = variable.value
                env[variable.name] = value.reveal() if isinstance(value, Secret) else value
        env |= settings.uv_env
        self._env = {name: value for name, value in env.items() if name not in _NOT_PASSED}
        self._env |= {"UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
        self._env["UV_PYTHON_DOWNLOADS"] = "automatic" if settings.python_downloads else "never"

    def program(self) -> str:
        """:raises LaunchError: ``config_error``: there is no uv."""
        if self._settings.uv is not None:
            return str(self._settings.uv)
        with contextlib.suppress(ImportError, FileNotFoundError):
            import uv

            return str(uv.find_uv_bin())
        found = shutil.which("uv")
        if found is None:
            raise LaunchError(
                "uv, which installs the source's dependencies, is not there",
                reason=Reason.CONFIG_ERROR,
                hint="`pip install uv` beside launchcore, or set plugins.process.uv",
            )
        return found

    def run(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        context: StageContext | None,
        extra: Mapping[str, str] | None = None,
        hold: int | None = None,
    ) -> str:
        """Run uv to its end; what it printed.

        :param hold: a descriptor that it inherits, so that a lock lasts as long as it does.
        :raises LaunchError: ``build_failed``, with uv's last words; :class:`Cancelled`.
        """
        return run(
            [self.program(), *arguments],
            cwd=cwd,
            env={**self._env, **(extra or {})},
            context=context,
            seconds=self._settings.install_seconds,
            hold=hold,
        )


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    context: StageContext | None,
    seconds: float,
    hold: int | None = None,
) -> str:
    """Run a program of an installation to its end, in its own process group."""
    try:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=() if hold is None else (hold,),
        )
    except OSError as error:
        raise LaunchError(
            f"cannot execute {argv[0]}: {error.strerror}", reason=Reason.CONFIG_ERROR, hint="check its path"
        ) from None

    def kill() -> None:
        with contextlib.suppress(ProcessLookupError):
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)

    with contextlib.ExitStack() as stack:
        stack.callback(process.wait)
        stack.callback(kill)
        if context is not None:
            stack.enter_context(context.on_cancel(kill))
        text = _follow(process, context, seconds)
        code = process.wait()
    if context is not None:
        context.check()
    if code != 0:
        raise failed(text, code)
    return text


def _follow(process: subprocess.Popen[bytes], context: StageContext | None, seconds: float) -> str:
    assert process.stdout is not None
    until = time.monotonic() + seconds
    kept: list[str] = []
    rest = b""
    with process.stdout as out:
        while True:
            if time.monotonic() > until:
                raise LaunchError(
                    f"installing the source's dependencies took longer than {seconds:g} seconds",
                    reason=Reason.BUILD_FAILED,
                    hint="plugins.process.install_seconds sets the limit",
                )
            if context is not None:
                context.check()
            if not select.select([out], [], [], 0.5)[0]:
                continue
            data = os.read(out.fileno(), 65536)
            *lines, rest = (rest + data).split(b"\n")
            for line in [*lines, *([rest] if rest and not data else [])]:
                text = line.decode("utf-8", "replace").rstrip()
                kept = [*kept[-200:], text]
                if context is not None and text:
                    context.log(text)
            if not data:
                return "\n".join(kept)


def failed(text: str, code: int) -> LaunchError:
    """An error with what uv said last, on one line."""
    lines = [re.sub(r"^[\s\u00d7\u2500-\u25ff]+", "", line).strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("Using ", "Creating ", "Resolved "))]
    marked = [
        index for index, line in enumerate(lines) if line.startswith(("error:", "No solution", "Failed"))
    ]
    words = " ".join(lines[marked[0] :] if marked else lines[-3:])
    away = bool(_AWAY.search(words))
    return LaunchError(
        f"the source's dependencies cannot be installed: {words[:500] or f'uv ended with {code}'}",
        reason=Reason.BUILD_FAILED,
        fault=Fault.INFRASTRUCTURE if away else Fault.USER,
        hint="is the package index reachable from the agent's machine?"
        if away
        else "correct the source's requirements; `launch logs` has uv's output",
        retryable=away,
    )

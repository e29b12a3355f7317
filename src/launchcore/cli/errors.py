"""Every error as one line on stderr, and its exit code. No traceback for a mistake of the user's."""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from launchcore.cli.exits import Exit
from launchcore.cli.lazy import OutputClosed, UnknownCommand
from launchcore.cli.terminal import visible

if TYPE_CHECKING:
    from launchcore.plugin import LaunchError, Stage

# The vendored or the installed click's base of all usage errors, whichever this typer has.
_Usage = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


class CommandError(Exception):
    """A command cannot do what was asked: one line, what to do, and the exit code."""

    def __init__(self, detail: str, *, hint: str | None = None, code: Exit = Exit.USAGE) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.code = code


class StageError(Exception):
    """A :class:`LaunchError`, and the stage that it happened in."""

    def __init__(self, stage: Stage, error: LaunchError) -> None:
        super().__init__(str(error))
        self.stage = stage
        self.error = error


@contextlib.contextmanager
def during(stage: Stage) -> Iterator[None]:
    """Say of every launch error in the block that it happened in ``stage``."""
    from launchcore.plugin import LaunchError

    try:
        yield
    except LaunchError as error:
        raise StageError(stage, error) from error


@contextlib.contextmanager
def usage(hint: str | None = None) -> Iterator[None]:
    """A ``ValueError`` in the block is a mistake in what the user wrote."""
    try:
        yield
    except ValueError as error:
        raise CommandError(str(error), hint=hint) from error


def near(name: str, names: Sequence[str]) -> str | None:
    """``did you mean 'default'?``, if anything is near."""
    matches = difflib.get_close_matches(name, names, n=2)
    return f"did you mean {' or '.join(repr(match) for match in matches)}?" if matches else None


def report(error: BaseException) -> int:
    """Print ``error`` as one line (problems of a configuration: one line each); return the exit code."""
    lines, code = describe(error)
    with contextlib.suppress(OSError, ValueError):
        for line in lines:
            print(line, file=sys.stderr)
        sys.stderr.flush()
    if code is Exit.CLOSED:
        # Nobody reads: keep the interpreter from complaining about it once more when it ends.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(code)


def describe(error: BaseException) -> tuple[list[str], Exit]:
    """The lines and the exit code for an error."""
    if isinstance(error, _Usage):
        return _usage_lines(error), Exit.USAGE
    if isinstance(error, UnknownCommand):
        hint = near(error.name, error.names) or "launch --help lists the commands"
        return _lines(f"there is no command {error.name!r}", hint=hint), Exit.USAGE
    if isinstance(error, CommandError):
        return _lines(error.detail, hint=error.hint), error.code
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return ["interrupted"], Exit.INTERRUPTED
    if isinstance(error, BrokenPipeError | OutputClosed):
        return [], Exit.CLOSED
    return _launch_lines(error)


def _usage_lines(error: BaseException) -> list[str]:
    message = " ".join(error.format_message().split())  # type: ignore[attr-defined]
    ctx = getattr(error, "ctx", None)
    hint = f"see {ctx.command_path} --help" if ctx is not None else None
    return _lines(message.rstrip("."), hint=hint)


def _launch_lines(error: BaseException) -> tuple[list[str], Exit]:
    from launchcore.plugin import AgentNameTaken, LaunchError, QueueUnavailable

    if isinstance(error, StageError):
        return _failure_lines(error.error, error.stage)
    if isinstance(error, LaunchError):
        return _failure_lines(error, None)
    if isinstance(error, QueueUnavailable):
        lines = _lines(
            f"the queue is not available: {error} (infrastructure, fault infrastructure)",
            hint="try again; `launch doctor` looks for the cause",
        )
        return lines, Exit.UNAVAILABLE
    if isinstance(error, AgentNameTaken):
        return _lines(str(error), hint="stop that agent, or give this one another --name"), Exit.USAGE
    return _unexpected(error), Exit.INTERNAL


def _failure_lines(error: LaunchError, stage: Stage | None) -> tuple[list[str], Exit]:
    from launchcore.plugin import Fault
    from launchcore.queues.base import NotFound

    where = f", stage {stage.value}" if stage is not None else ""
    about = f"({error.reason.value}{where}, fault {error.fault.value})"
    problems = getattr(error, "problems", ())
    lines = _lines(f"{error.detail} {about}", hint=error.hint)
    if len(problems) > 1:
        plural = f"{len(problems)} problems {about}"
        lines = _lines(plural, hint=error.hint)
        lines += [visible(f"  {p.path}: {p.message}" + (f"; {p.hint}" if p.hint else "")) for p in problems]
    if isinstance(error, NotFound):
        return lines, Exit.NOT_FOUND
    codes = {Fault.USER: Exit.USAGE, Fault.INFRASTRUCTURE: Exit.UNAVAILABLE}
    return lines, codes.get(error.fault, Exit.INTERNAL)


def _lines(detail: str, *, hint: str | None = None) -> list[str]:
    text = f"error: {detail}; hint: {hint}" if hint else f"error: {detail}"
    return [visible(text)]


def _unexpected(error: BaseException) -> list[str]:
    what = f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:300]} (fault core)"
    text = "".join(traceback.format_exception(error))
    if os.environ.get("LAUNCHCORE_DEBUG") == "1":
        return [*text.rstrip().splitlines(), *_lines(what)]
    where = _write_crash(text)
    return _lines(what, hint=f"please report it with {where}; LAUNCHCORE_DEBUG=1 shows the traceback here")


def _write_crash(text: str) -> str:
    """Keep a traceback in a private file, and return the file's path."""
    import platformdirs

    name = f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    for directory in (platformdirs.user_state_path("launchcore") / "crashes", None):
        try:
            if directory is None:
                directory = Path(tempfile.mkdtemp(prefix="launchcore-"))  # noqa: PLW2901
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = directory / name
            path.touch(mode=0o600)
            path.write_text(text, encoding="utf-8", errors="replace")
        except OSError:
            continue
        return str(path)
    return "LAUNCHCORE_DEBUG=1 (its traceback could not be written anywhere)"

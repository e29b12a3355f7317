"""From a keeper's records to a status, and from a refused execution to an error. Pure."""

from __future__ import annotations

import difflib
import errno
import signal as signals
from collections.abc import Collection, Mapping
from typing import Any

import attrs

from launchcore.plugin import Failure, Fault, LaunchError, Phase, Reason, RunStatus, Stage

SEE_LOG = "`launch logs` shows what it printed"


def status_of(found: Mapping[str, Any] | None) -> RunStatus:
    """What a keeper says of an attempt (``started`` and ``exit``); ``None``: it knows no such attempt."""
    if found is None:
        return RunStatus(phase=Phase.GONE, message="there is no record of it on this machine (any more)")
    started, ended = found["started"], found.get("exit")
    began = started["started_at"]
    if ended is None:
        return RunStatus(phase=Phase.RUNNING, started_at=began)
    failure = _failure(started, ended)
    left = ended.get("leftovers", 0)
    return RunStatus(
        phase=Phase.SUCCEEDED if failure is None else Phase.FAILED,
        exit_code=ended["exit_code"],
        signal=ended["signal"],
        failure=failure,
        message=f"{left} of its processes hang in the kernel and could not be killed" if left else None,
        started_at=began,
        finished_at=ended["finished_at"],
        usage=ended["usage"],
    )


def _failure(started: Mapping[str, Any], ended: Mapping[str, Any]) -> Failure | None:
    code, number, stopped = ended["exit_code"], ended["signal"], ended["stopped"]
    if stopped == "timeout":
        return _user(
            Reason.RUN_TIMEOUT,
            f"stopped after its time limit of {started['run_seconds']:g} seconds",
            "submit it with a longer --timeout, within the queue's limit",
        )
    if ended["oom"] == "limit" or stopped == "memory":
        limit = started["memory_bytes"]
        amount = f" of {_bytes(limit)}" if limit else ""
        return _user(
            Reason.OUT_OF_MEMORY,
            f"used more than its memory limit{amount}",
            "submit it with a larger --memory, or use less (smaller batches, fewer workers)",
        )
    if stopped in ("cancelled", "cleanup"):
        return _user(Reason.CANCELLED, "cancelled", None)
    if ended["lost"]:
        return Failure(
            reason=Reason.LOST,
            fault=Fault.INFRASTRUCTURE,
            stage=Stage.EXECUTE,
            detail=str(ended["lost"]),
            hint="`launch retry` runs it again, if it may run twice",
        )
    if ended["oom"] == "machine":
        return _user(
            Reason.OUT_OF_MEMORY,
            "the machine had no memory left, and the kernel killed it",
            "use less memory, run fewer at the same time, or use a larger machine",
        )
    if number is not None:
        return _signalled(number)
    return _exited(code) if code else None


def _signalled(number: int) -> Failure:
    try:
        name = signals.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number in (signals.SIGKILL, signals.SIGTERM, signals.SIGHUP, signals.SIGINT, signals.SIGQUIT):
        # Not by the kernel's memory killer, and not by us: both are known.
        detail = f"ended by {name}, sent by itself or by somebody on the machine (not for lack of memory)"
    else:
        detail = f"crashed with {name}"
    return _user(Reason.USER_ERROR, detail, SEE_LOG)


def _exited(code: int) -> Failure:
    hint = {
        126: f"126 is a shell's way to say: found, but not executable; {SEE_LOG}",
        127: f"127 is a shell's way to say: command not found; {SEE_LOG}",
    }.get(code, SEE_LOG)
    if 128 < code < 128 + 65:
        hint = f"a shell says {code} when its command was ended by signal {code - 128}; {SEE_LOG}"
    return _user(Reason.USER_ERROR, f"exit code {code}", hint)


def _user(reason: Reason, detail: str, hint: str | None) -> Failure:
    return Failure(reason=reason, fault=Fault.USER, stage=Stage.EXECUTE, detail=detail, hint=hint)


def _bytes(amount: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:g} {unit}" if amount == int(amount) else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:g} TiB"


@attrs.frozen(kw_only=True)
class Command:
    """What was found out about a command that could not be executed.

    ``files``: the top of the source tree; ``programs``: what could have been meant instead.
    ``first_line``: of the file that was found, when it is a script.
    """

    name: str
    number: int
    step: str = "execute"
    found: bool = False
    executable: bool = False
    directory: bool = False
    first_line: str | None = None
    files: Collection[str] = ()
    programs: Collection[str] = ()


def not_executed(command: Command) -> LaunchError:
    """Why, whose fault, and what to do."""
    name = command.name
    if command.step == "enter":
        return LaunchError(
            f"the directory of the source cannot be entered: {name}", reason=Reason.INFRASTRUCTURE
        )
    if command.number == errno.E2BIG:
        return _mistake(
            f"the arguments and variables of {name} are too long together",
            "put large values into a file of the source",
        )
    if command.directory:
        return _mistake(f"not a command: {name} is a directory", _interpret(name, command))
    if command.found and not command.executable:
        return _mistake(f"not executable: {name}", f"{_interpret(name, command)}, or `chmod +x` it")
    if command.found and command.number == errno.ENOENT:
        line = command.first_line or ""
        what = f"its first line asks for an interpreter that is not there: {line}" if line else "not complete"
        hint = "correct its first line (it may end with a Windows line end)"
        return _mistake(f"cannot execute {name}: {what}", f"{hint}, or {_interpret(name, command)}")
    if command.number == errno.ENOEXEC:
        return _mistake(
            f"cannot execute {name}: not a program for this machine, and no script with a first line #!…",
            _interpret(name, command),
        )
    if command.number in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
        return _mistake(f"command not found: {name}", _instead(command))
    return _mistake(f"cannot execute {name}: {errno.errorcode.get(command.number, command.number)}", None)


def _mistake(detail: str, hint: str | None) -> LaunchError:
    return LaunchError(detail, reason=Reason.USER_ERROR, hint=hint)


def _interpret(name: str, command: Command) -> str:
    file = name.removeprefix("./")
    if name.endswith(".py"):
        return f"run it as `python {file}`"
    if name.endswith(".sh") or command.first_line:
        return f"run it as `sh {file}`"
    return "give the command as a program and its arguments"


def _instead(command: Command) -> str | None:
    """The nearest thing that is there."""
    name = command.name
    if len(name.split()) > 1:
        return f"program and arguments are separate words: -- {name}"
    if name in command.files:
        return f"{name} is a file of the source: {_interpret(name, command)}, or call it ./{name}"
    leaf = name.removeprefix("./")
    near = difflib.get_close_matches(leaf, command.files, n=1, cutoff=0.7)
    if near:
        return f"the source has {near[0]}: did you mean that?"
    near = difflib.get_close_matches(leaf, command.programs, n=1, cutoff=0.75)
    if near:
        return f"did you mean {near[0]}?"
    if leaf.endswith((".py", ".sh")):
        return "paths are relative to the top of the source"
    return "install it on the agent's machine, or name it among the source's dependencies"

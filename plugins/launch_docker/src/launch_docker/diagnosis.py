"""What the engine says about a container → :class:`RunStatus`. Pure: no client, no clock."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any, Final

import attrs

from launch_docker.errors import one_line, start_failed
from launch_docker.frames import seconds
from launchcore.plugin import Failure, Fault, LaunchError, Phase, Reason, RunStatus, Stage

RUN_SECONDS_LABEL: Final = "launchcore.docker.run-seconds"
"""How long the run may run: the engine has no deadline of its own, so every agent that sees it keeps it."""
STOPPING: Final = frozenset({signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})
NEVER: Final = "0001-01-01T00:00:00Z"


@attrs.frozen(kw_only=True)
class Circumstances:
    """What is known beside the container's own state.

    ``outside``: the signal that somebody else sent to stop it: a person, or the engine as it went down.
    ``oom``: the engine told of an out-of-memory kill in it. ``booted_at``: when the engine's machine was
    started, UNIX seconds, if that is known.
    """

    outside: int | None = None
    oom: bool = False
    booted_at: float | None = None


def moment(at: object) -> float | None:
    """UNIX seconds of a time of the engine's; its zero is "never"."""
    if not isinstance(at, str) or not at or at.startswith(NEVER[:10]):
        return None
    try:
        return seconds(at)
    except ValueError:
        return None


def diagnose(container: Mapping[str, Any], around: Circumstances = Circumstances()) -> RunStatus:
    """The status of a container from its ``inspect``."""
    state: Mapping[str, Any] = container.get("State") or {}
    status = str(state.get("Status") or "")
    started, finished = moment(state.get("StartedAt")), moment(state.get("FinishedAt"))
    if status in ("running", "paused", "restarting", "stopping"):
        return RunStatus(phase=Phase.RUNNING, started_at=started, message=message_of(state))
    if status in ("created", "initialized", "configured"):
        if state.get("Error"):
            return _never_started(container, str(state["Error"]))
        return RunStatus(phase=Phase.PENDING)
    if status == "removing":
        return RunStatus(phase=Phase.UNKNOWN, message="the container is being removed")
    if status not in ("exited", "dead", "stopped"):
        return RunStatus(phase=Phase.UNKNOWN, message=f"the engine calls it {one_line(status, 40)!r}")
    code = int(state.get("ExitCode") or 0)
    ended = RunStatus(phase=Phase.FAILED, started_at=started, finished_at=finished, **_code(code))
    oom = around.oom or bool(state.get("OOMKilled"))
    failure = _failure(container, state, code, oom, around)
    if failure is not None:
        return attrs.evolve(ended, failure=failure)
    message = "a process in it was killed for want of memory" if oom else None
    return attrs.evolve(ended, phase=Phase.SUCCEEDED, message=message)


def message_of(state: Mapping[str, Any]) -> str | None:
    """What people should know about a container that runs."""
    if state.get("Paused") or state.get("Status") == "paused":
        return "the container is paused"
    health = state.get("Health") or {}
    if health.get("Status") == "unhealthy":
        lines = [str(each.get("Output") or "") for each in health.get("Log") or []]
        said = one_line(lines[-1], 120) if lines else ""
        return f"the container is unhealthy{': ' if said else ''}{said}"
    return None


def gone(around: Circumstances) -> RunStatus:
    """The engine answers, and has no such container."""
    by = " from outside" if around.outside else ""
    return RunStatus(phase=Phase.GONE, message=f"the container was removed{by} before its result was read")


def _code(code: int) -> dict[str, Any]:
    """128 + n is how the engine, an init and a shell report a process that signal n has ended."""
    if code > 128 and code - 128 in set(signal.Signals):
        return {"signal": code - 128}
    return {"exit_code": code}


def _failure(
    container: Mapping[str, Any], state: Mapping[str, Any], code: int, oom: bool, around: Circumstances
) -> Failure | None:
    started, finished = moment(state.get("StartedAt")), moment(state.get("FinishedAt"))
    if around.outside is not None:
        name = signal.Signals(around.outside).name
        return _infrastructure(
            f"the container was stopped from outside ({name}); it ended with {_ending(code)}",
            "somebody stopped it, or the engine went down: `live-restore` lets containers outlive it",
        )
    if around.booted_at is not None and started is not None and started < around.booted_at - 1 and code:
        return _infrastructure("the machine was restarted while it ran", "`launch retry` runs it again")
    if code == 0 and not state.get("Error"):
        return None
    if oom:
        limit = int((container.get("HostConfig") or {}).get("Memory") or 0)
        of = f" of {limit >> 20} MiB" if limit else ""
        return Failure(
            reason=Reason.OUT_OF_MEMORY,
            fault=Fault.USER,
            stage=Stage.EXECUTE,
            detail=f"it needed more memory than its limit{of}" if limit else "the machine ran out of memory",
            hint="use less memory, or raise the limit" if limit else "give the queue a `memory` limit",
        )
    deadline, took = _deadline(container), (finished or 0.0) - (started or 0.0)
    if deadline is not None and took >= deadline and code in (137, 143):
        return Failure(
            reason=Reason.RUN_TIMEOUT,
            fault=Fault.USER,
            stage=Stage.EXECUTE,
            detail=f"it ran for longer than {deadline:g} s",
            hint="give the run a longer --timeout, within the queue's limit",
        )
    error = str(state.get("Error") or "")
    if error and code == 0:
        return _infrastructure(f"the engine reports: {one_line(error)}", None)
    detail, hint = _explain(code)
    return Failure(reason=Reason.USER_ERROR, fault=Fault.USER, stage=Stage.EXECUTE, detail=detail, hint=hint)


def _never_started(container: Mapping[str, Any], error: str) -> RunStatus:
    command = " ".join([str(container.get("Path") or ""), *map(str, container.get("Args") or [])])
    said: LaunchError = start_failed(error, command=command.strip() or "?")
    failure = Failure(
        reason=said.reason, fault=said.fault, stage=Stage.EXECUTE, detail=said.detail, hint=said.hint
    )
    return RunStatus(phase=Phase.FAILED, failure=failure)


def _deadline(container: Mapping[str, Any]) -> float | None:
    labels = (container.get("Config") or {}).get("Labels") or {}
    return run_seconds(labels)


def run_seconds(labels: Mapping[str, str]) -> float | None:
    """The deadline that a container carries."""
    try:
        return float(labels[RUN_SECONDS_LABEL])
    except (KeyError, ValueError):
        return None


def _ending(code: int) -> str:
    number = _code(code).get("signal")
    return f"signal {number} ({signal.Signals(number).name})" if number else f"exit code {code}"


def _explain(code: int) -> tuple[str, str]:
    printed = "`launch logs` shows what it printed"
    if code == 127:
        return "exit code 127: a command was not found", "is it in the image, and on its PATH?"
    if code == 126:
        return "exit code 126: a command could not be executed", "is it executable, and for this platform?"
    if _code(code).get("signal"):
        number = int(_code(code)["signal"])
        more = {
            signal.SIGKILL: "; out of memory on the machine, perhaps",
            signal.SIGSEGV: "; a crash in native code",
            signal.SIGBUS: "; /dev/shm may be too small: the queue's `shm_size`",
        }.get(signal.Signals(number), "")
        return f"killed by {_ending(code)}", f"{printed}{more}"
    return f"exit code {code}", printed


def _infrastructure(detail: str, hint: str | None) -> Failure:
    return Failure(
        reason=Reason.INFRASTRUCTURE,
        fault=Fault.INFRASTRUCTURE,
        stage=Stage.EXECUTE,
        detail=detail,
        hint=hint,
    )

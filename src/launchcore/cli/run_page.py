"""The page of one run: what it is, how it stands, its attempts, why it failed. Pure; ``now`` is given."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from launchcore.cli.tables import STATE_STYLES, Column, facts, state_cell, table
from launchcore.cli.terminal import visible
from launchcore.cli.times import age, duration, moment, size
from launchcore.cli.views import command_line, source_line, took
from launchcore.plugin import Failure, Limits
from launchcore.queues.base import RunInfo


def run_facts(run: RunInfo, now: float) -> RenderableType:
    """The upper part of ``launch show``: what the run is, and how it stands."""
    spec = run.spec
    state = Text(run.state.value, style=STATE_STYLES[run.state])
    state.append(visible(_state_detail(run, now)), style="default not bold")
    pairs: list[tuple[str, str | Text]] = [("run", f"{run.id}  {spec.name or ''}".rstrip()), ("state", state)]
    if spec.job:
        pairs.append(("job", spec.job))
    by = f" by {run.submitter}" if run.submitter else ""
    pairs += [
        ("queue", f"{run.queue}, priority {run.priority.name.lower()}"),
        ("submitted", f"{moment(run.submitted_at)} ({age(run.submitted_at, now)}){by}"),
        ("source", source_line(run.pinned or spec.source)),
    ]
    if spec.command:
        pairs.append(("command", command_line(spec.command)))
    if run.image:
        pairs.append(("image", run.image))
    for name, values in (("variables", spec.variables), ("inputs", spec.inputs), ("env", spec.env)):
        if values:
            pairs.append((name, " ".join(f"{key}={value}" for key, value in values.items())))
    if spec.secrets:
        pairs.append(("secrets", ", ".join(spec.secrets)))
    billed = sum(attempt.usage.get("billed_seconds", 0.0) for attempt in run.attempts)
    if billed:
        exact = f" ({billed:.0f} s)" if billed >= 60 else ""
        pairs.append(("billed", duration(billed) + exact))
    limits = limits_line(spec.limits)
    if limits:
        pairs.append(("limits", limits))
    if run.retry_of:
        pairs.append(("retry of", run.retry_of))
    if run.array:
        pairs.append(("array", f"{run.array.id}, member {run.array.index} of {run.array.size}"))
    again = again_line(run)
    if again:
        pairs.append(("again", again))
    return facts(pairs)


def _state_detail(run: RunInfo, now: float) -> str:
    if run.position is not None:
        waits = f", {run.position} before it" if run.position else ", next in its queue"
        return waits + (f", not before {moment(run.retry_at)}" if run.retry_at else "")
    parts = []
    if run.cancel_requested_at is not None and not run.state.final:
        parts.append("cancel requested")
    if run.started_at is not None:
        parts.append(("took " if run.state.final else "for ") + took(run, now))
    if run.exit_code is not None:
        parts.append(f"exit code {run.exit_code}")
    if run.signal is not None:
        parts.append(f"signal {run.signal}")
    return "".join(f", {part}" for part in parts)


def attempts_view(run: RunInfo, now: float) -> RenderableType:
    """The table of attempts in ``launch show``."""
    columns = (
        Column("ATTEMPT"),
        Column("STATE"),
        Column("AGENT", flexible=True),
        Column("TOOK", right=True),
        Column("LOG", right=True),
        Column("MEMORY", right=True),
        Column("END", flexible=True),
    )
    rows = []
    for attempt in run.attempts:
        end = "" if attempt.failure is None else attempt.failure.reason.value
        if attempt.exit_code is not None:
            end = f"{end} exit code {attempt.exit_code}".strip()
        elif attempt.signal is not None:
            end = f"{end} signal {attempt.signal}".strip()
        memory = attempt.usage.get("max_memory_bytes")
        rows.append(
            (
                str(attempt.number),
                state_cell(attempt.state),
                attempt.agent,
                duration((attempt.ended_at or now) - attempt.claimed_at),
                size(attempt.log_bytes),
                "-" if memory is None else size(memory),
                end,
            )
        )
    return table(columns, rows)


def failure_view(failure: Failure) -> RenderableType:
    """Why it failed, whose fault it is, and what to do."""
    where = f"{failure.stage.value} ({failure.plugin})" if failure.plugin else failure.stage.value
    pairs: list[tuple[str, str | Text]] = [
        ("reason", Text(failure.reason.value, style="bold red")),
        ("fault", failure.fault.value),
        ("stage", where),
        ("detail", failure.detail),
    ]
    if failure.hint:
        pairs.append(("what to do", failure.hint))
    return facts(pairs)


def again_line(run: RunInfo) -> str:
    """How often it was tried again, and may be, in one line; empty when there is nothing to say."""
    parts = []
    policy = run.spec.retry
    if run.retries or policy:
        most = f" of at most {policy.max_retries}" if policy else ""
        parts.append(f"retried {run.retries}{most} times")
    if run.preempted:
        parts.append(f"resumed {run.preempted} times")
    if run.quarantined:
        parts.append("quarantined")
    return ", ".join(parts)


def limits_line(limits: Limits) -> str:
    """The bounds of a run in one line; empty when there are none."""
    parts = []
    if limits.run_seconds is not None:
        parts.append(f"time {duration(limits.run_seconds)}")
    if limits.start_seconds is not None:
        parts.append(f"start {duration(limits.start_seconds)}")
    if limits.queue_seconds is not None:
        parts.append(f"wait {duration(limits.queue_seconds)}")
    if limits.memory_bytes is not None:
        parts.append(f"memory {size(limits.memory_bytes)}")
    return ", ".join(parts)

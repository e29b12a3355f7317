"""What listings and pages look like: values of the queue in, renderables out. Pure; ``now`` is given."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from launchcore.cli.tables import Column, cell, facts, state_cell, table
from launchcore.cli.terminal import visible
from launchcore.cli.times import age, duration, moment
from launchcore.plugin import SourceRef
from launchcore.queues.base import AgentRow, Job, QueueInfo, RunInfo


def runs_view(runs: Sequence[RunInfo], now: float) -> RenderableType:
    """The table of ``launch runs``."""
    columns = (
        Column("RUN"),
        Column("NAME", flexible=True),
        Column("QUEUE", flexible=True),
        Column("STATE"),
        Column("SUBMITTED", right=True),
        Column("TOOK", right=True),
        Column("WHY", flexible=True),
    )
    rows = [
        (
            run.id,
            run.spec.name or run.spec.job or "-",
            run.queue,
            state_cell(run.state),
            age(run.submitted_at, now),
            took(run, now),
            why(run),
        )
        for run in runs
    ]
    return table(columns, rows)


def took(run: RunInfo, now: float) -> str:
    """From its first start to its end, or until now."""
    if run.started_at is None:
        return "-"
    return duration((run.ended_at if run.ended_at is not None else now) - run.started_at)


def why(run: RunInfo) -> str:
    """One word or two about a state that needs them."""
    if run.failure is not None:
        return f"{run.failure.reason.value}: {run.failure.detail}"
    if run.cancel_requested_at is not None and not run.state.final:
        return "cancel requested"
    if run.position is not None:
        return f"{run.position} before it"
    return ""


def queues_view(queues: Sequence[QueueInfo]) -> RenderableType:
    """The table of ``launch queue list``."""
    columns = (
        Column("QUEUE", flexible=True),
        Column("TYPE"),
        Column("STATE"),
        Column("QUEUED", right=True),
        Column("RUNNING", right=True),
        Column("LIMIT", right=True),
        Column("AGENTS", flexible=True),
    )
    rows = [
        (
            queue.name,
            queue.config.type,
            cell("paused", "yellow") if queue.paused else cell("open", "green"),
            str(queue.queued),
            str(queue.running),
            "-" if queue.config.max_running is None else str(queue.config.max_running),
            ", ".join(queue.agents) or cell("none", "yellow"),
        )
        for queue in queues
    ]
    return table(columns, rows)


def queue_view(queue: QueueInfo, config_yaml: str, now: float) -> RenderableType:
    """The page of ``launch queue show``."""
    running = "" if queue.config.max_running is None else f" of {queue.config.max_running}"
    queued = "" if queue.config.max_queued is None else f" of {queue.config.max_queued}"
    pairs: list[tuple[str, str | Text]] = [
        ("queue", queue.name),
        ("state", "paused" if queue.paused else "open"),
        ("runs", f"{queue.queued}{queued} queued, {queue.running}{running} running"),
        ("agents", ", ".join(queue.agents) or "none"),
        ("created", f"{moment(queue.created_at)} ({age(queue.created_at, now)})"),
        ("changed", f"{moment(queue.updated_at)} ({age(queue.updated_at, now)})"),
    ]
    if queue.refused_jobs:
        refused = f"{', '.join(queue.refused_jobs)}: quarantined again and again"
        pairs.append(("refuses", cell(refused, "yellow")))
    head = facts(pairs)
    return Group(head, Text(""), Text("configuration", style="bold"), Text(_lines(config_yaml)))


def jobs_view(jobs: Sequence[Job], now: float) -> RenderableType:
    """The table of ``launch job list``."""
    columns = (
        Column("JOB", flexible=True),
        Column("VERSION", right=True),
        Column("SOURCE", flexible=True),
        Column("INPUTS", flexible=True),
        Column("CREATED", right=True),
    )
    rows = [
        (
            job.name,
            str(job.version),
            source_line(job.definition.source),
            ", ".join(job.definition.inputs) or "-",
            age(job.created_at, now),
        )
        for job in jobs
    ]
    return table(columns, rows)


def job_view(job: Job, versions: Sequence[Job], now: float) -> RenderableType:
    """The page of ``launch job show``."""
    definition = job.definition
    pairs: list[tuple[str, str | Text]] = [("job", job.ref)]
    if definition.description:
        pairs.append(("about", definition.description))
    pairs += [
        ("source", source_line(definition.source)),
        ("command", command_line(definition.command)),
        ("created", f"{moment(job.created_at)} ({age(job.created_at, now)})"),
        ("versions", ", ".join(str(each.version) for each in versions)),
    ]
    pairs += [("env", f"{name}={value}") for name, value in sorted(definition.env.items())]
    for name, schema in definition.inputs.items():
        default = f", default {schema['default']!r}" if "default" in schema else ", required"
        about = f": {schema['description']}" if "description" in schema else ""
        pairs.append(("input", f"{name} ({schema.get('type', 'any')}{default}){about}"))
    return facts(pairs)


def agents_view(agents: Sequence[AgentRow], now: float) -> RenderableType:
    """The table of ``launch agents``."""
    columns = (
        Column("AGENT", flexible=True),
        Column("STATE"),
        Column("HOST", flexible=True),
        Column("PID", right=True),
        Column("QUEUES", flexible=True),
        Column("RUNNING", right=True),
        Column("SEEN", right=True),
        Column("VERSION", flexible=True),
    )
    rows = [
        (
            agent.name,
            cell("alive", "green") if agent.alive else cell("gone", "red"),
            agent.host,
            str(agent.pid),
            ", ".join(agent.queues),
            str(agent.running) if agent.max_jobs < 0 else f"{agent.running} of {agent.max_jobs}",
            age(agent.seen_at, now),
            agent.version,
        )
        for agent in agents
    ]
    return table(columns, rows)


def source_line(source: SourceRef) -> str:
    """A source in one line: ``git https://host/repo @ 4b1d2c9e (main)``."""
    fields = dict(source.fields)
    if source.type == "git":
        commit, ref = fields.get("commit"), fields.get("ref")
        at = f" @ {str(commit)[:12]}" if commit else ""
        of = f" ({ref})" if ref and ref != commit else ""
        extra = "".join(
            f", {name} {fields[name]}" for name in ("subdir",) if fields.get(name) not in (None, "", ".")
        )
        patched = ", with a patch" if fields.get("patch") else ""
        return f"git {fields.get('url', '?')}{at}{of}{extra}{patched}"
    if source.type == "archive":
        return f"archive {str(fields.get('digest', '?'))[:19]}"
    if source.type == "image":
        return f"image {fields.get('image', '?')}"
    return " ".join([source.type, *(f"{name}={value}" for name, value in fields.items())])


def command_line(command: Sequence[str]) -> str:
    """A command as a shell would read it."""
    return shlex.join(command) if command else "-"


def _lines(text: str) -> str:
    return "\n".join(visible(line) for line in text.splitlines())

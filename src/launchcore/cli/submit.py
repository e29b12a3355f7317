"""``launch submit``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from launchcore.cli.array_options import (
    Axes,
    MaxParallel,
    announce_array,
    axes,
    refuse_without_axes,
    watch_array,
)
from launchcore.cli.completers import complete_job, complete_queue
from launchcore.cli.errors import CommandError, during, near, usage
from launchcore.cli.exits import Exit
from launchcore.cli.lazy import trailing
from launchcore.cli.options import BaseUrl
from launchcore.cli.output import emit, emit_json, me, say
from launchcore.cli.service import loaded_config, service
from launchcore.cli.source_options import (
    Directory,
    Dirty,
    Git,
    Image,
    NoPin,
    Patch,
    Ref,
    SourceFlags,
    Subdir,
)

if TYPE_CHECKING:
    from launchcore.config.values import AgentConfig
    from launchcore.plugin import Limits, Priority, RetryPolicy, RunSpec
    from launchcore.queues.base import ArrayInfo, Job, QueueInfo, RunInfo, Service

PRIORITIES = ("critical", "high", "medium", "low")

Env = Annotated[
    list[str] | None,
    typer.Option(
        "--env", "-e", metavar="K[=V]", help="A variable; without =V, with its value here (repeatable)."
    ),
]
EnvFile = Annotated[
    list[Path] | None, typer.Option("--env-file", metavar="FILE", help="Variables, one K=V a line.")
]


def submit(
    ctx: typer.Context,
    *,
    directory: Directory = None,
    queue: Annotated[
        str,
        typer.Option("--queue", "-q", metavar="QUEUE", help="Where to.", autocompletion=complete_queue),
    ] = "default",
    git: Git = None,
    ref: Ref = None,
    subdir: Subdir = None,
    patch: Patch = None,
    dirty: Dirty = False,
    no_pin: NoPin = False,
    image: Image = None,
    job: Annotated[
        str | None,
        typer.Option(
            "--job",
            "-j",
            metavar="NAME[:V]",
            help="A job: its newest version, or version V.",
            autocompletion=complete_job,
        ),
    ] = None,
    env: Env = None,
    env_file: EnvFile = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            "--secret", metavar="NAME", help="A secret by its name; the agent has its value (repeatable)."
        ),
    ] = None,
    var: Annotated[
        list[str] | None,
        typer.Option("--var", metavar="K=V", help="A variable of the queue's template (repeatable)."),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="K=V", help="An input of the job; V is JSON or text (repeatable)."),
    ] = None,
    priority: Annotated[
        str, typer.Option("--priority", "-p", metavar="LEVEL", help="critical, high, medium or low.")
    ] = "medium",
    name: Annotated[
        str | None, typer.Option("--name", "-n", metavar="NAME", help="A name for people.")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="The longest it may run: 90s, 15m, 2h.")
    ] = None,
    queue_timeout: Annotated[
        str | None,
        typer.Option("--queue-timeout", metavar="TIME", help="The longest it may wait for an agent."),
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", metavar="SIZE", help="The most memory: 512M, 2GiB.")
    ] = None,
    retries: Annotated[
        int | None,
        typer.Option("--retries", metavar="N", min=0, help="How often it is tried again when it failed."),
    ] = None,
    retry_on: Annotated[
        list[str] | None,
        typer.Option("--retry-on", metavar="REASON", help="A reason to try it again for (repeatable)."),
    ] = None,
    array: Axes = None,
    max_parallel: MaxParallel = None,
    dockerfile: Annotated[
        str | None, typer.Option("--dockerfile", metavar="PATH", help="For builders: its path in the source.")
    ] = None,
    build_context: Annotated[
        str | None,
        typer.Option(
            "--build-context", metavar="DIR", help="For builders: the directory of the source to build."
        ),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch/--detach", "-w/-d", help="Follow it until its end, or return at once (the default)."
        ),
    ] = False,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", help="The same key again gives the run of the first time."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run as JSON.")] = False,
    base_url: BaseUrl = None,
) -> int:
    """Submit a run to a queue.

    The command to execute stands after --. The run's id goes to stdout, everything else to stderr.
    A directory is packed (without what .gitignore and .launchignore name) and uploaded; a git ref
    is pinned to its commit. With --watch, the exit code says how the run ended, and Ctrl-C
    detaches: the run goes on.

    A command after -- replaces the one of a job. What the queue does not take is refused before
    anything is packed.

    With --array, one submit makes a run for each combination of values: of an input of the job, of a
    variable of the queue, or of env.NAME, arg.NAME (--NAME=VALUE after the command) and input.NAME.
    """
    from launchcore.plugin import Stage

    flags = SourceFlags(
        directory=directory,
        git=git,
        ref=ref,
        subdir=subdir,
        patch=patch,
        dirty=dirty,
        no_pin=no_pin,
        image=image,
    )
    flags.check(job)
    if watch and as_json:
        raise CommandError("--json prints the run as it was accepted", hint="leave --watch out")
    level = _priority(priority)
    if not array:
        refuse_without_axes(max_parallel)
    limits = _limits(timeout, memory, queue_timeout)
    with usage():
        parts: dict[str, Any] = {
            "command": trailing(ctx),
            "name": name,
            "env": variables(env or [], env_file or []),
            "secrets": tuple(dict.fromkeys(secret or [])),
            "variables": _values(var, "--var"),
            "inputs": _values(inputs, "--set"),
            "limits": limits,
            "dockerfile": dockerfile,
            "build_context": build_context,
            "retry": _retry(retries, retry_on or []),
        }
    with during(Stage.SUBMIT):
        config = loaded_config(base_url).config
        with service(base_url) as queues:
            info = require_queue(queues, queue)
            definition = queues.job(job) if job else None
            if not job:
                require_command(flags, parts)
            values = axes(array, info, definition) if array else None
            draft = from_job(definition, parts) if definition else not_packed(flags, parts)
            queues.check(queue, draft, priority=level, submitter=me(), axes=values)
            spec = draft if definition else from_source(flags, queues, config, parts)
            if values is not None:
                made = queues.submit_array(
                    queue, spec, values, max_parallel=max_parallel, priority=level, submitter=me(), key=key
                )
                announce_array(made, as_json=as_json)
                if not watch:
                    return _array_left(queues, made, base_url=base_url)
                return watch_array(queues, made, base_url=base_url)
            run = queues.submit(queue, spec, priority=level, submitter=me(), key=key)
            run = queues.run(run.id)  # with its place in the queue
            announce(run, as_json=as_json)
            if not watch:
                return _left(queues, run, base_url=base_url)
            from launchcore.cli.follow import watch as follow

            return follow(queues, run, base_url=base_url)


def announce(run: RunInfo, *, as_json: bool) -> None:
    """Say that a run was accepted: its id on stdout, where it stands on stderr."""
    if as_json:
        emit_json(run)
        return
    emit(run.id)
    where = ""
    if run.position is not None:
        where = f", {run.position} before it" if run.position else ", next in line"
    say(f"run {run.id} is {run.state.value} in {run.queue}{where}")


def _left(queues: Service, run: RunInfo, *, base_url: str | None) -> Exit:
    from launchcore.cli.follow import launch_command, warn_if_unserved

    if not run.state.final:
        warn_if_unserved(queues, run.queue, base_url=base_url)
        say(f"follow it: {launch_command('logs', run.id, '-f', base_url=base_url)}")
    return Exit.OK


def _array_left(queues: Service, array: ArrayInfo, *, base_url: str | None) -> Exit:
    from launchcore.cli.follow import launch_command, warn_if_unserved

    warn_if_unserved(queues, array.queue, base_url=base_url)
    say(f"look at it: {launch_command('show', array.id, base_url=base_url)}")
    return Exit.OK


def require_queue(queues: Service, name: str) -> QueueInfo:
    """The queue. Refuse a queue that is not there before anything is packed.

    :raises NotFound: with the nearest names, or the command that creates it.
    """
    from launchcore.queues.base import NotFound

    try:
        return queues.queue(name)
    except NotFound:
        names = [queue.name for queue in queues.list_queues()]
        create = f"create it: launch queue create {name} --type process"
        raise NotFound(f"there is no queue {name!r}", hint=near(name, names) or create) from None


def from_source(flags: SourceFlags, queues: Service, config: AgentConfig, parts: dict[str, Any]) -> RunSpec:
    """A run of code that the flags name: packed and uploaded, or pinned."""
    from launchcore.cli.source import make_source
    from launchcore.plugin import RunSpec

    return RunSpec(source=make_source(flags, queues, config, say), **parts)


def not_packed(flags: SourceFlags, parts: dict[str, Any]) -> RunSpec:
    """The same run before its source is looked at: all that a queue can say before."""
    from launchcore.plugin import RunSpec, SourceRef

    kind = "git" if flags.git is not None else "archive" if flags.directory is not None else "image"
    return RunSpec(source=SourceRef(type=kind), **parts)


def require_command(flags: SourceFlags, parts: dict[str, Any]) -> None:
    """:raises CommandError: there is no command, and no image that has one."""
    if not parts["command"] and flags.image is None:
        raise CommandError(
            "there is nothing to run: no command",
            hint="write it after --, as in: launch submit . -- python train.py",
        )


def from_job(job: Job, parts: dict[str, Any]) -> RunSpec:
    """A run of a job: what the flags say goes over what the job says. Its inputs are checked by the queue."""
    from launchcore.plugin import RunSpec

    definition = job.definition
    over = {
        **parts,
        "command": parts["command"] or definition.command,
        "env": {**definition.env, **parts["env"]},
        "dockerfile": parts["dockerfile"] or definition.dockerfile,
        "build_context": parts["build_context"] or definition.build_context,
    }
    return RunSpec(source=definition.source, job=job.ref, **over)


def variables(env: list[str], files: list[Path]) -> dict[str, str]:
    """The variables that the flags give; those of flags go over those of files.

    :raises ValueError: a bad name, a file that cannot be read.
    """
    from launchcore.cli.parse import environment, environment_file

    found: dict[str, str] = {}
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            raise ValueError(f"--env-file {file}: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise ValueError(f"--env-file {file}: it is not UTF-8 text") from None
        found.update(environment_file(text, str(file)))
    return {**found, **environment(env, os.environ)}


def _values(pairs: list[str] | None, flag: str) -> dict[str, Any]:
    from launchcore.cli.parse import values

    return values(pairs or [], flag)


def _retry(retries: int | None, reasons: list[str]) -> RetryPolicy | None:
    """The run's own policy, if the flags say anything about it."""
    from launchcore.plugin import Reason, RetryPolicy

    if retries is None and not reasons:
        return None
    if retries is None:
        raise ValueError("--retry-on says when, and --retries has to say how often: add --retries N")
    found = []
    for name in reasons:
        if name not in [reason.value for reason in Reason]:
            hint = near(name, [reason.value for reason in Reason])
            raise ValueError(f"--retry-on {name!r} is not a reason" + (f"; {hint}" if hint else ""))
        found.append(Reason(name))
    return RetryPolicy(max_retries=retries, reasons=tuple(found))


def _limits(timeout: str | None, memory: str | None, queue_timeout: str | None) -> Limits:
    from launchcore.cli.times import parse_duration, parse_size
    from launchcore.plugin import Limits

    with usage():
        return Limits(
            run_seconds=None if timeout is None else parse_duration(timeout),
            memory_bytes=None if memory is None else parse_size(memory),
            queue_seconds=None if queue_timeout is None else parse_duration(queue_timeout),
        )


def _priority(text: str) -> Priority:
    from launchcore.plugin import Priority

    if text.lower() not in PRIORITIES:
        hint = near(text.lower(), PRIORITIES) or f"one of {', '.join(PRIORITIES)}"
        raise CommandError(f"--priority {text!r} is not a priority", hint=hint)
    return Priority[text.upper()]

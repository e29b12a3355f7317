"""``launch queue``: create, list, show, edit, delete, pause, resume."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from launchcore.cli.completers import complete_queue, complete_type
from launchcore.cli.errors import CommandError, usage
from launchcore.cli.lazy import new_app
from launchcore.cli.options import AsJson, BaseUrl
from launchcore.cli.output import emit_json, plain, say
from launchcore.cli.service import service

app = new_app(help="Create, look at and change queues.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The queue's name.", autocompletion=complete_queue)]
Type = Annotated[
    str | None,
    typer.Option(
        "--type",
        "-t",
        metavar="TYPE",
        help="The runner that it targets: process, or one that a plugin brings.",
        autocompletion=complete_type,
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="FILE", help="The whole configuration as YAML (see launch queue show --yaml)."
    ),
]
Config = Annotated[
    str | None,
    typer.Option("--config", "-c", metavar="FILE|JSON", help="The target configuration, for the runner."),
]
Variables = Annotated[
    str | None,
    typer.Option("--variables", metavar="FILE|JSON", help="Template variables: a JSON Schema for each name."),
]
MaxRunning = Annotated[
    int | None,
    typer.Option("--max-running", metavar="N", min=0, help="Runs at a time, over all agents; 0: no limit."),
]
Timeout = Annotated[
    str | None,
    typer.Option("--timeout", metavar="TIME", help="The longest that a run may run: 90s, 15m, 2h."),
]
StartTimeout = Annotated[
    str | None,
    typer.Option("--start-timeout", metavar="TIME", help="The longest from its start to running."),
]
Memory = Annotated[
    str | None, typer.Option("--memory", metavar="SIZE", help="The most memory for a run: 512M, 2GiB.")
]
MaxRetries = Annotated[
    int | None,
    typer.Option("--max-retries", metavar="N", min=0, help="How often a failed run is tried again."),
]
RetryOn = Annotated[
    list[str] | None,
    typer.Option("--retry-on", metavar="REASON", help="A reason to try again for (repeatable)."),
]
MaxLost = Annotated[
    int | None,
    typer.Option("--max-lost", metavar="N", min=1, help="Lost attempts after which a run is given up."),
]
Secrets = Annotated[
    list[str] | None,
    typer.Option("--allow-secret", metavar="NAME", help="A secret that runs may ask for (repeatable)."),
]
OpenEnv = Annotated[
    list[str] | None,
    typer.Option("--open-env", metavar="PATTERN", help="Variables that a run may set (repeatable)."),
]
Builder = Annotated[
    str | None, typer.Option("--builder", metavar="FILE|JSON", help="A builder other than the agent's.")
]
Registry = Annotated[
    str | None, typer.Option("--registry", metavar="FILE|JSON", help="A registry other than the agent's.")
]
Description = Annotated[str | None, typer.Option("--description", metavar="TEXT", help="What it is for.")]
NoCheck = Annotated[
    bool,
    typer.Option("--no-check", help="Take a type that is not installed here, and do not look inside."),
]


def changes(
    *,
    type: str | None,
    config: str | None,
    variables: str | None,
    builder: str | None,
    registry: str | None,
    max_running: int | None,
    description: str | None,
    secrets: list[str] | None,
    open_env: list[str] | None,
    timeout: str | None,
    start_timeout: str | None,
    memory: str | None,
    max_retries: int | None,
    retry_on: list[str] | None,
    max_lost: int | None,
) -> dict[str, Any]:
    """What the flags say about a queue's configuration, and nothing else, as plain data."""
    from launchcore.cli.targets import mapping
    from launchcore.cli.times import parse_duration, parse_size

    with usage():
        limits = {
            "run_seconds": None if timeout is None else parse_duration(timeout),
            "start_seconds": None if start_timeout is None else parse_duration(start_timeout),
            "memory_bytes": None if memory is None else parse_size(memory),
        }
    retry = {"max_retries": max_retries, "reasons": retry_on or None, "max_lost": max_lost}
    found: dict[str, Any] = {
        "type": type,
        "config": None if config is None else mapping(config, "--config"),
        "variables": None if variables is None else mapping(variables, "--variables"),
        "builder": None if builder is None else mapping(builder, "--builder"),
        "registry": None if registry is None else mapping(registry, "--registry"),
        "description": description,
        "secrets": secrets or None,
        "open_env": open_env or None,
        "limits": _given(limits),
        "retry": _given(retry),
    }
    made = _given(found)
    if max_running is not None:
        made["max_running"] = max_running or None
    return made


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None and value != {}}


def merged(raw: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """``raw`` with ``change`` on top; ``limits`` and ``retry`` are changed key by key."""
    result = {**raw, **change}
    for key in ("limits", "retry"):
        if key in change:
            result[key] = {**(raw.get(key) or {}), **change[key]}
    return result


@app.command("create")
def create(
    name: Name,
    *,
    type: Type = None,
    source: From = None,
    config: Config = None,
    variables: Variables = None,
    max_running: MaxRunning = None,
    timeout: Timeout = None,
    start_timeout: StartTimeout = None,
    memory: Memory = None,
    max_retries: MaxRetries = None,
    retry_on: RetryOn = None,
    max_lost: MaxLost = None,
    secrets: Secrets = None,
    open_env: OpenEnv = None,
    builder: Builder = None,
    registry: Registry = None,
    description: Description = None,
    no_check: NoCheck = False,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
) -> None:
    """Create a queue.

    With --json, the queue.
    """
    from launchcore.cli.targets import mapping, queue_config, runner_names

    change = changes(
        type=type,
        config=config,
        variables=variables,
        builder=builder,
        registry=registry,
        max_running=max_running,
        description=description,
        secrets=secrets,
        open_env=open_env,
        timeout=timeout,
        start_timeout=start_timeout,
        memory=memory,
        max_retries=max_retries,
        retry_on=retry_on,
        max_lost=max_lost,
    )
    raw = merged({} if source is None else mapping(source, "--from"), change)
    if "type" not in raw:
        raise CommandError("a queue needs a --type", hint=f"one of {', '.join(runner_names())}")
    made = queue_config(name, raw, check=not no_check)
    with service(base_url) as queues:
        info = queues.create_queue(name, made)
    if as_json:
        emit_json(info)
        return
    say(f"created queue {name} of type {made.type}; serve it with: launch agent --queue {name}")


@app.command("list")
def list_queues(as_json: AsJson = False, base_url: BaseUrl = None) -> None:
    """List queues, and how busy they are.

    With --json, a list.
    """
    with service(base_url) as queues:
        found = list(queues.list_queues())
    if as_json:
        emit_json(found)
        return
    from launchcore.cli.output import show as show_view
    from launchcore.cli.views import queues_view

    if found:
        show_view(queues_view(found))
    else:
        say("no queues: create one with launch queue create default --type process")


@app.command("show")
def show(
    name: Name,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="Only the configuration, as --from reads it.")
    ] = False,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
) -> None:
    """Show one queue: how busy it is, and its configuration.

    With --json, the queue.
    """
    from launchcore.cli.targets import to_yaml

    with service(base_url) as queues:
        info = queues.queue(name)
    if as_json:
        emit_json(info)
    elif as_yaml:
        typer.echo(to_yaml(info.config), nl=False)
    else:
        from launchcore.cli.output import show as show_view
        from launchcore.cli.views import queue_view

        show_view(queue_view(info, to_yaml(info.config), time.time()))


@app.command("edit")
def edit(
    name: Name,
    *,
    type: Type = None,
    source: From = None,
    config: Config = None,
    variables: Variables = None,
    max_running: MaxRunning = None,
    timeout: Timeout = None,
    start_timeout: StartTimeout = None,
    memory: Memory = None,
    max_retries: MaxRetries = None,
    retry_on: RetryOn = None,
    max_lost: MaxLost = None,
    secrets: Secrets = None,
    open_env: OpenEnv = None,
    builder: Builder = None,
    registry: Registry = None,
    description: Description = None,
    no_check: NoCheck = False,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
) -> None:
    """Change a queue: by flags, or without any, in your editor.

    In the editor, a configuration that cannot be used comes back with what is wrong written above
    it. Runs that are live go on as they are. With --json, the queue.
    """
    from launchcore.cli.targets import mapping, queue_config

    change = changes(
        type=type,
        config=config,
        variables=variables,
        builder=builder,
        registry=registry,
        max_running=max_running,
        description=description,
        secrets=secrets,
        open_env=open_env,
        timeout=timeout,
        start_timeout=start_timeout,
        memory=memory,
        max_retries=max_retries,
        retry_on=retry_on,
        max_lost=max_lost,
    )
    with service(base_url) as queues:
        before = queues.queue(name)
        if source is None and not change:
            from launchcore.cli.editor import edit_config

            made = edit_config(name, before.config, check=not no_check)
        else:
            raw = plain(before.config) if source is None else mapping(source, "--from")
            made = queue_config(name, merged(raw, change), check=not no_check)
        if made == before.config:
            say(f"queue {name} is as it was")
            info = before
        else:
            info = queues.edit_queue(name, made)
            say(f"changed queue {name}")
    if as_json:
        emit_json(info)


@app.command("delete")
def delete(
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Cancel the runs that wait in it first.")] = False,
    base_url: BaseUrl = None,
) -> None:
    """Delete a queue. It is refused while runs of it are live."""
    with service(base_url) as queues:
        queues.delete_queue(name, force=force)
    say(f"deleted queue {name}")


@app.command("pause")
def pause(name: Name, base_url: BaseUrl = None) -> None:
    """Stop giving out runs of a queue. It still takes new ones; what runs goes on."""
    _set_paused(name, base_url, paused=True)


@app.command("resume")
def resume(name: Name, base_url: BaseUrl = None) -> None:
    """Give out runs of a paused queue again."""
    _set_paused(name, base_url, paused=False)


def _set_paused(name: str, base_url: str | None, *, paused: bool) -> None:
    with service(base_url) as queues:
        queues.edit_queue(name, queues.queue(name).config, paused=paused)
    say(f"queue {name} is {'paused' if paused else 'open'}")

"""``launch queue``: create, list, show, edit, delete, pause, resume."""

# The flags reach `changes` by the context, all at once.
# ruff: noqa: ARG001

from __future__ import annotations

import time
from typing import Annotated

import typer

from launchcore.cli.errors import CommandError
from launchcore.cli.lazy import TrailingCommand, new_app
from launchcore.cli.options import AsJson, BaseUrl
from launchcore.cli.output import emit_json, plain, say
from launchcore.cli.queue_options import (
    Builder,
    Config,
    Description,
    From,
    MaxLost,
    MaxPreempted,
    MaxPriority,
    MaxQuarantined,
    MaxQueued,
    MaxQueuedEach,
    MaxRetries,
    MaxRetryDelay,
    MaxRunning,
    MaxRunningEach,
    Memory,
    Name,
    NoCheck,
    OpenEnv,
    QueueTimeout,
    Registry,
    Release,
    RetryDelay,
    RetryOn,
    Secrets,
    StartTimeout,
    Timeout,
    Type,
    Variables,
    changes,
    merged,
)
from launchcore.cli.queue_render import render
from launchcore.cli.service import host_of, loaded_config, service

app = new_app(help="Create, look at and change queues.")


@app.command("create")
def create(
    ctx: typer.Context,
    name: Name,
    *,
    type: Type = None,
    source: From = None,
    config: Config = None,
    variables: Variables = None,
    max_running: MaxRunning = None,
    max_running_per_submitter: MaxRunningEach = None,
    max_queued: MaxQueued = None,
    max_queued_per_submitter: MaxQueuedEach = None,
    max_priority: MaxPriority = None,
    timeout: Timeout = None,
    start_timeout: StartTimeout = None,
    queue_timeout: QueueTimeout = None,
    memory: Memory = None,
    max_retries: MaxRetries = None,
    retry_on: RetryOn = None,
    retry_delay: RetryDelay = None,
    max_retry_delay: MaxRetryDelay = None,
    max_preempted: MaxPreempted = None,
    max_lost: MaxLost = None,
    max_quarantined: MaxQuarantined = None,
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

    change = changes(ctx.params)
    raw = merged({} if source is None else mapping(source, "--from"), change)
    host = host_of(loaded_config(base_url).config)
    if "type" not in raw:
        raise CommandError("a queue needs a --type", hint=f"one of {', '.join(runner_names(host))}")
    made = queue_config(name, raw, None if no_check else host)
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


app.command("render", cls=TrailingCommand)(render)


@app.command("edit")
def edit(
    ctx: typer.Context,
    name: Name,
    *,
    type: Type = None,
    source: From = None,
    config: Config = None,
    variables: Variables = None,
    max_running: MaxRunning = None,
    max_running_per_submitter: MaxRunningEach = None,
    max_queued: MaxQueued = None,
    max_queued_per_submitter: MaxQueuedEach = None,
    max_priority: MaxPriority = None,
    timeout: Timeout = None,
    start_timeout: StartTimeout = None,
    queue_timeout: QueueTimeout = None,
    memory: Memory = None,
    max_retries: MaxRetries = None,
    retry_on: RetryOn = None,
    retry_delay: RetryDelay = None,
    max_retry_delay: MaxRetryDelay = None,
    max_preempted: MaxPreempted = None,
    max_lost: MaxLost = None,
    max_quarantined: MaxQuarantined = None,
    secrets: Secrets = None,
    open_env: OpenEnv = None,
    builder: Builder = None,
    registry: Registry = None,
    description: Description = None,
    release: Release = None,
    no_check: NoCheck = False,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
) -> None:
    """Change a queue: by flags, or without any, in your editor.

    In the editor, a configuration that cannot be used comes back with what is wrong written above
    it. Runs that are live go on as they are. With --json, the queue.
    """
    from launchcore.cli.targets import mapping, queue_config

    change = changes(ctx.params)
    host = None if no_check else host_of(loaded_config(base_url).config)
    with service(base_url) as queues:
        before = queues.queue(name)
        if release is not None and source is None and not change:
            made = before.config
        elif source is None and not change:
            from launchcore.cli.editor import edit_config

            made = edit_config(name, before.config, host)
        else:
            raw = plain(before.config) if source is None else mapping(source, "--from")
            made = queue_config(name, merged(raw, change), host)
        if made == before.config and release is None:
            say(f"queue {name} is as it was")
            info = before
        else:
            info = queues.edit_queue(name, made, release=release)
            say(f"changed queue {name}" if release is None else f"queue {name} takes runs of {release} again")
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

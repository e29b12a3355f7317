"""``launch agent``: the command up to the agent itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from launchcore.cli.completers import complete_queue
from launchcore.cli.errors import CommandError, near
from launchcore.cli.options import BaseUrl

FORMATS = ("auto", "text", "json")


def agent(
    *,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            "--queue",
            "-q",
            metavar="QUEUE",
            help="Serve this queue (repeatable); several are served fairly.",
            autocompletion=complete_queue,
        ),
    ] = None,
    max_jobs: Annotated[
        int | None,
        typer.Option("--max-jobs", "-j", metavar="N", min=-1, help="Runs at a time; -1 means no limit."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="The configuration to use.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Its name; without one, the host's, numbered."),
    ] = None,
    log_format: Annotated[
        str,
        typer.Option(
            "--log-format",
            metavar="FORMAT",
            help="text, json (one object a line, for machines), or auto: a live view on a terminal.",
        ),
    ] = "auto",
    drain: Annotated[
        float | None,
        typer.Option(
            "--drain",
            metavar="SECONDS",
            min=-1,
            help="On SIGTERM, how long to wait for running runs: 0 leaves them to be adopted, -1 waits.",
        ),
    ] = None,
    base_url: BaseUrl = None,
) -> int:
    """Serve queues on this machine.

    It claims runs, prepares them, executes them, and reports. SIGTERM and Ctrl-C drain: nothing new
    is claimed. A second one stops what runs, a third exits at once. An agent that was killed takes
    up its runs again when it is started again.
    """
    if log_format not in FORMATS:
        hint = near(log_format, FORMATS) or f"one of {', '.join(FORMATS)}"
        raise CommandError(f"--log-format {log_format!r} is not a format", hint=hint)
    from launchcore.config.load import load_config

    given: dict[str, object] = {
        "base_url": base_url,
        "queues": tuple(queue) if queue else None,
        "max_jobs": max_jobs,
        "name": name,
        "drain_seconds": drain,
    }
    flags = {key: value for key, value in given.items() if value is not None}
    loaded = load_config(path=config, environ=os.environ, flags=flags)
    if not loaded.config.queues:
        raise CommandError(
            "this agent has no queue to serve", hint="add --queue NAME, or `queues:` to its configuration"
        )
    from launchcore.agent.run import run_agent
    from launchcore.agent.view import make_view

    return run_agent(loaded, view=make_view(log_format))

"""``launch up``: a server and an agent in one command, for one machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from launchcore.cli.errors import CommandError


def up(
    *,
    queue: Annotated[
        str, typer.Option("--queue", "-q", metavar="QUEUE", help="The agent's queue; made when missing.")
    ] = "default",
    type: Annotated[
        str, typer.Option("--type", "-t", metavar="RUNNER", help="Of the queue, when it is made.")
    ] = "process",
    max_jobs: Annotated[
        int | None,
        typer.Option("--max-jobs", "-j", metavar="N", min=-1, help="Runs at a time; -1 means no limit."),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 is any that is free.")
    ] = 8420,
    db: Annotated[
        str | None,
        typer.Option("--db", metavar="URL", help="The database (default: the embedded queue's file)."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="The agent's configuration.")
    ] = None,
    log_format: Annotated[
        str, typer.Option("--log-format", metavar="FORMAT", help="As of launch agent.")
    ] = "auto",
) -> int:
    """Start a server and an agent on this machine.

    The agent's queue is made when it is missing; the server listens on the loopback address. One Ctrl-C
    ends both: the agent drains, then the server stops.
    """
    from launchcore.cli.agent import FORMATS
    from launchcore.cli.errors import near
    from launchcore.cli.server import need_server

    if log_format not in FORMATS:
        hint = near(log_format, FORMATS) or f"one of {', '.join(FORMATS)}"
        raise CommandError(f"--log-format {log_format!r} is not a format", hint=hint)
    need_server()
    from launchcore.agent.view import make_view
    from launchcore.queues.connect import default_url
    from launchcore.server.together import Together, run_together

    asked = Together(
        database=db or default_url(),
        port=port,
        queue=queue,
        type=type,
        max_jobs=max_jobs,
        config=config,
        environ=dict(os.environ),
    )
    return run_together(asked, view=make_view(log_format))

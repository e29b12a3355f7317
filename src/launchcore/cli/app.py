"""``launch``: its commands, and what is done around each."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from launchcore.cli.lazy import Entry, LazyGroup, command_of, new_app

RUNS, QUEUES, AGENTS, SERVER, SETUP = "Runs", "Queues and jobs", "Agents", "Shared queues", "Set-up"

COMMANDS = (
    Entry("submit", "launchcore.cli.submit:submit", "Submit a run to a queue.", RUNS, trailing=True),
    Entry("runs", "launchcore.cli.runs:runs", "List runs, the newest first.", RUNS),
    Entry("show", "launchcore.cli.runs:show", "Show one run: how it stands, and why it failed.", RUNS),
    Entry("logs", "launchcore.cli.logs:logs", "Print the log of a run.", RUNS),
    Entry("cancel", "launchcore.cli.runs:cancel", "Cancel runs.", RUNS),
    Entry("retry", "launchcore.cli.runs:retry", "Submit a finished run again.", RUNS),
    Entry("queue", "launchcore.cli.queue:app", "Create, look at and change queues.", QUEUES, group=True),
    Entry("job", "launchcore.cli.job:app", "Create and look at jobs.", QUEUES, group=True),
    Entry("agent", "launchcore.cli.agent:agent", "Serve queues on this machine.", AGENTS),
    Entry("agents", "launchcore.cli.agents:agents", "List the agents that serve queues.", AGENTS),
    Entry("server", "launchcore.cli.server:server", "Serve queues over HTTP, for several machines.", SERVER),
    Entry("up", "launchcore.cli.up:up", "Start a server and an agent on this machine.", SERVER),
    Entry("token", "launchcore.cli.token:app", "Make, list and revoke tokens.", SERVER, group=True),
    Entry("audit", "launchcore.cli.audit:audit", "Show who changed what.", SERVER),
    Entry("db", "launchcore.cli.db:app", "Copy a queue's database to a server.", SERVER, group=True),
    Entry("demo", "launchcore.cli.demo:demo", "Watch a real job go through; needs no set-up.", SETUP),
    Entry("config", "launchcore.cli.config:app", "Check and show the configuration.", SETUP, group=True),
    Entry(
        "doctor", "launchcore.cli.doctor:doctor", "Look whether everything that runs need is there.", SETUP
    ),
    Entry("plugins", "launchcore.cli.plugins:app", "List and show plugins.", SETUP, group=True),
    Entry("completion", "launchcore.cli.completion:completion", "Set up completion for your shell.", SETUP),
    Entry("version", "launchcore.cli.version:version", "Show the versions of what is installed.", SETUP),
)


class Launch(LazyGroup):
    """The root group, with our commands."""

    entries = COMMANDS


def _version(value: bool) -> None:
    if value:
        from launchcore.cli.version import own_version

        typer.echo(f"launch {own_version()}")
        raise typer.Exit


def launch(
    base_url: Annotated[
        str | None,
        typer.Option(
            "--base-url",
            metavar="URL",
            help="Where the queues live: sqlite:///PATH, or http(s)://HOST. Every command takes it too; "
            "without it, LAUNCHCORE_BASE_URL or the configuration decides.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version.")
    ] = False,
) -> None:
    """Launch machine-learning jobs: submit runs to queues, and let agents execute them."""


@functools.cache
def root() -> Any:
    """The command object of ``launch``; commands that were used once stay in it."""
    app = new_app(cls=Launch)
    app.callback()(launch)
    return command_of(app)


def execute(args: Sequence[str]) -> int:
    """Execute one command line; print its error, if any, as one line; return the exit code."""
    if "_LAUNCH_COMPLETE" in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        result = root().main(args=list(args), prog_name="launch", standalone_mode=False)
        sys.stdout.flush()
    except Exception as error:
        from launchcore.cli.errors import report

        return report(error)
    except KeyboardInterrupt as error:
        from launchcore.cli.errors import report

        return report(error)
    return int(result) if isinstance(result, int) else 0

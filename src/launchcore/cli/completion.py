"""``launch completion``: typer's own, as one command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from launchcore.cli.errors import CommandError

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_LAUNCH_COMPLETE"


def completion(
    shell: Annotated[
        str | None, typer.Argument(metavar="SHELL", help="bash, zsh or fish; without it, yours.")
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Add it to the shell's own start-up files.")
    ] = False,
) -> None:
    """Set up completion for your shell.

    Prints the script for a shell, or installs it. For one session: `eval "$(launch completion
    bash)"`. For good: `launch completion --install`. Commands, flags, and the names of queues, jobs
    and runs are completed.
    """
    from typer import completion as typers

    chosen = shell or Path(os.environ.get("SHELL", "bash")).name
    if chosen not in SHELLS:
        raise CommandError(f"there is no completion for {chosen!r}", hint=f"name one: {', '.join(SHELLS)}")
    if install:
        _, path = typers.install(shell=chosen, prog_name="launch", complete_var=VARIABLE)  # type: ignore[attr-defined]
        typer.echo(f"completion for {chosen} is in {path}; it works in the next shell that you start")
        return
    script = typers.get_completion_script(  # type: ignore[attr-defined]
        prog_name="launch", complete_var=VARIABLE, shell=chosen
    )
    typer.echo(script)

"""``launch version``."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from typing import Annotated

import typer


def own_version() -> str:
    """The version of launchcore that is installed."""
    try:
        return importlib.metadata.version("launchcore")
    except importlib.metadata.PackageNotFoundError:
        return "unknown (not installed)"


def version(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the versions of what is installed.

    Versions of launchcore, of its plugins' distributions, of Python and of the system.
    """
    plugins = _plugin_distributions()
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    if as_json:
        from launchcore.cli.output import emit_json

        emit_json({"launchcore": own_version(), "plugins": plugins, "python": sys.version, "system": system})
        return
    typer.echo(f"launchcore {own_version()}")
    for name, number in plugins.items():
        typer.echo(f"{name} {number}")
    typer.echo(f"Python {platform.python_version()} ({sys.executable})")
    typer.echo(system)


def _plugin_distributions() -> dict[str, str]:
    found = {}
    for entry in importlib.metadata.entry_points(group="launchcore"):
        if entry.dist is not None:
            found[entry.dist.name] = entry.dist.version
    return dict(sorted(found.items()))

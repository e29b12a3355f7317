"""Flags that many commands share."""

from __future__ import annotations

from typing import Annotated

import typer


def _or_of_root(ctx: typer.Context, value: str | None) -> str | None:
    """``launch --base-url X runs`` is ``launch runs --base-url X``."""
    found: str | None = value or ctx.find_root().params.get("base_url")
    return found


BaseUrl = Annotated[
    str | None,
    typer.Option(
        "--base-url",
        metavar="URL",
        callback=_or_of_root,
        help="Where the queues live (else LAUNCHCORE_BASE_URL, else the configuration).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

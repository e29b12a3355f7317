"""Where ``launch token`` and ``launch audit`` do their work: at the service, or in its database."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from launchcore.server.admin import Admin

Db = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="URL",
        help="Work on the database itself: sqlite:///PATH, or postgresql://USER@HOST/NAME. "
        "That is how the first token is made.",
    ),
]


@contextlib.contextmanager
def admin(base_url: str | None, db: str | None) -> Iterator[Admin]:
    """At ``--db``, or else where the queues live."""
    from launchcore.cli.output import me
    from launchcore.cli.service import loaded_config
    from launchcore.config.door import queue_settings
    from launchcore.queues.http_settings import HttpSettings
    from launchcore.server.admin import open_admin

    config = loaded_config(base_url).config
    settings = queue_settings(HttpSettings, "http", config)
    with open_admin(db or config.base_url, settings, who=me()) as found:
        yield found

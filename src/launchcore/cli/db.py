"""``launch db``."""

from __future__ import annotations

from typing import Annotated

import typer

from launchcore.cli.lazy import new_app
from launchcore.cli.options import AsJson
from launchcore.cli.output import emit_json, say

app = new_app()


@app.callback()
def group() -> None:
    """Copy a queue's database to a server."""


@app.command("copy")
def copy(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The file: sqlite:///PATH.")],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="An empty database: postgresql://USER@HOST/NAME, the password in PGPASSWORD or ~/.pgpass.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Copy an embedded queue into a server's database: queues, jobs, runs, logs, archives, tokens.

    No agent may serve the source meanwhile. The file stays as it is; use the new database from then on, so
    that no run is executed twice. With --json, the numbers of rows.
    """
    from launchcore.queues.connect import database_path
    from launchcore.store.codec import user_error
    from launchcore.store.copying import copy as copy_all
    from launchcore.store.database import Database, open_database

    path = database_path(source)
    if not path.is_file():
        raise user_error(f"there is no queue database {path}", "give the file that base_url names now")
    old = Database(path)
    try:
        new = open_database(target)
        try:
            counted = copy_all(old, new)
        finally:
            new.close()
    finally:
        old.close()
    if as_json:
        emit_json(counted)
        return
    many = [f"{counted[name]} {name}" for name in ("queues", "jobs", "runs", "attempts", "archives")]
    say(f"copied {', '.join(many)} to {new.name}")
    say(f"use it from now on, and leave {path} alone")

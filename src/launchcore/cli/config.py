"""``launch config``: check, show, schema, init."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from launchcore.cli.errors import CommandError
from launchcore.cli.exits import Exit
from launchcore.cli.lazy import new_app
from launchcore.cli.options import AsJson, BaseUrl
from launchcore.cli.output import emit, emit_json, plain, say
from launchcore.cli.service import host_of, loaded_config

if TYPE_CHECKING:
    from launchcore.config.load import LoadedConfig

app = new_app(help="Check and show the configuration.")

File = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="This file instead of the usual one."),
]


def _load(path: Path | None, base_url: str | None) -> LoadedConfig:
    from launchcore.config.load import load_config

    flags: dict[str, object] = {} if base_url is None else {"base_url": base_url}
    return load_config(path=path, environ=os.environ, flags=flags)


@app.command("check")
def check(config: File = None, as_json: AsJson = False, base_url: BaseUrl = None) -> int:
    """Check the configuration: every key, and the settings of everything that it names.

    With --json, an object: `file`, and `problems`, a list.
    """
    from launchcore.config.check import check_config

    loaded = _load(config, base_url)
    host = host_of(loaded.config)
    problems = check_config(loaded.config, host)
    file = None if loaded.file is None else str(loaded.file)
    if as_json:
        emit_json({"file": file, "problems": [plain(problem) for problem in problems]})
    else:
        for problem in problems:
            hint = f"; hint: {problem.hint}" if problem.hint else ""
            emit(f"{problem.path}: {problem.message}{hint}")
        where = file or "the defaults (there is no file)"
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        say(f"{where}: {count}" if problems else f"{where}: good")
    return Exit.USAGE if problems else Exit.OK


@app.command("show")
def show(config: File = None, as_json: AsJson = False, base_url: BaseUrl = None) -> None:
    """Show every key, its value, and where the value comes from.

    With --json, an object: `file`, `values` and `origins`.
    """
    loaded = _load(config, base_url)
    values = plain(loaded.config)
    file = None if loaded.file is None else str(loaded.file)
    if as_json:
        emit_json({"file": file, "values": values, "origins": dict(loaded.origins)})
        return
    import json

    from launchcore.cli.output import show as show_view
    from launchcore.cli.tables import Column, table

    columns = (Column("KEY"), Column("VALUE", flexible=True), Column("FROM", flexible=True))
    rows = [
        (key, value if isinstance(value, str) else json.dumps(value), loaded.origins.get(key, "default"))
        for key, value in values.items()
    ]
    show_view(table(columns, rows))


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors and checks."""
    from launchcore.config.describe import config_schema

    emit_json(config_schema(host_of(loaded_config(None).config)))


@app.command("init")
def init(
    path: Annotated[
        str | None,
        typer.Argument(metavar="FILE", help="Where to write it; - prints it; without it, the usual place."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a configuration to begin with: every key, with its meaning and its default."""
    from launchcore.config.describe import starter_config
    from launchcore.config.load import default_file

    if path == "-":
        typer.echo(starter_config(), nl=False)
        return
    target = default_file() if path is None else Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("w" if force else "x", encoding="utf-8") as file:
            file.write(starter_config())
    except FileExistsError:
        raise CommandError(f"{target} is already there", hint="--force replaces it") from None
    say(f"wrote {target}")

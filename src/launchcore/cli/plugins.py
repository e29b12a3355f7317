"""``launch plugins``: list, show."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from launchcore.cli.errors import CommandError, near
from launchcore.cli.exits import Exit
from launchcore.cli.lazy import new_app
from launchcore.cli.options import AsJson
from launchcore.cli.output import emit, emit_json, say, show

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from launchcore.host import Host
    from launchcore.host.discovery import PluginRecord

app = new_app(help="List and show plugins.")

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="This configuration instead of the usual one."),
]
STYLES = {"loaded": "green", "failed": "bold red", "refused": "yellow", "disabled": "dim"}


@app.command("list")
def list_plugins(config: Config = None, as_json: AsJson = False) -> None:
    """List every plugin that is installed, and what became of it.

    With --json, a list of objects: `name`, `distribution`, `version`, `state`, `reason`, `module`,
    `hooks`, `offers`.
    """
    host = _host(config)
    if as_json:
        emit_json([summary(record) for record in host.plugins])
        return
    from launchcore.cli.tables import Column, cell, table

    columns = (
        Column("PLUGIN"),
        Column("FROM"),
        Column("STATE"),
        Column("OFFERS", flexible=True),
        Column("WHY", flexible=True),
    )
    rows: list[list[str | Text]] = [
        [
            record.name,
            record.label,
            cell(record.state.value, STYLES[record.state.value]),
            ", ".join(record.offers),
            record.reason or "",
        ]
        for record in host.plugins
    ]
    show(table(columns, rows))
    bad = [record.name for record in host.plugins if record.state.value in ("failed", "refused")]
    if bad:
        say(f"launch plugins show {bad[0]} says more")


@app.command("show")
def show_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A plugin, or something that one offers.")],
    *,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show a plugin: its settings, what it offers and can do, and why it was not loaded.

    With --json, the object of the list with `traceback`, `settings` and `specs` as well.
    """
    host = _host(config)
    record = _find(host, name)
    page = details(host, record)
    if as_json:
        emit_json(page)
        return
    for part in _page(page):
        show(part)
    if page["traceback"]:
        emit("")
        for line in page["traceback"].splitlines():
            emit(line)


def summary(record: PluginRecord) -> dict[str, Any]:
    """A plugin as JSON has it in a list."""
    return {
        "name": record.name,
        "distribution": record.distribution,
        "version": record.version,
        "state": record.state.value,
        "reason": record.reason,
        "module": record.module,
        "hooks": list(record.hooks),
        "offers": list(record.offers),
    }


def details(host: Host, record: PluginRecord) -> dict[str, Any]:
    """A plugin as JSON has it by itself."""
    from launchcore.cli.output import plain
    from launchcore.host.catalog import KINDS
    from launchcore.host.schema import rows

    own = getattr(record.plugin, "Settings", None) if isinstance(record.plugin, type) else None
    specs = [offer.spec for offer in host.catalog.all() if offer.entry == record.name]
    return {
        **summary(record),
        "traceback": record.traceback,
        "settings": [plain(row) for row in rows(own)] if own else [],
        "specs": [
            {
                "kind": KINDS[type(spec)],
                "name": spec.name,
                "summary": spec.summary,
                "aliases": list(spec.aliases),
                "capabilities": _capabilities(spec),
                **{
                    part: [plain(row) for row in rows(getattr(spec, part))]
                    for part in _SETTINGS
                    if hasattr(spec, part)
                },
            }
            for spec in specs
        ],
    }


_SETTINGS = {
    "settings": "Settings (the agent's)",
    "config": "Configuration (a queue's)",
    "fields": "Fields (a run's)",
}
"""The parts of a descriptor that are classes of settings, and their headings."""


def _capabilities(spec: Any) -> dict[str, Any]:
    """What the core may assume: every field of the descriptor that is plain data."""
    import attrs

    found: dict[str, Any] = {}
    for field in attrs.fields(type(spec)):
        value = getattr(spec, field.name)
        if field.name in ("name", "summary", "aliases", *_SETTINGS) or callable(value):
            continue
        found[field.name] = sorted(one.value for one in value) if isinstance(value, frozenset) else value
    return found


def _host(config: Path | None) -> Host:
    from launchcore.config.load import load_config
    from launchcore.host import Host
    from launchcore.plugin import LaunchError

    try:
        loaded = load_config(path=config, environ=os.environ, flags={})
    except LaunchError:
        if config is not None:
            raise
        # Plugins are looked at just when something is wrong: a bad file must not hide them.
        say("the configuration cannot be read, and is left out; see launch config check")
        return Host.load()
    return Host.load(
        disabled=loaded.config.disabled_plugins,
        settings=loaded.config.plugins,
        extra=loaded.config.plugin_modules,
    )


def _find(host: Host, name: str) -> PluginRecord:
    found = [record for record in host.plugins if record.name == name]
    found = found or [record for record in host.plugins if record.distribution == name]
    entries = {offer.entry for offer in host.catalog.find_all(name)}
    found = found or [record for record in host.plugins if record.name in entries]
    if found:
        return found[0]
    known = {record.name for record in host.plugins} | {offer.spec.name for offer in host.catalog.all()}
    hint = near(name, sorted(known)) or "launch plugins list shows all"
    raise CommandError(f"there is no plugin {name!r}, and none offers it", hint=hint, code=Exit.NOT_FOUND)


def _page(page: dict[str, Any]) -> list[RenderableType]:
    from rich.text import Text

    from launchcore.cli.tables import cell, facts

    head: list[tuple[str, str | Text]] = [
        ("plugin", page["name"]),
        ("from", f"{page['distribution']} {page['version']}"),
        ("state", cell(page["state"], STYLES[page["state"]])),
    ]
    head += [("why", page["reason"])] if page["reason"] else []
    head += [("module", page["module"]), ("hooks", ", ".join(page["hooks"]) or "-")]
    parts: list[RenderableType] = [facts(head)]
    parts += _settings(f"Settings (plugins.{page['name']})", page["settings"])
    for spec in page["specs"]:
        names = ", ".join([spec["name"], *spec["aliases"]])
        parts += [Text(), cell(f"{spec['kind']} {names}: {spec['summary']}", "bold")]
        abilities = [(key, _short(value)) for key, value in spec["capabilities"].items()]
        parts += [facts(abilities)] if abilities else []
        for part, title in _SETTINGS.items():
            parts += _settings(title, spec.get(part, []))
    return parts


def _settings(title: str, rows: list[dict[str, Any]]) -> list[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    from launchcore.cli.tables import cell, facts

    if not rows:
        return []
    lines: list[tuple[str, str | Text]] = []
    for row in rows:
        value = "required" if row["required"] else f"default: {_short(row['default'])}"
        lines.append((row["key"], f"{row['help']} ({row['type']}; {value})"))
    return [Text(), cell(title), Padding(facts(lines), (0, 0, 0, 2))]


def _short(value: Any) -> str:
    """A value as a person writes it."""
    import json

    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    if value in (None, "", {}):
        return "-"
    return value if isinstance(value, str) else json.dumps(value)

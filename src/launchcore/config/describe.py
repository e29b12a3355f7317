"""The configuration described by its own class: as JSON Schema, and as a file to begin with."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import yaml

from launchcore.config.load import FILE_NAME, PREFIX, defaults
from launchcore.config.values import AgentConfig
from launchcore.host.catalog import Catalog, Offer
from launchcore.host.host import Host
from launchcore.host.schema import plain, rows, schema
from launchcore.plugin import (
    BuilderSpec,
    EnvironmentSpec,
    Json,
    QueueSpec,
    RegistrySpec,
    RunnerSpec,
    SourceSpec,
)

EXAMPLES: dict[str, Json] = {
    "queues": ["default"],
    "secrets": {"HF_TOKEN": {"env": "HF_TOKEN"}, "DB_PASSWORD": {"file": "~/secrets/db-password"}},
}
"""Shown in the starter file instead of a default that says nothing."""


def config_schema(host: Host | None = None) -> dict[str, Any]:
    """The JSON Schema (2020-12) of the agent's configuration file.

    :param host: with it, the schema knows the types and settings that the installed plugins offer.
    """
    found = schema(AgentConfig)
    optional = set(defaults())
    found["required"] = [key for key in found.get("required", []) if key not in optional]
    found["allOf"] = [
        demand
        for demand in found.get("allOf", [])
        if not any(set(choice["required"]) & optional for choice in demand["anyOf"])
    ]
    found = {key: value for key, value in found.items() if key not in ("required", "allOf") or value}
    source = found["properties"]["secrets"]["additionalProperties"]
    source.update(minProperties=1, maxProperties=1)
    if host is not None:
        _add_offers(found["properties"], host.catalog)
    return found


def starter_config() -> str:
    """A configuration file with every key, its help and its default, all commented out."""
    lines = [
        f"# {FILE_NAME}: what an agent is told. Every key may be left out; each line shows the default,",
        "#",
    ]
    lines[-1] = f"# or an example. A variable {PREFIX}<KEY> overrules the file, and a flag overrules both."
    machine = defaults()
    for row in rows(AgentConfig):
        value = EXAMPLES.get(row.key, plain(machine[row.key]) if row.required else row.default)
        lines += ["", *textwrap.wrap(row.help, 98, initial_indent="# ", subsequent_indent="# ")]
        lines += [f"#{line}" for line in _yaml(row.key, value)]
    return "\n".join(lines) + "\n"


def _yaml(key: str, value: Json) -> list[str]:
    flow = yaml.safe_dump(value, default_flow_style=None, sort_keys=False, width=10_000)
    lines = flow.removesuffix("...\n").splitlines()
    return [f"{key}: {lines[0]}"] if len(lines) == 1 else [f"{key}:", *(f"  {line}" for line in lines)]


def _add_offers(properties: dict[str, Any], catalog: Catalog) -> None:
    """Say for each chosen kind which types there are, and each with its own settings."""
    kinds: dict[str, Sequence[Offer[Any]]] = {
        "environment": catalog.offers(EnvironmentSpec),
        "registry": catalog.offers(RegistrySpec),
        "builder": catalog.offers(BuilderSpec),
    }
    for key, offers in kinds.items():
        own = {"destination": {"type": "string"}} if key == "builder" else {}
        if offers:
            kept = {
                name: part for name, part in properties[key].items() if name in ("description", "default")
            }
            properties[key] = {**kept, "type": "object", "anyOf": [_choice(offer, own) for offer in offers]}
    sections: list[Offer[Any]] = [
        *catalog.offers(SourceSpec),
        *catalog.offers(RunnerSpec),
        *catalog.offers(QueueSpec),
    ]
    properties["plugins"]["properties"] = {offer.spec.name: _bare(offer.spec.settings) for offer in sections}


def _choice(offer: Offer[Any], own: dict[str, Any]) -> dict[str, Any]:
    spec = offer.spec
    bare = _bare(spec.settings)
    names = {"type": {"enum": [spec.name, *spec.aliases]}}
    return {
        **bare,
        "title": f"{spec.name}: {spec.summary}",
        "properties": {**names, **own, **bare["properties"]},
        "required": ["type", *bare.get("required", [])],
    }


def _bare(settings: type) -> dict[str, Any]:
    return {key: value for key, value in schema(settings).items() if key != "$schema"}

"""What only the installed plugins can say about a configuration: names, settings, what needs what."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from launchcore.config.values import AgentConfig
from launchcore.host.catalog import KINDS, Catalog, Offer
from launchcore.host.host import Host
from launchcore.host.images import registry_block, requirement
from launchcore.host.names import nearest
from launchcore.host.settings import Problem, SettingsError, join, structure
from launchcore.plugin import Json, LaunchError, QueueSpec, RunnerSpec, SourceSpec

BUILDER_KEYS = ("type", "destination")
"""The core's own keys in ``builder``; all others are the builder's."""


def check_config(config: AgentConfig, host: Host) -> list[Problem]:
    """Everything that is wrong with the types, settings and combinations that a configuration chooses.

    Nothing is made, nothing is asked of a network. An empty list: the agent can start with it.
    """
    problems = list(host.problems)
    catalog = host.catalog
    environment = _chosen("environment", config.environment, catalog.environment, ("type",), problems)
    registry = _registry(config, catalog, problems)
    _chosen("builder", config.builder, catalog.builder, BUILDER_KEYS, problems)
    if registry is not None and environment is not None:
        problem = requirement(registry, "registry", environment)
        problems += [problem] if problem else []
    destination = config.builder.get("destination")
    if destination is not None and not (isinstance(destination, str) and destination.strip()):
        problems.append(
            Problem(path="builder.destination", message="expected the name of an image repository")
        )
    try:
        catalog.queue_for(config.base_url)
    except LaunchError as error:
        problems.append(Problem(path="base_url", message=error.detail, hint=error.hint))
    for name, raw in config.plugins.items():
        problems += _section(name, raw, host)
    return problems


def _chosen(
    key: str,
    block: Mapping[str, Json],
    find: Callable[[str], Offer[Any]],
    own: Collection[str],
    problems: list[Problem],
) -> Offer[Any] | None:
    """The offer that a block's ``type`` names, with its settings checked."""
    name = block.get("type")
    if not isinstance(name, str):
        problems.append(
            Problem(path=f"{key}.type", message="is required", hint=f"write {key}: {{type: NAME}}")
        )
        return None
    try:
        offer = find(name)
    except LaunchError as error:
        problems.append(Problem(path=f"{key}.type", message=error.detail, hint=error.hint))
        return None
    problems += _settings(offer.spec.settings, block, key, own)
    return offer


def _settings(cls: type, raw: Mapping[str, Json], path: str, own: Collection[str] = ()) -> list[Problem]:
    try:
        structure(cls, raw, path=path, ignore=own)
    except SettingsError as error:
        return list(error.problems)
    return []


def _registry(config: AgentConfig, catalog: Catalog, problems: list[Problem]) -> Offer[Any] | None:
    try:
        block = registry_block(catalog, config.registry, config.builder)
    except LaunchError as error:
        problems.append(Problem(path="builder.destination", message=error.detail, hint=error.hint))
        return None
    return _chosen("registry", block, catalog.registry, ("type",), problems)


def _section(name: str, raw: Mapping[str, Json], host: Host) -> list[Problem]:
    """``plugins.<name>``: the settings of a source, a runner, a queue service, or a plugin itself."""
    path = join("plugins", name)
    if host.has_own_section(name):
        return []  # the host has checked it
    offers = [
        offer for offer in _with_sections(host.catalog) if name in (offer.spec.name, *offer.spec.aliases)
    ]
    if offers:
        if all(offer.spec.name != name for offer in offers):
            own = offers[0].spec.name
            return [Problem(path=path, message=f"is another name of {own!r}", hint=f"write plugins.{own}")]
        return [problem for offer in offers for problem in _settings(offer.spec.settings, raw, path)]
    if host.plugin(name) is not None:
        return []
    for kind in (KINDS[type(offer.spec)] for offer in host.catalog.find_all(name)):
        hint = f"its settings stand beside its type: {kind}: {{type: {name}, …}}"
        return [Problem(path=path, message=f"{name!r} is a {kind}", hint=hint)]
    known = [offer.spec.name for offer in _with_sections(host.catalog)]
    near = nearest(name, [*known, *(plugin.name for plugin in host.plugins)])
    hint = f"write plugins.{near}" if near else f"there are: {', '.join(sorted(known))}"
    return [Problem(path=path, message="is no source, runner, queue service or plugin", hint=hint)]


def _with_sections(catalog: Catalog) -> list[Offer[Any]]:
    return [*catalog.offers(SourceSpec), *catalog.offers(RunnerSpec), *catalog.offers(QueueSpec)]

"""Registers the registry ``local`` and the environment ``local``."""

from __future__ import annotations

from collections.abc import Iterable

from launchcore.plugin import (
    Environment,
    EnvironmentSpec,
    NoSettings,
    Registry,
    RegistrySpec,
    Site,
    hookimpl,
)


def _create_registry(_settings: NoSettings, _site: Site) -> Registry:
    from launchcore.builtin.local.registry import LocalRegistry

    return LocalRegistry()


def _create_environment(_settings: NoSettings, site: Site) -> Environment:
    from launchcore.builtin.local.environment import LocalEnvironment

    return LocalEnvironment(site)


@hookimpl
def launch_register_registries() -> Iterable[RegistrySpec]:
    yield RegistrySpec(
        name="local",
        summary="No registry: images stay on the machine that built them.",
        create=_create_registry,
        remote=False,
    )


@hookimpl
def launch_register_environments() -> Iterable[EnvironmentSpec]:
    yield EnvironmentSpec(
        name="local",
        summary="No cloud account: this machine, as this user.",
        create=_create_environment,
    )

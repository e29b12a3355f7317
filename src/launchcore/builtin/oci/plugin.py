"""Registers the registry ``oci``."""

from __future__ import annotations

from collections.abc import Iterable

from launchcore.builtin.oci.settings import OciSettings
from launchcore.plugin import Registry, RegistrySpec, Site, hookimpl


def _create(settings: OciSettings, _site: Site) -> Registry:
    # Here, where components are made one at a time: of two threads that import it, or an SDK that stands on
    # it, at the same moment, each may find it half made.
    import requests

    from launchcore.builtin.oci.registry import OciRegistry

    del requests
    return OciRegistry(settings)


def _repository(settings: OciSettings) -> str | None:
    return settings.repository


@hookimpl
def launch_register_registries() -> Iterable[RegistrySpec]:
    yield RegistrySpec(
        name="oci",
        summary="Any registry of the OCI distribution protocol: Docker Hub, GHCR, Harbor, your own.",
        create=_create,
        settings=OciSettings,
        repository=_repository,
    )

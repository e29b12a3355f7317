"""Which registry and which environment images are for, from what a configuration says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from launchcore.host.catalog import Catalog, Offer
from launchcore.host.settings import Problem
from launchcore.plugin import EnvironmentSpec, Json, RegistrySpec, RunnerSpec

THIS_MACHINE: Final = "local"
"""The registry of those who name neither a registry nor a destination."""


def registry_block(
    catalog: Catalog, said: Mapping[str, Json], builder: Mapping[str, Json]
) -> Mapping[str, Json]:
    """``registry:`` as it holds: what is said; else the registry of ``builder.destination``; else none.

    :raises LaunchError: several plugins say that the destination is theirs.
    """
    if said:
        return said
    destination = builder.get("destination")
    if isinstance(destination, str) and destination.strip():
        return {"type": catalog.registry_of(destination.strip()).spec.name}
    return {"type": THIS_MACHINE}


def requirement(
    offer: Offer[RegistrySpec] | Offer[RunnerSpec], kind: str, environment: Offer[EnvironmentSpec]
) -> Problem | None:
    """What is wrong when a component needs another environment than the agent's."""
    wanted = offer.spec.requires_environment
    if wanted is None or wanted in (environment.spec.name, *environment.spec.aliases):
        return None
    return Problem(
        path=f"{kind}.type",
        message=f"the {kind} {offer.spec.name!r} needs the environment {wanted!r}, and `environment` is"
        f" {environment.spec.name!r}",
        hint=f"write environment: {{type: {wanted}}} with its settings, or choose another {kind}",
    )

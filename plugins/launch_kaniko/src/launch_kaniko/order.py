"""What is to be built, completely said."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import attrs

from launch_kaniko.settings import BuilderSettings
from launch_kaniko.store_places import Sight
from launchcore.plugin import CredentialHelper, EnvVar, Login, Secret, SecretFile

CONTAINER: Final = "kaniko"
"""The executor's container, in our manifest and in ``kaniko-config``."""


@attrs.frozen(kw_only=True)
class Order:
    """One build. ``name`` is the image's, ``REPOSITORY:TAG``; ``dockerfile`` is a path in the context."""

    name: str
    run_id: str
    attempt_id: str
    labels: Mapping[str, str]
    """Of the cluster's objects: whose they are, and of which run."""
    settings: BuilderSettings
    sight: Sight
    dockerfile: str
    build_args: Mapping[str, str] = attrs.field(factory=dict)
    image_labels: Mapping[str, str] = attrs.field(factory=dict)
    platform: str | None = None
    logins: tuple[Login | CredentialHelper, ...] = ()
    docker_configs: tuple[Secret, ...] = ()
    """Docker configurations that plugins brought whole."""
    access: tuple[EnvVar | SecretFile, ...] = ()
    secrets: Mapping[str, Secret] = attrs.field(factory=dict)
    """What steps may mount: ``RUN --mount=type=secret,id=NAME``."""
    certificates: Mapping[str, str] = attrs.field(factory=dict)
    """PEM texts of authorities, by registry."""

    @property
    def job(self) -> str:
        return job_name(self.name)


def job_name(image: str) -> str:
    """The Job of an image: one name for all agents, so that they build it once.

    >>> job_name("registry.example.com/models:0123")
    'launch-build-aeff0a9c85471c64'
    """
    return f"launch-build-{hashlib.sha256(image.encode()).hexdigest()[:16]}"


def destinations(order: Order) -> tuple[str, ...]:
    """Where the image goes: its own name, and the same tag elsewhere."""
    tag = order.name.rpartition(":")[2]
    more = (f"{repository}:{tag}" for repository in order.settings.destinations)
    return tuple(dict.fromkeys((order.name, *more)))


def cache_repository(image: str, settings: BuilderSettings) -> str | None:
    """Where layers are kept; ``None``: nowhere."""
    if not settings.cache:
        return None
    return settings.cache_repository or f"{image.rpartition(':')[0]}/cache"

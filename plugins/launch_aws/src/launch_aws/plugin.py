"""What AWS offers to launchcore. Imports no SDK: that happens when something is used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from launch_aws import names
from launch_aws.settings import AccountSettings, RegistrySettings
from launchcore.plugin import Environment, EnvironmentSpec, Registry, RegistrySpec, Site, hookimpl

if TYPE_CHECKING:
    from launch_aws.environment import AwsEnvironment


def _environment(settings: Any, _site: Site) -> Environment:
    from launch_aws.environment import make_environment

    return make_environment(settings)


@hookimpl
def launch_register_environments() -> Iterable[EnvironmentSpec]:
    yield EnvironmentSpec(
        name="aws",
        summary="An AWS account: a profile, a role, or whatever the agent's machine or pod has.",
        create=_environment,
        settings=AccountSettings,
    )


def _registry(settings: Any, site: Site) -> Registry:
    from launch_aws.registry import make_registry

    return make_registry(settings, cast("AwsEnvironment", site.environment))


def _repository(settings: Any) -> str | None:
    found: str | None = settings.repository
    return found


@hookimpl
def launch_register_registries() -> Iterable[RegistrySpec]:
    yield RegistrySpec(
        name="ecr",
        summary="Amazon's registry, private or public; makes repositories, and logs builders and runners in.",
        create=_registry,
        settings=RegistrySettings,
        repository=_repository,
        owns=names.owns,
        requires_environment="aws",
    )

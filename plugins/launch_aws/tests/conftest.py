"""A model of AWS on loopback, and nothing of this machine's own AWS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from launch_aws.environment import AwsEnvironment, make_environment
from launch_aws.registry import EcrRegistry, make_registry
from launch_aws.settings import AccountSettings, RegistrySettings
from launch_aws.testing.cloud import REGION, Cloud
from launch_aws.testing.fixtures import cloud, cloud_process, own_aws

from launchcore.host.settings import structure

__all__ = ["cloud", "cloud_process", "own_aws"]


@pytest.fixture(scope="session")
def service_models() -> Any:
    """The SDK's descriptions of the services, read once: that is most of what a new client costs."""
    from botocore.loaders import Loader

    return Loader()


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(own_aws: Path, service_models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.session.create_loader", lambda _: service_models)


@pytest.fixture
def environment(cloud: Cloud) -> Callable[..., AwsEnvironment]:
    """Makes environments in the cloud, with settings as a configuration says them."""

    def make(**settings: Any) -> AwsEnvironment:
        defaults = {"region": REGION, "endpoint_url": cloud.url, "retries": 0}
        return make_environment(structure(AccountSettings, {**defaults, **settings}, path="environment"))

    return make


@pytest.fixture
def registry(environment: Callable[..., AwsEnvironment]) -> Callable[..., EcrRegistry]:
    """Makes registries in it."""

    def make(of: AwsEnvironment | None = None, **settings: Any) -> EcrRegistry:
        made = structure(RegistrySettings, {"repository": "my-repo", **settings}, path="registry")
        return make_registry(made, of or environment())

    return make

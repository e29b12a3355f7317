"""What stands for ECR: moto answers for the API, a real registry beside it takes and gives the images."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from launch_aws.repositories import MEDIA_TYPES
from launch_aws.testing.cloud import PASSWORD, Cloud
from launch_docker.testing.fixtures import unavailable
from launch_docker.testing.registry import RegistryMachine, missing_registry


@pytest.fixture(scope="session")
def storage() -> Iterator[RegistryMachine]:
    """Lets in whoever has ECR's token."""
    if why := missing_registry():
        unavailable(why)
    machine = RegistryMachine(user="AWS", password=PASSWORD)
    try:
        machine.start()
        yield machine
    finally:
        machine.close()


def manifest(storage: RegistryMachine, repository: str, tag: str) -> tuple[bytes, str]:
    """What was pushed, and its kind."""
    answer = requests.get(
        f"http://{storage.host}/v2/{repository}/manifests/{tag}",
        headers={"Accept": ", ".join(MEDIA_TYPES)},
        auth=(storage.user, storage.password),
        timeout=30,
    )
    answer.raise_for_status()
    return answer.content, answer.headers["Content-Type"]


def make_known(cloud: Cloud, storage: RegistryMachine, image: str) -> str:
    """ECR knows what is pushed to it; moto is told. ``image`` is a whole name; its digest is returned."""
    repository, _, tag = image.partition("@")[0].removeprefix(f"{storage.host}/").rpartition(":")
    return cloud.put_image(repository, tag, *manifest(storage, repository, tag))

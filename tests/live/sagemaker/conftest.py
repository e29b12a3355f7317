"""A world whose runs are training jobs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from launch_aws.testing.cloud import Cloud
from launch_aws.testing.fixtures import cloud, cloud_process, own_aws
from launch_docker.testing.fixtures import docker_host, docker_machine, engine
from launch_docker.testing.registry import RegistryMachine
from launch_sagemaker.testing.fixtures import sagemaker_clients, sagemaker_model
from launch_sagemaker.testing.model import ServiceModel

from tests.live.ecr import storage
from tests.live.sagemaker.world import SageMakerWorld

__all__ = [
    "cloud",
    "cloud_process",
    "docker_host",
    "docker_machine",
    "engine",
    "own_aws",
    "sagemaker_clients",
    "sagemaker_model",
    "storage",
]


@pytest.fixture
def world(
    docker_host: str, cloud: Cloud, storage: RegistryMachine, own_aws: Path, sagemaker_model: ServiceModel
) -> Iterator[SageMakerWorld]:
    made = SageMakerWorld(Path(tempfile.mkdtemp(prefix="lc-")), docker_host, cloud, storage, sagemaker_model)
    try:
        yield made
    finally:
        made.close()

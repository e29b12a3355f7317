"""pytest fixtures; a ``conftest.py`` imports them, with ``cloud`` and ``cloud_process`` of ``launch_aws``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from launch_aws.testing.cloud import Cloud

from launch_sagemaker.testing.containers import ProcessContainers
from launch_sagemaker.testing.endpoint import Endpoint
from launch_sagemaker.testing.model import ServiceModel


@pytest.fixture(scope="session")
def sagemaker_model() -> ServiceModel:
    """SageMaker's service model, read once."""
    return ServiceModel.load()


@pytest.fixture(scope="session")
def sagemaker_clients(cloud_process: Cloud) -> Callable[[str, str], Any]:
    """Clients for the other services, made once: that takes longer than most tests."""
    return functools.cache(cloud_process.client)


@pytest.fixture
def sagemaker(
    cloud: Cloud, sagemaker_model: ServiceModel, sagemaker_clients: Callable[[str, str], Any]
) -> Iterator[Endpoint]:
    """An endpoint whose containers are processes of this machine; quick, and true to the service model."""
    made = Endpoint(
        cloud,
        ProcessContainers(),
        stop_seconds=2.0,
        step_seconds=0.01,
        model=sagemaker_model,
        clients=sagemaker_clients,
    )
    made.start()
    try:
        yield made
    finally:
        made.close()
    assert made.faults_of_its_own == []

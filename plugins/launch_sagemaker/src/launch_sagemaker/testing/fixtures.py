"""pytest fixtures; a ``conftest.py`` imports those that it wants, with ``cloud`` of ``launch_aws``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from launch_aws.testing.cloud import Cloud

from launch_sagemaker.testing.containers import ProcessContainers
from launch_sagemaker.testing.endpoint import Endpoint
from launch_sagemaker.testing.model import ServiceModel


@pytest.fixture(scope="session")
def sagemaker_model() -> ServiceModel:
    """SageMaker's service model, read once."""
    return ServiceModel.load()


@pytest.fixture
def sagemaker(cloud: Cloud, sagemaker_model: ServiceModel) -> Iterator[Endpoint]:
    """An endpoint whose containers are processes of this machine; quick, and true to the service model."""
    made = Endpoint(cloud, ProcessContainers(), stop_seconds=2.0, step_seconds=0.01, model=sagemaker_model)
    made.start()
    try:
        yield made
    finally:
        made.close()
    assert made.faults_of_its_own == []

"""SageMaker and the rest of AWS on loopback, and nothing of this machine's own AWS."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from launch_aws.testing.fixtures import cloud, cloud_process, own_aws
from launch_sagemaker.testing.fixtures import sagemaker, sagemaker_clients, sagemaker_model
from launch_sagemaker.testing.model import ServiceModel
from launch_sagemaker.testing.scripted_logs import LogBench

__all__ = ["cloud", "cloud_process", "own_aws", "sagemaker", "sagemaker_clients", "sagemaker_model"]


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(
    own_aws: Path, sagemaker_model: ServiceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Descriptions of services are read once for all: that is most of what a new client costs."""
    monkeypatch.setattr("botocore.session.create_loader", lambda _: sagemaker_model.loader)


Threads = Callable[[], list[threading.Thread]]


@pytest.fixture
def threads() -> Threads:
    """Those of the plugin that this test has started, and that are alive."""
    before = set(threading.enumerate())
    return lambda: [
        each for each in threading.enumerate() if each.name.startswith("sagemaker-") and each not in before
    ]


@pytest.fixture
def bench() -> LogBench:
    """A CloudWatch that behaves as AWS documents it, and readers of its logs."""
    return LogBench()

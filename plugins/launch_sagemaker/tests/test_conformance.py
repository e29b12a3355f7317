"""The SageMaker runner passes the kit's suite; its training containers are processes of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from launch_aws.testing.cloud import Cloud
from launch_sagemaker.names import TAGS
from launch_sagemaker.testing.endpoint import Endpoint

from launchcore.plugin import RunHandle
from launchcore.testing.conformance import PackagingConformance, RunnerConformance
from launchcore.testing.conformance.bench import RunnerBench


class TestSageMakerRunner(RunnerConformance):
    plugin = "launch_sagemaker.plugin"
    name = "sagemaker"
    config: ClassVar = {
        "RoleArn": "arn:aws:iam::123456789012:role/launch-training",
        "OutputDataConfig": {"S3OutputPath": "s3://training/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
    }
    settings: ClassVar = {
        "store": "s3://training/launch",
        "requests_per_second": 50.0,
        "log_requests_per_second": 100.0,
        "look_seconds": 0.2,
        "appear_seconds": 1.0,
        "log_settle_seconds": 0.2,
    }
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/train:1"
    endpoint: Endpoint

    @pytest.fixture(autouse=True)
    def _use(self, sagemaker: Endpoint, cloud: Cloud, own_aws: Path) -> None:
        self.endpoint = sagemaker
        self.environment = ("launch_aws.plugin", sagemaker.environment())  # type: ignore[misc]
        cloud.client("s3").create_bucket(Bucket="training")

    def labels_of(self, bench: RunnerBench, handle: RunHandle) -> Mapping[str, str]:
        tags = self.endpoint.job(str(handle.data["name"])).tags
        return {**tags, **{core: tags[own] for core, own in TAGS.items()}}


class TestPackaging(PackagingConformance):
    distribution = "launchcore-sagemaker"

"""The environment, the registry and the distribution pass the kit's suites, on moto over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from launch_aws.testing.cloud import CANARY, PASSWORD, REGION, Cloud

from launchcore.plugin import ImageRef
from launchcore.testing.conformance import (
    EnvironmentConformance,
    PackagingConformance,
    RegistryConformance,
)
from launchcore.testing.conformance.registry import RegistryBench

NOBODY = {"endpoint_url": "http://127.0.0.1:1", "retries": 0}


class TestEnvironment(EnvironmentConformance):
    plugin = "launch_aws.plugin"
    name = "aws"
    stores = ("s3://my-bucket/contexts",)
    secrets = (CANARY,)
    wrong: Sequence[dict[str, Any]] = (
        NOBODY,
        {"profile": "nobody"},
        {"profile": "half"},
        {"profile": "empty"},
    )

    @pytest.fixture(autouse=True)
    def _parts(self, cloud: Cloud, own_aws: Path) -> None:
        (own_aws / "config").write_text("[profile empty]\nregion = us-east-1\n")
        (own_aws / "credentials").write_text("[half]\naws_access_key_id = AKIAHALF00000000\n")
        self.settings = {"region": REGION, "endpoint_url": cloud.url}


class TestRegistry(RegistryConformance):
    plugin = "launch_aws.plugin"
    name = "ecr"
    settings: Mapping[str, Any] = {"repository": "team/my-repo"}
    secret = PASSWORD
    away: Mapping[str, Any] | None = {}
    environment_away = NOBODY

    @pytest.fixture(autouse=True)
    def _parts(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.environment = {"region": REGION, "endpoint_url": cloud.url}

    def present(self, bench: RegistryBench) -> ImageRef:
        ref = ImageRef(name=f"{bench.full}:there")
        bench.registry.ensure(ref)
        manifest = json.dumps({"schemaVersion": 2, "layers": []}).encode()
        return ImageRef(name=ref.name, digest=self.cloud.put_image("team/my-repo", "there", manifest))


class TestPackaging(PackagingConformance):
    distribution = "launchcore-aws"

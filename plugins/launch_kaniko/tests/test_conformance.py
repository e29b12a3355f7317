"""The Kaniko builder passes the kit's suites, on the scripted API server; real builds: tests/live/kaniko."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from launch_k8s.testing.api_server import ApiServer
from launch_kaniko.testing.scripted import REPOSITORY, FolderRegistry, left, settings

from launchcore.plugin import BuiltImage, Login, Secret
from launchcore.testing.conformance import BuilderConformance, PackagingConformance
from launchcore.testing.conformance.build_bench import BuilderBench, Files


class TestKanikoBuilder(BuilderConformance):
    plugin = "launch_kaniko.plugin"
    name = "kaniko"
    repository = REPOSITORY
    logins = (Login(host="registry.example.com", username="u", password=Secret("p4ssword")),)

    @pytest.fixture(autouse=True)
    def _parts(self, server: ApiServer, tmp_path: Path) -> None:
        self.server = server
        self.pushed = FolderRegistry(tmp_path / "registry")
        self.registry = self.pushed
        self.settings = settings(tmp_path, server, self.pushed)

    @pytest.fixture(autouse=True)
    def _nothing_is_left(self, _parts: None, server: ApiServer) -> object:
        yield
        assert left(server) == []

    def example(self, number: int) -> Files:
        return {"Dockerfile": f"FROM base\nRUN say {number}\n", "train.py": ""}

    def broken(self) -> Files | None:
        return {"Dockerfile": f"FROM base\nRUN say {os.getpid()}\nRUN exit 3\n"}

    def labels_of(self, bench: BuilderBench, image: BuiltImage) -> Mapping[str, str]:
        labels: Mapping[str, str] = self.pushed.image(image.ref.name)["labels"]
        return labels


class TestPackaging(PackagingConformance):
    distribution = "launchcore-kaniko"
    light = frozenset({"launchcore-k8s"})

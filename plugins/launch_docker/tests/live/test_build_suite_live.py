"""The Docker builder passes the kit's suite, on a real engine, with both of its ways to build."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from launch_docker import build_kit
from launch_docker.testing.fixtures import IMAGE
from launch_docker.testing.registry import PASSWORD, USER, RegistryMachine
from launch_docker.testing.workplace import running_registry

from launchcore.plugin import BuiltImage, Login, Secret
from launchcore.testing.conformance import BuilderConformance
from launchcore.testing.conformance.build_bench import BuilderBench, Files

pytestmark = [pytest.mark.live]

TOOLS = Path.home() / ".cache" / "launchcore" / "tools"


@pytest.fixture(scope="module")
def registry() -> Iterator[RegistryMachine]:
    with running_registry() as machine:
        yield machine


@pytest.fixture(autouse=True)
def _docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "docker-config"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"cliPluginsExtraDirs": [str(TOOLS)]}))
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))


class Suite(BuilderConformance):
    plugin = "launch_docker.plugin"
    name = "docker"
    buildkit = "never"

    @pytest.fixture(autouse=True)
    def _parts(self, docker_host: str, registry: RegistryMachine, tmp_path: Path) -> None:
        # Of its own for each test: what one has built, another must not find.
        self.unique = str(tmp_path)
        self.settings = {"host": docker_host, "network": "none", "buildkit": self.buildkit}
        self.repository = f"{registry.host}/suite/{self.buildkit}"
        self.logins = (Login(host=registry.host, username=USER, password=Secret(PASSWORD)),)

    def example(self, number: int) -> Files:
        return {"Dockerfile": f"FROM {IMAGE}\nRUN echo {self.unique} {number} > /number\n", "train.py": ""}

    def broken(self) -> Files | None:
        return {"Dockerfile": f"FROM {IMAGE}\nRUN echo broken; exit 1\n"}

    def labels_of(self, bench: BuilderBench, image: BuiltImage) -> Mapping[str, str]:
        builder: Any = bench.builder
        labels: Mapping[str, str] = builder.engine.get(f"/images/{image.ref.name}/json")["Config"]["Labels"]
        return labels


class TestClassicBuilder(Suite):
    pass


if build_kit.version() or (TOOLS / "docker-buildx").exists():

    class TestBuildKitBuilder(Suite):
        buildkit = "always"

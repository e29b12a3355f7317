"""The Docker runner passes the kit's suite, on a real engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from launch_docker.engine import Engine
from launch_docker.testing.fixtures import IMAGE
from launch_docker.testing.private import PrivateImage, private_image
from launch_docker.testing.workplace import running_registry

from launchcore.plugin import Login, RunHandle
from launchcore.testing.conformance import RunnerConformance
from launchcore.testing.conformance.bench import RunnerBench

pytestmark = [pytest.mark.live]


class TestDockerRunner(RunnerConformance):
    plugin = "launch_docker.plugin"
    name = "docker"
    image = IMAGE
    private: PrivateImage

    @pytest.fixture(autouse=True)
    def _engine(self, docker_host: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DOCKER_HOST", docker_host)

    def labels_of(self, bench: RunnerBench, handle: RunHandle) -> Mapping[str, str]:
        labels: Mapping[str, str] = inspect(bench, handle)["Config"]["Labels"]
        return labels

    def volumes_of(self, bench: RunnerBench, handle: RunHandle) -> Mapping[str, str]:
        return {each["Destination"]: each["Source"] for each in inspect(bench, handle)["Mounts"]}

    @pytest.fixture(autouse=True)
    def _private(self, request: pytest.FixtureRequest, engine: Engine) -> Iterator[None]:
        """The engine pulls with a login, and the run never sees it: so it runs what only the login gets."""
        if request.function.__name__ != "test_logins_reach_the_run":
            yield
            return
        with running_registry() as registry, private_image(engine, registry, IMAGE) as private:
            self.private, self.image = private, private.name  # type: ignore[misc]
            yield

    def login(self) -> Login:
        login = self.private.given().logins[0]
        assert isinstance(login, Login)
        return login

    def logins_of(self, bench: RunnerBench, handle: RunHandle) -> Sequence[str]:
        assert inspect(bench, handle)["Config"]["Image"] == self.private.name
        return [self.private.registry.host]


def inspect(bench: RunnerBench, handle: RunHandle) -> dict[str, Any]:
    runner: Any = bench.runner
    found: dict[str, Any] = runner.engine.get(f"/containers/{handle.data['id']}/json")
    return found

"""One agent's builder, a source tree, and what a test asks about the results."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from launch_docker.build_settings import BuilderSettings
from launch_docker.builder import DockerBuilder
from launch_docker.testing.fixtures import unavailable
from launch_docker.testing.python_image import PYTHON_IMAGE
from launch_docker.testing.registry import PASSWORD, USER, RegistryMachine, missing_registry
from launchcore.plugin import (
    OWNER_LABEL,
    BuildPlan,
    BuiltImage,
    Destination,
    Given,
    ImageRef,
    LaunchError,
    Login,
    Secret,
    SourceRef,
    SourceTree,
)
from launchcore.testing.context import RecordingContext
from launchcore.testing.sites import make_site


@contextlib.contextmanager
def running_registry(*, login: bool = True, tls: bool = False) -> Iterator[RegistryMachine]:
    """A registry; where none can be had the test is skipped or fails."""
    if why := missing_registry(login=login, tls=tls):
        unavailable(why)
    machine = RegistryMachine(login=login, tls=tls)
    try:
        machine.start()
        yield machine
    finally:
        machine.close()


class Workplace:
    """Without a ``registry`` images stay on the engine."""

    def __init__(self, root: Path, host: str, registry: RegistryMachine | None, **settings: Any) -> None:
        self.tree = root / "tree"
        self.registry = registry
        self.site = make_site(root / "site")
        defaults = {"host": host, "base_image": PYTHON_IMAGE, "network": "none", "buildkit": "never"}
        self.settings = BuilderSettings(**{**defaults, **settings})
        self.builder = DockerBuilder(self.settings, self.site)
        self.engine = self.builder.engine
        self.context = RecordingContext()
        self.count = 0

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    @property
    def repository(self) -> str | None:
        return f"{self.registry.host}/team/train" if self.registry else None

    def plan(self, **changes: Any) -> BuildPlan:
        """A plan for a new attempt."""
        self.count += 1
        to = Destination(registry="oci", repository=self.repository) if self.repository else None
        plan = BuildPlan(
            run_id=f"r{self.count}",
            attempt_id=f"r{self.count}-1",
            queue="q",
            tree=SourceTree(path=self.tree, identity="x", pinned=SourceRef(type="archive")),
            destination=to,
            settings=self.settings,
            labels={OWNER_LABEL: self.site.owner},
        )
        return attrs.evolve(plan, **changes)

    def given(self, password: str | None = PASSWORD, **more: Any) -> Given:
        """The registry's login, and further contributions."""
        if self.registry is None or password is None:
            return Given(**more)
        login = Login(host=self.registry.host, username=USER, password=Secret(password))
        return Given(logins=(login,), **more)

    def build(self, plan: BuildPlan | None = None, given: Given | None = None) -> BuiltImage:
        self.context = RecordingContext()
        return self.builder.build(plan or self.plan(), given or self.given(), self.context)

    def push(self, image: BuiltImage, given: Given | None = None) -> ImageRef:
        return self.builder.push(image, self.plan(), given or self.given(), self.context)

    def fails(self, plan: BuildPlan | None = None, given: Given | None = None) -> LaunchError:
        """Build, and give the error: one line, and what to do."""
        with pytest.raises(LaunchError) as caught:
            self.build(plan, given)
        assert "\n" not in caught.value.detail
        assert caught.value.hint
        return caught.value

    def logged(self, text: str) -> bool:
        return any(text in line for line in self.context.lines)

    def containers(self) -> list[str]:
        found = self.engine.get("/containers/json", all=True)
        return [str(each["Id"]) for each in found]

    def inspect(self, image: ImageRef) -> dict[str, Any]:
        found: dict[str, Any] = self.engine.get(f"/images/{image.name}/json")
        return found

    def run(self, image: str, *command: str) -> str:
        """What a container of it prints."""
        body = {"Image": image, "Cmd": list(command), "HostConfig": {"NetworkMode": "none"}}
        made = self.engine.request("POST", "/containers/create", body=body).json()["Id"]
        try:
            self.engine.request("POST", f"/containers/{made}/start")
            self.engine.request("POST", f"/containers/{made}/wait", seconds=60)
            path = f"/containers/{made}/logs"
            logs = self.engine.request("GET", path, params={"stdout": True, "stderr": True})
            return logs.content.decode("utf-8", "replace")
        finally:
            self.engine.request("DELETE", f"/containers/{made}", params={"force": True})

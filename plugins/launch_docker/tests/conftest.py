"""A real engine for the live tests, and a runner on it without an agent."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from launch_docker.engine import Engine
from launch_docker.runner import DockerRunner
from launch_docker.settings import RunConfig, Settings
from launch_docker.testing.fixtures import IMAGE, docker_host, docker_machine, engine, own_machine
from launch_docker.testing.machine import wait_until

from launchcore.plugin import (
    ATTEMPT_LABEL,
    OWNER_LABEL,
    QUEUE_LABEL,
    RUN_LABEL,
    Given,
    ImageRef,
    RunHandle,
    RunPlan,
    RunStatus,
)
from launchcore.testing.context import RecordingContext
from launchcore.testing.sites import make_site

__all__ = ["docker_host", "docker_machine", "engine", "own_machine"]


class Bench:
    """One runner at one site, and what it has started."""

    def __init__(self, root: Path, host: str, **settings: Any) -> None:
        self.root = root
        self.host = host
        self.site = make_site(root)
        self.context = RecordingContext()
        self.settings = Settings(host=host, **settings)
        self.engines: list[Engine] = []
        self.runner = self.again()
        self.engine = self.runner.engine
        self.run = uuid.uuid4().hex[:8]
        self.number = 0

    def again(self) -> DockerRunner:
        """Another runner at the same site, as an agent that was restarted has it."""
        self.engines.append(Engine(self.settings, environ={}))
        return DockerRunner(self.engines[-1], self.site)

    def plan(self, *command: str, config: RunConfig | None = None, **changes: Any) -> RunPlan:
        self.number += 1
        attempt = f"{self.run}-{self.number}"
        labels = {OWNER_LABEL: self.site.owner, RUN_LABEL: self.run, ATTEMPT_LABEL: attempt, QUEUE_LABEL: "q"}
        made: dict[str, Any] = {
            "run_id": self.run,
            "attempt_id": attempt,
            "attempt": self.number,
            "queue": "q",
            "name": f"launch-{attempt}",
            "settings": config or RunConfig(),
            "command": command,
            "image": ImageRef(name=IMAGE),
            "labels": labels,
            "scratch": self.root,
        }
        return RunPlan(**{**made, **changes})

    def start(self, plan: RunPlan, given: Given | None = None) -> RunHandle:
        self.runner.prepare(plan, given or Given(), self.context)
        return self.runner.start(plan, given or Given())

    def status(self, handle: RunHandle) -> RunStatus:
        return self.runner.poll([handle])[handle.key]

    def end(self, handle: RunHandle, seconds: float = 30.0) -> RunStatus:
        wait_until("the end", lambda: self.status(handle).phase.final, seconds=seconds)
        return self.status(handle)

    def log(self, handle: RunHandle, runner: DockerRunner | None = None) -> bytes:
        found, cursor = bytearray(), None
        reader = runner or self.runner

        def read() -> bool:
            nonlocal cursor
            batch = reader.logs(handle, cursor, 1 << 20)
            cursor = batch.cursor
            found.extend(batch.data)
            assert batch.gap is None
            return batch.end

        wait_until("the log's end", read)
        return bytes(found)

    def log_with(self, handle: RunHandle, text: bytes, times: int = 1) -> bytes:
        """The log so far, once it has ``text`` in it."""
        found, cursor = bytearray(), None

        def read() -> bool:
            nonlocal cursor
            batch = self.runner.logs(handle, cursor, 1 << 16)
            cursor = batch.cursor
            found.extend(batch.data)
            return found.count(text) >= times

        wait_until(f"{text!r} in the log", read)
        return bytes(found)

    def inspect(self, handle: RunHandle) -> dict[str, Any]:
        found: dict[str, Any] = self.engine.get(f"/containers/{handle.data['id']}/json")
        return found

    def close(self) -> None:
        for handle in self.runner.owned():
            self.runner.cleanup(handle)
        for each in self.engines:
            each.close()


@pytest.fixture
def make_bench(tmp_path: Path, docker_host: str) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(host: str = docker_host, **settings: Any) -> Bench:
        made.append(Bench(tmp_path / f"bench-{len(made)}", host, **settings))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()

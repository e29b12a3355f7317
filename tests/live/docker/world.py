"""The world of the crash tests with containers instead of processes. They write their history themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launch_docker.engine import Engine
from launch_docker.errors import EngineAway, EngineError
from launch_docker.settings import Settings
from launch_docker.testing.fixtures import IMAGE

from launchcore.plugin import ATTEMPT_LABEL, RetryPolicy, RunSpec, SourceRef
from tests.crash.world import AgentProcess, World

JOB = """\
note() { read up rest < /proc/uptime; echo "$1 $LAUNCH_ATTEMPT_ID $up $$" >> /history/history; }
note start
number=0
while [ $number -lt $1 ]; do
  echo "line $number of $LAUNCH_ATTEMPT_ID"
  number=$((number + 1))
  usleep $2
done
note end
"""
"""Arguments: lines, microseconds for each."""


class DockerWorld(World):
    """Queue ``q`` is of type docker; its containers may write into the history's directory only."""

    def __init__(self, root: Path, docker_host: str) -> None:
        super().__init__(root)
        self.docker_host = docker_host
        self.engine = Engine(Settings(host=docker_host, answer_seconds=30.0), environ={})
        self.history.unlink()
        (root / "shared").mkdir()
        self.history = root / "shared" / "history"
        self.history.touch()

    def queue(self, name: str = "q", **config: Any) -> None:
        target = {"mounts": [f"{self.root}/shared:/history"], **config.pop("config", {})}
        merged: dict[str, Any] = {"type": "docker", "config": target, "retry": RetryPolicy(max_lost=5)}
        super().queue(name, **{**merged, **config})

    def submit(self, *, seconds: float = 0.4, lines: int = 20, queue: str = "q", **spec: Any) -> str:
        pause = str(int(seconds / lines * 1e6))
        command = spec.pop("command", ("sh", "-c", JOB, "job", str(lines), pause))
        source = SourceRef(type="image", fields={"image": spec.pop("image", IMAGE)})
        return self.service.submit(queue, RunSpec(source=source, command=command, **spec)).id

    def agent(
        self, name: str | None = "one", *, environ: Mapping[str, str] | None = None, **options: Any
    ) -> AgentProcess:
        more = {"DOCKER_HOST": self.docker_host, "DOCKER_CONFIG": str(self.root), **(environ or {})}
        return super().agent(name, environ=more, **options)

    def containers(self) -> list[dict[str, Any]]:
        """Those of this world's attempts."""
        ours = {attempt.id for run in self.runs() for attempt in run.attempts}
        found = self.engine.get("/containers/json", all=True, filters={"label": [ATTEMPT_LABEL]})
        return [each for each in found if each["Labels"][ATTEMPT_LABEL] in ours]

    def leftovers(self) -> list[str]:
        found = [f"container {each['Names']} {each['Status']}" for each in self.containers()]
        found += [str(path) for path in (self.state / "attempts").glob("*")]
        for place in (Path("/run"), Path("/dev/shm")):
            for run in self.runs():
                found += [str(path) for path in place.glob(f"launchcore-*/*/{run.id}-*")]
        return found

    def close(self) -> None:
        with contextlib.suppress(EngineAway, EngineError):
            for each in self.containers():
                self.engine.request("DELETE", f"/containers/{each['Id']}", params={"force": True, "v": True})
        self.engine.close()
        super().close()

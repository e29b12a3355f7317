"""``launch demo`` on an engine: a real build and run without network, and nothing of it afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from launch_docker.engine import Engine
from launch_docker.testing.fixtures import IMAGE
from launch_docker.testing.machine import Machine, wait_until
from launch_docker.testing.python_image import python_image

pytestmark = pytest.mark.live


def start(machine: Machine, directory: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "launchcore.cli", "demo", "--directory", str(directory), *words]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "DOCKER_HOST": machine.url},
    )


def demo(machine: Machine, directory: Path, *words: str) -> str:
    process = start(machine, directory, *words)
    said, _ = process.communicate(timeout=110)
    assert process.returncode == 0, said
    return said


@pytest.fixture
def users(own_machine: Machine) -> Iterator[Engine]:
    """The engine of somebody who has a container of their own on it."""
    engine = own_machine.engine()
    body = {"Image": IMAGE, "Cmd": ["sleep", "600"], "HostConfig": {"NetworkMode": "none"}}
    made = engine.request("POST", "/containers/create", params={"name": "mine"}, body=body).json()["Id"]
    engine.request("POST", f"/containers/{made}/start")
    yield engine
    engine.close()


def everything(engine: Engine) -> Any:
    """All containers and images, the intermediate ones too."""
    containers = [(each["Names"], each["State"]) for each in engine.get("/containers/json", all=True)]
    return sorted(containers), sorted(each["Id"] for each in engine.get("/images/json", all=True))


def test_the_demo_uses_the_engine_and_leaves_it_as_it_was(
    own_machine: Machine, users: Engine, tmp_path: Path
) -> None:
    before = everything(users)
    said = demo(own_machine, tmp_path / "demo")

    assert "--type docker" in said
    assert "from a generated Dockerfile" in said
    assert "epoch 20/20" in said
    assert everything(users) == before


def test_an_image_of_python_that_the_engine_has_is_used_and_kept(
    own_machine: Machine, users: Engine, tmp_path: Path
) -> None:
    python_image(users, "python:3.12-slim")
    before = everything(users)
    said = demo(own_machine, tmp_path / "demo", "--runner", "docker")

    assert "FROM python:3.12-slim" in said
    assert everything(users) == before


def test_told_to_end_in_the_middle_it_leaves_nothing(
    own_machine: Machine, users: Engine, tmp_path: Path
) -> None:
    before = everything(users)
    process = start(own_machine, tmp_path / "demo")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch"):
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=100)

    wait_until("the engine is as it was", lambda: everything(users) == before)

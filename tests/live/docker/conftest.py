"""A world whose runs are containers, on a real engine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from launch_docker.testing.fixtures import docker_host, docker_machine, engine, own_machine
from launch_docker.testing.machine import Machine

from tests.live.docker.world import DockerWorld

__all__ = ["docker_host", "docker_machine", "engine", "own_machine"]


@pytest.fixture
def world(docker_host: str) -> Iterator[DockerWorld]:
    made = DockerWorld(Path(tempfile.mkdtemp(prefix="lc-")), docker_host)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def own_world(own_machine: Machine) -> Iterator[DockerWorld]:
    """On an engine that the test may kill."""
    made = DockerWorld(Path(tempfile.mkdtemp(prefix="lc-")), own_machine.url)
    try:
        yield made
    finally:
        made.close()

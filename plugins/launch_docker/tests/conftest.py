"""A real engine for the live tests."""

from __future__ import annotations

from launch_docker.testing.fixtures import docker_host, docker_machine, engine, own_machine

__all__ = ["docker_host", "docker_machine", "engine", "own_machine"]

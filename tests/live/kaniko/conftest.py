"""The place of the live builds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from launch_docker.testing.fixtures import docker_machine

from tests.live.kaniko.place import CREDENTIALS, Place, running_place
from tests.live.kubernetes.cluster import LiveCluster, cluster, own_cluster

__all__ = ["cluster", "docker_machine", "own_cluster"]


@pytest.fixture(scope="session")
def place(cluster: LiveCluster) -> Iterator[Place]:
    with running_place(cluster) as made:
        yield made


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent's own way to the store."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)

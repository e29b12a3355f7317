"""The scripted API server, and a runner on it; a real cluster for the live tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from launch_k8s.testing.api_server import ApiServer
from launch_k8s.testing.scripted import Bench

from tests.live.kubernetes.cluster import absent_image, cluster, own_cluster

__all__ = ["absent_image", "cluster", "own_cluster"]


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer(token="t0ken") as made:
        yield made


@pytest.fixture
def bench(tmp_path: Path, server: ApiServer) -> Bench:
    return Bench(tmp_path, server)

"""The scripted API server; a real cluster for the live tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from launch_k8s.testing.api_server import ApiServer

from tests.live.kubernetes.cluster import cluster, empty_registry, own_cluster

__all__ = ["cluster", "empty_registry", "own_cluster"]


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer(token="t0ken") as made:
        yield made

"""A world whose runs are Jobs, on a real cluster."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.kubernetes.cluster import LiveCluster, absent_image, cluster, own_cluster
from tests.live.kubernetes.world import KubernetesWorld

__all__ = ["absent_image", "cluster", "own_cluster"]


@pytest.fixture
def world(cluster: LiveCluster) -> Iterator[KubernetesWorld]:
    made = KubernetesWorld(Path(tempfile.mkdtemp(prefix="lc-")), cluster)
    try:
        yield made
    finally:
        made.close()

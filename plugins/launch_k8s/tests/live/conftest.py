"""A real cluster for the live tests."""

from __future__ import annotations

from tests.live.kubernetes.cluster import cluster, empty_registry, own_cluster

__all__ = ["cluster", "empty_registry", "own_cluster"]

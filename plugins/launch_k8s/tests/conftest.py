"""The scripted API server, and a runner on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from launch_k8s.testing.api_server import ApiServer
from launch_k8s.testing.scripted import Bench


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer(token="t0ken") as made:
        yield made


@pytest.fixture
def bench(tmp_path: Path, server: ApiServer) -> Bench:
    return Bench(tmp_path, server)

"""The scripted API server. The live tests stand in ``tests/live/kaniko``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from launch_k8s.testing.api_server import ApiServer


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer(token="t0ken") as made:
        yield made

"""The scripted API server, and a model of S3. The live tests stand in ``tests/live/kaniko``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from launch_k8s.testing.api_server import ApiServer
from launch_kaniko.testing.store import Proxy, World, s3_server


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer(token="t0ken") as made:
        yield made


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def world(s3: str, request: pytest.FixtureRequest) -> World:
    return World(s3, "b" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:20])


@pytest.fixture
def proxy(s3: str) -> Iterator[Proxy]:
    with Proxy(s3) as proxy:
        yield proxy

"""pytest fixtures; a ``conftest.py`` imports those that it wants.

``docker_host`` is the URL of an engine with the image :data:`IMAGE` on it: the one that
``LAUNCHCORE_TEST_DOCKER_HOST`` names, or one that is started for the session. Where neither can be had the
test is skipped, or fails when ``LAUNCHCORE_REQUIRE_LIVE=1`` says that live tests are wanted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from launch_docker.engine import Engine
from launch_docker.settings import Settings
from launch_docker.testing.machine import Machine, base_image, missing

IMAGE = "launchcore-test:busybox"
BARE_IMAGE = "launchcore-test:no-shell"


def unavailable(why: str) -> None:
    """A live test cannot run here."""
    if os.environ.get("LAUNCHCORE_REQUIRE_LIVE") == "1":
        pytest.fail(f"a live test is wanted, and cannot run: {why}")
    pytest.skip(why)


@pytest.fixture(scope="session")
def docker_machine() -> Iterator[Machine]:
    """An engine of this session's own."""
    why = missing()
    if why is not None:
        unavailable(why)
    machine = Machine()
    try:
        machine.start()
        yield machine
    finally:
        machine.close()


@pytest.fixture(scope="session")
def docker_host(request: pytest.FixtureRequest) -> str:
    """The URL of an engine with the test images."""
    url = os.environ.get("LAUNCHCORE_TEST_DOCKER_HOST") or request.getfixturevalue("docker_machine").url
    engine = Engine(Settings(host=url, answer_seconds=30.0), environ={})
    base_image(engine, IMAGE)
    base_image(engine, BARE_IMAGE, shell=False)
    engine.close()
    return str(url)


@pytest.fixture
def engine(docker_host: str) -> Iterator[Engine]:
    """A client of it."""
    made = Engine(Settings(host=docker_host, answer_seconds=30.0), environ={})
    yield made
    made.close()


@pytest.fixture
def own_machine() -> Iterator[Machine]:
    """An engine of this test's own, to be killed and restarted."""
    why = missing()
    if why is not None:
        unavailable(why)
    machine = Machine()
    try:
        machine.start()
        client = machine.engine()
        base_image(client, IMAGE)
        client.close()
        yield machine
    finally:
        machine.close()

"""A registry that is lost in mid-pull, as a whole run sees it: tried again, and it succeeds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from launch_docker.testing.cutting import CuttingProxy
from launch_docker.testing.fixtures import unavailable
from launch_docker.testing.machine import Machine, missing, wait_until
from launch_docker.testing.private import pushed_and_gone
from launch_docker.testing.workplace import running_registry

from launchcore.plugin import Failure, Fault, Reason, RetryPolicy, RunState
from tests.live.docker.world import DockerWorld

pytestmark = pytest.mark.live


@pytest.fixture
def impatient_world() -> Iterator[DockerWorld]:
    """On an engine that does not try a download again by itself."""
    if why := missing():
        unavailable(why)
    machine = Machine("--max-download-attempts=1")
    try:
        machine.start()
        made = DockerWorld(Path(tempfile.mkdtemp(prefix="lc-")), machine.url)
        try:
            yield made
        finally:
            made.close()
    finally:
        machine.close()


def first_failure(world: DockerWorld, run: str) -> Failure | None:
    attempts = world.service.run(run).attempts
    return attempts[0].failure if attempts else None


@pytest.mark.parametrize("comes_back", [True, False])
def test_the_registry_is_lost_in_mid_pull(impatient_world: DockerWorld, comes_back: bool) -> None:
    """The run is tried again; when that fails, too, it is not by its own fault. Nothing is left."""
    world = impatient_world
    with running_registry(login=False) as registry:
        proxy = CuttingProxy(registry.port)
        try:
            image = pushed_and_gone(world.engine, f"{proxy.host}/team/large:1")
            proxy.cut(after=4 << 20)
            world.queue(retry=RetryPolicy(max_retries=1, delay_seconds=0.5))
            world.agent()
            run = world.submit(image=image.name, lines=1, seconds=0.01)
            wait_until("the first attempt has failed", lambda: first_failure(world, run))
            if comes_back:
                proxy.heal()
            world.finished(seconds=90)
        finally:
            proxy.close()
    seen = world.service.run(run)
    failure = seen.attempts[0].failure

    assert len(seen.attempts) == 2
    assert failure is not None
    assert (failure.reason, failure.fault) == (Reason.IMAGE_PULL, Fault.INFRASTRUCTURE)
    assert seen.state is (RunState.SUCCEEDED if comes_back else RunState.FAILED)
    wait_until("nothing is left", lambda: world.leftovers() == [])

"""The Docker builder with the registry `ecr`: a real engine, a real registry as the plugin's `host` that
wants AWS's user and token; moto answers for the API.

What moto cannot know is what was pushed to the registry beside it: the test tells it, as ECR would know.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from launch_aws.testing.cloud import CANARY, KEY_ID, PASSWORD, REGION, Cloud
from launch_docker.engine import Engine
from launch_docker.testing.fixtures import IMAGE, docker_host, docker_machine, engine
from launch_docker.testing.registry import RegistryMachine

from launchcore.plugin import Reason, RunSpec, RunState
from launchcore.queues.base import RunInfo
from tests.crash import invariants
from tests.live.docker.world import DockerWorld
from tests.live.ecr import make_known, storage

__all__ = ["docker_host", "docker_machine", "engine", "storage"]

pytestmark = [pytest.mark.live]


class Place:
    """An agent in AWS, and a queue of its builds."""

    def __init__(self, world: DockerWorld, cloud: Cloud, storage: RegistryMachine) -> None:
        self.world = world
        self.cloud = cloud
        self.storage = storage
        self.name = f"team/train{time.time_ns()}"
        self.config = world.root / "launch-config.yaml"
        self.config.write_text(
            f"environment: {{type: aws, region: {REGION}, endpoint-url: '{cloud.url}'}}\n"
            f"registry: {{type: ecr, repository: {self.name}, host: '{storage.host}'}}\n"
            "builder: {type: docker, network: none, buildkit: never}\n"
        )
        world.queue()

    def agent(self) -> None:
        self.world.agent(args=("--config", str(self.config)))

    def submit(self, word: str) -> RunInfo:
        tree = self.world.root / "job"
        tree.mkdir(exist_ok=True)
        (tree / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN echo {word} of {self.name} > /word\n")
        spec = RunSpec(source=self.world.upload(), command=("cat", "/word"))
        run = self.world.service.submit("q", spec).id
        self.world.finished(seconds=110)
        return next(each for each in self.world.runs() if each.id == run)

    def built(self, run: RunInfo) -> bool:
        return b"Step 1/" in self.world.log(run.id)


@pytest.fixture
def place(docker_host: str, cloud: Cloud, storage: RegistryMachine) -> Iterator[Place]:
    world = DockerWorld(Path(tempfile.mkdtemp(prefix="lc-")), docker_host)
    try:
        yield Place(world, cloud, storage)
    finally:
        world.close()


def test_a_source_is_built_pushed_pulled_by_digest_and_built_no_second_time(
    place: Place, engine: Engine
) -> None:
    place.agent()
    first = place.submit("hello")
    assert first.state is RunState.SUCCEEDED, place.world.report()
    assert place.built(first)
    assert f"hello of {place.name}".encode() in place.world.log(first.id)
    name, _, digest = (first.image or "").partition("@")
    assert name.startswith(f"{place.storage.host}/{place.name}:")
    made = place.cloud.client("ecr").describe_repositories()["repositories"]
    assert [one["repositoryName"] for one in made] == [place.name]

    # ECR knows what was pushed to it; the engine has lost it, and pulls it with the token.
    assert make_known(place.cloud, place.storage, name) == digest
    engine.request("DELETE", f"/images/{name}", params={"force": True})

    second = place.submit("hello")
    assert second.state is RunState.SUCCEEDED, place.world.report()
    assert second.image == first.image
    assert not place.built(second)
    assert f"hello of {place.name}".encode() in place.world.log(second.id)

    third = place.submit("changed")
    assert third.state is RunState.SUCCEEDED, place.world.report()
    assert third.image != first.image
    assert place.built(third)

    told = [agent.text() for agent in place.world.agents]
    told += [place.world.log(run.id).decode() for run in (first, second, third)]
    told += [str(run) for run in (first, second, third)]
    for secret in (PASSWORD, CANARY, KEY_ID):
        assert not any(secret in text for text in told)
    invariants.nothing_left(place.world)


def test_a_token_that_the_registry_does_not_take(place: Place) -> None:
    (place.storage.root / "htpasswd").write_text("")
    try:
        place.agent()
        ended = place.submit("refused")
    finally:
        place.storage.kill()
        place.storage.start()
    assert ended.state is RunState.FAILED
    assert ended.failure is not None
    assert ended.failure.reason is Reason.PUSH_FAILED
    assert "unauthorized" in ended.failure.detail
    assert "look at username and password" in (ended.failure.hint or "")
    assert PASSWORD not in ended.failure.one_line()

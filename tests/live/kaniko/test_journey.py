"""Real agents with the Kaniko builder: from a git repository to a Job by digest, and killed on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launchcore.plugin import Fault, Reason, RunState
from launchcore.queues.base import RunInfo
from tests.crash.world import AgentProcess, wait_until
from tests.live.kaniko.place import CREDENTIALS, Place, unique
from tests.live.kubernetes.world import KubernetesWorld

pytestmark = [pytest.mark.live]


class World(KubernetesWorld):
    """Its agents build with Kaniko, what a git repository has."""

    def __init__(self, root: Path, place: Place, **queue: Any) -> None:
        super().__init__(root, place.cluster)
        self.place = place
        self.config = root / "agent.yaml"
        self.configure()
        self.source = root / "source"
        self.source.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.queue(**queue)

    def configure(self, **builder: Any) -> None:
        said = {
            "registry": {
                "type": "oci",
                **{k.replace("_", "-"): v for k, v in self.place.oci_settings(self.root).items()},
            },
            "builder": {"type": "kaniko", **self.place.settings(**builder)},
        }
        self.config.write_text(json.dumps(said))

    def git(self, *words: str) -> None:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.com")
        subprocess.run(["git", *who, *words], cwd=self.source, check=True, capture_output=True)

    def commit(self, *lines: str) -> None:
        (self.source / "Dockerfile").write_text(self.place.dockerfile(*lines))
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "x")

    def builder_agent(self, name: str = "one", **options: Any) -> AgentProcess:
        return self.agent(name, environ=CREDENTIALS, args=("--config", str(self.config)), **options)

    def submitted(self, *command: str) -> str:
        """By the command line, as a person does it."""
        words = ["submit", "--git", str(self.source), "--queue", "q", "--json", "--", *command]
        environ = {**os.environ, "LAUNCHCORE_BASE_URL": self.url, "HOME": str(self.root), "NO_COLOR": "1"}
        told = subprocess.run(
            [sys.executable, "-m", "launchcore", *words],
            capture_output=True,
            text=True,
            check=False,
            env=environ,
        )
        assert told.returncode == 0, told.stdout + told.stderr
        found = json.loads(told.stdout)
        return str(found["id"] if "id" in found else found["run"]["id"])

    def succeeded(self, run: str) -> RunInfo:
        ended = self.ended(run, seconds=90)
        assert ended.state is RunState.SUCCEEDED, f"{ended.failure}\n{self.report()}"
        return ended

    def nothing_left(self) -> None:
        wait_until("nothing of a build is left", lambda: not self.place.left(), seconds=40)


@pytest.fixture
def world(place: Place) -> Iterator[World]:
    made = World(Path(tempfile.mkdtemp(prefix="lc-")), place)
    try:
        yield made
        made.nothing_left()
    finally:
        made.close()


def test_from_git_to_a_job_by_digest(world: World) -> None:
    world.commit(f"RUN echo {unique()} > /number", "CMD cat /number")
    world.builder_agent()
    first = world.submitted("cat", "/number")
    ended = [world.succeeded(first)]
    second = world.submitted("cat", "/number")
    ended.append(world.succeeded(second))
    assert len(world.log(first).strip().splitlines()[-1]) == 32
    images = {str(each.image) for each in ended}
    assert len(images) == 1
    assert "@sha256:" in images.pop()
    assert b"nothing to build" not in world.log(first)
    assert b"nothing to build" in world.log(second)


def test_a_failing_dockerfile_in_the_journey(world: World) -> None:
    world.commit(f"RUN echo {unique()}; exit 5")
    world.builder_agent()
    ended = world.ended(world.submitted("true"), seconds=90)
    assert ended.failure is not None
    assert (ended.failure.reason, ended.failure.fault) == (Reason.BUILD_FAILED, Fault.USER)
    assert "exit code 5" in ended.failure.detail
    assert str(ended.failure.plugin).startswith("launchcore-kaniko")


def _begun(world: World, run: str) -> bool:
    return b"begun" in world.log(run)


STEPS: dict[str, Callable[[World, str], bool]] = {
    "after the upload": lambda world, run: b"its context goes to" in world.log(run),
    "after the Job": lambda world, _: bool(world.place.left()),
    "in mid-build": _begun,
}


@pytest.mark.parametrize("failpoint", ["build.before", "build.after"])
def test_an_agent_that_dies_around_the_build(world: World, failpoint: str) -> None:
    world.commit(f"RUN echo {unique()} > /number")
    agent = world.builder_agent(failpoints=f"{failpoint}=kill*1")
    run = world.submitted("cat", "/number")
    agent.died()
    world.builder_agent()
    world.succeeded(run)


@pytest.mark.parametrize("step", STEPS)
def test_an_agent_that_is_killed_while_it_builds(world: World, step: str) -> None:
    """The next attempt takes over what goes on, or begins anew when the sweep was there before it."""
    world.commit(f"RUN echo begun {unique()}; sleep 4; echo done > /number")
    agent = world.builder_agent()
    run = world.submitted("cat", "/number")
    wait_until(step, lambda: STEPS[step](world, run))
    agent.kill()
    world.builder_agent()
    ended = world.succeeded(run)
    assert ended.attempts[-1].number > 1


def test_a_build_that_is_cancelled_while_its_agent_is_dead(world: World) -> None:
    """The agent that comes back removes what it had begun."""
    world.commit(f"RUN echo begun {unique()}; sleep 300")
    agent = world.builder_agent()
    run = world.submitted("true")
    wait_until("it builds", lambda: _begun(world, run))
    agent.kill()
    world.service.cancel(run)
    world.builder_agent()
    assert world.ended(run, seconds=60).state is RunState.CANCELLED
    world.nothing_left()


def test_a_cancel_while_it_builds(world: World) -> None:
    world.commit(f"RUN echo begun {unique()}; sleep 300")
    world.builder_agent()
    run = world.submitted("true")
    wait_until("it builds", lambda: _begun(world, run))
    world.service.cancel(run)
    assert world.ended(run).state is RunState.CANCELLED

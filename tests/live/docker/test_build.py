"""From a git repository to a container, through a registry that wants a login: real engine, real agents."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from launch_docker.engine import Engine
from launch_docker.testing.fixtures import IMAGE
from launch_docker.testing.python_image import PYTHON_IMAGE, python_image, wheel
from launch_docker.testing.registry import PASSWORD, USER, RegistryMachine
from launch_docker.testing.workplace import running_registry

from launchcore.builtin.oci.registry import OciRegistry
from launchcore.builtin.oci.settings import OciSettings
from launchcore.plugin import Fault, ImageRef, Reason, RunSpec, RunState, SourceRef
from launchcore.queues.base import RunInfo
from tests.crash import invariants
from tests.crash.world import AgentProcess, wait_until
from tests.live.docker.world import DockerWorld

pytestmark = [pytest.mark.live]

WHEEL = "hello_launch-1.0-py3-none-any.whl"


@pytest.fixture(scope="module")
def registry() -> Iterator[RegistryMachine]:
    with running_registry() as machine:
        yield machine


class Project:
    """A repository with requirements, a queue that builds it, and the agents that serve the queue."""

    def __init__(self, world: DockerWorld, registry: RegistryMachine, **builder: Any) -> None:
        self.world = world
        self.registry = registry
        self.path = world.root / "project"
        self.repository = f"{registry.host}/team/train{time.time_ns()}"
        world.queue(
            builder={"type": "docker", "base_image": PYTHON_IMAGE, "network": "none", **builder},
            registry={
                "type": "oci",
                "repository": self.repository,
                "username": USER,
                "password_env": "TEST_REGISTRY_PASSWORD",
            },
        )
        self.first = f"import hello_launch\nprint(hello_launch.WORD, 'of {time.time()}')\n"
        self.commit(
            {
                "requirements.txt": "--find-links wheels\nhello_launch\n",
                f"wheels/{WHEEL}": wheel("hello_launch", "1.0", {"hello_launch.py": "WORD = 'hello'\n"}),
                "train.py": self.first,
            }
        )

    def commit(self, files: dict[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        me = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
        for words in (["init", "-q", "-b", "main"], ["add", "."], [*me, "commit", "-qm", "more"]):
            subprocess.run(["git", "-C", str(self.path), *words], check=True)

    def submit(self, *command: str, **spec: Any) -> str:
        source = SourceRef(type="git", fields={"url": str(self.path), "ref": "main"})
        made = RunSpec(source=source, command=command or ("python", "train.py"), **spec)
        return self.world.service.submit("q", made).id

    def agent(self, name: str = "one", *, password: str = PASSWORD, **options: Any) -> AgentProcess:
        return self.world.agent(name, environ={"TEST_REGISTRY_PASSWORD": password}, **options)

    def ended(self, run: str) -> RunInfo:
        self.world.finished(seconds=110)
        return next(each for each in self.world.runs() if each.id == run)

    def built(self, run: str) -> bool:
        """Whether this run's log has a build in it."""
        return b"Step 1/" in self.world.log(run)

    def nothing_left(self) -> None:
        invariants.nothing_left(self.world)
        assert self.world.engine.get("/containers/json", all=True, filters={"status": ["created"]}) == []
        assert not list(Path("/dev/shm").glob("launchcore-build-*"))


@pytest.fixture
def project(world: DockerWorld, registry: RegistryMachine, engine: Engine) -> Project:
    python_image(engine)
    return Project(world, registry)


def test_a_repository_is_built_pushed_pulled_by_digest_and_run(project: Project) -> None:
    agent = project.agent()
    first = project.ended(project.submit())

    assert first.state is RunState.SUCCEEDED, project.world.report()
    assert b"hello of" in project.world.log(first.id)
    assert project.built(first.id)
    assert first.image is not None
    name, _, digest = first.image.partition("@")
    settings = OciSettings(
        repository=project.repository, username=USER, password_file=str(password(project.world.root))
    )
    assert OciRegistry(settings).digest(ImageRef(name=name)) == digest

    # The second submit of the commit builds nothing.
    second = project.ended(project.submit())
    assert second.state is RunState.SUCCEEDED, project.world.report()
    assert second.image == first.image
    assert not project.built(second.id)

    # A change of code alone reuses the layer of the dependencies.
    project.commit({"train.py": "print('changed')\n"})
    third = project.ended(project.submit())
    log = project.world.log(third.id)
    assert third.state is RunState.SUCCEEDED, project.world.report()
    assert third.image != first.image
    assert project.built(third.id)
    assert b"Successfully installed" not in log
    assert PASSWORD.encode() not in log

    # Nor does one when the engine has lost the image: the registry has it.
    agent.kill()
    project.world.engine.request("DELETE", f"/images/{name}", params={"force": True})
    project.commit({"train.py": project.first})
    project.agent()
    fourth = project.ended(project.submit())
    assert fourth.state is RunState.SUCCEEDED, project.world.report()
    assert fourth.image == first.image
    assert not project.built(fourth.id)
    project.nothing_left()


def password(root: Path) -> Path:
    file = root / "password"
    file.write_text(PASSWORD)
    return file


def test_runs_of_one_commit_build_once(project: Project) -> None:
    runs = [project.submit() for _ in range(3)]
    project.agent("one")
    project.agent("two")
    ended = [project.ended(run) for run in runs]

    assert {each.state for each in ended} == {RunState.SUCCEEDED}, project.world.report()
    assert sum(project.built(run) for run in runs) == 1
    project.nothing_left()


def test_a_dockerfile_that_fails(project: Project) -> None:
    project.commit({"Dockerfile": f"FROM {IMAGE}\nRUN echo some words; exit 3\n"})
    project.agent()
    ended = project.ended(project.submit())

    assert ended.state is RunState.FAILED
    assert ended.failure is not None
    assert (ended.failure.reason, ended.failure.fault) == (Reason.BUILD_FAILED, Fault.USER)
    assert "Step 2/" in ended.failure.detail
    assert b"some words" in project.world.log(ended.id)
    project.nothing_left()


def test_a_wrong_password(project: Project) -> None:
    project.agent(password="not-the-password")
    ended = project.ended(project.submit())

    assert ended.state is RunState.FAILED
    assert ended.failure is not None
    assert ended.failure.fault is Fault.INFRASTRUCTURE
    assert "login" in (ended.failure.hint or "")
    assert "not-the-password" not in project.world.report()
    project.nothing_left()


@pytest.mark.slow
@pytest.mark.parametrize("successor", ["one", "two"])
@pytest.mark.parametrize("point", ["build.before", "build.after", "push.before", "push.after"])
def test_the_agent_is_killed_while_an_image_is_made(project: Project, point: str, successor: str) -> None:
    run = project.submit()
    first = project.agent("one", failpoints=f"{point}=kill", ready=False)
    assert first.died() == -signal.SIGKILL, first.text()
    project.agent(successor)
    ended = project.ended(run)

    assert ended.state is RunState.SUCCEEDED, project.world.report()
    assert len(ended.attempts) == 2
    # What was built is found by the next attempt, and what was pushed is not pushed again.
    rebuilt = b"Step 1/" in project.world.log(run, attempt=2)
    assert rebuilt == (point == "build.before")
    project.nothing_left()


@pytest.mark.slow
def test_the_agent_is_killed_in_mid_push(project: Project) -> None:
    noise = f"RUN echo {time.time()}; dd if=/dev/urandom of=/noise bs=1M count=192"
    project.commit({"Dockerfile": f"FROM {IMAGE}\n{noise}\n"})
    before = project.registry.stored()
    run = project.submit("echo", "hello")
    first = project.agent("one")
    wait_until("a part is pushed", lambda: project.registry.stored() > before + (12 << 20))
    first.kill()
    project.agent("two")
    ended = project.ended(run)

    assert ended.state is RunState.SUCCEEDED, project.world.report()
    assert b"Step 1/" not in project.world.log(run, attempt=2)
    project.nothing_left()


@pytest.mark.slow
def test_the_agent_is_killed_in_mid_build(project: Project) -> None:
    """The engine ends a build whose client has gone, and its container with it."""
    step = f"RUN echo {time.time()} begun; sleep 4"
    project.commit({"Dockerfile": f"FROM {IMAGE}\n{step}\n"})
    run = project.submit("echo", "hello")
    first = project.agent("one")
    wait_until("the step runs", lambda: project.world.engine.get("/containers/json"))
    first.kill()
    project.agent("one")
    ended = project.ended(run)

    assert ended.state is RunState.SUCCEEDED, project.world.report()
    assert b"Step 1/" in project.world.log(run, attempt=2)
    wait_until("the container of the first build is gone", lambda: not containers(project))


def containers(project: Project) -> list[Any]:
    found: list[Any] = project.world.engine.get("/containers/json", all=True)
    return found

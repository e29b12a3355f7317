"""The Docker builder with a real engine and a real registry: built once, pushed, told what goes wrong.

With BuildKit too where there is a buildx: ``docker buildx version`` works, or the plugin lies below
``~/.cache/launchcore/tools``.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from launch_docker import build_kit
from launch_docker.builder import DockerBuilder
from launch_docker.engine import Engine
from launch_docker.images import auth_header, login_for
from launch_docker.testing.fixtures import IMAGE
from launch_docker.testing.machine import Machine, base_image, wait_until
from launch_docker.testing.python_image import python_image, wheel
from launch_docker.testing.registry import RegistryMachine
from launch_docker.testing.workplace import Workplace, running_registry

from launchcore.plugin import (
    OWNER_LABEL,
    Cancelled,
    Destination,
    EnvVar,
    Fault,
    Given,
    ImageRef,
    Label,
    LaunchError,
    Reason,
    Secret,
)

pytestmark = [pytest.mark.live]

TOOLS = Path.home() / ".cache" / "launchcore" / "tools"
BUILDKIT = ["never", *(["always"] if (TOOLS / "docker-buildx").exists() or build_kit.version() else [])]
WHEEL = "hello_launch-1.0-py3-none-any.whl"
PROJECT: dict[str, str | bytes] = {
    "requirements.txt": "-r more/dependencies.txt\n",
    "more/dependencies.txt": "--find-links ../wheels\nhello_launch\n",
    f"wheels/{WHEEL}": wheel("hello_launch", "1.0", {"hello_launch.py": "GREETING = 'hello from a wheel'\n"}),
    "train.py": "import hello_launch\nprint(hello_launch.GREETING)\n",
}
CANARY = "canary-6b2e-in-a-build"


@pytest.fixture(autouse=True)
def _docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No login of this account; buildx where it is."""
    folder = tmp_path / "docker-config"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"cliPluginsExtraDirs": [str(TOOLS)]}))
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))


@pytest.fixture(scope="module")
def registry() -> Iterator[RegistryMachine]:
    """A registry that wants a login."""
    with running_registry() as machine:
        yield machine


@pytest.fixture
def own_registry() -> Iterator[RegistryMachine]:
    """One that the test may kill."""
    with running_registry() as machine:
        yield machine


@pytest.fixture(params=BUILDKIT)
def work(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    docker_host: str,
    engine: Engine,
    registry: RegistryMachine,
) -> Workplace:
    python_image(engine)
    return Workplace(tmp_path, docker_host, registry, buildkit=request.param)


@pytest.fixture
def busybox(tmp_path: Path, docker_host: str) -> Workplace:
    """Builds of a few bytes that stay on the engine."""
    return Workplace(tmp_path, docker_host, None)


# -- the journey -----------------------------------------------------------------------------------


def test_requirements_are_built_and_pushed_once_and_the_image_runs(work: Workplace) -> None:
    work.write({**PROJECT, "unique.txt": str(time.time())})
    image = work.build()
    assert (image.cached, image.pushed, image.ref.digest) == (False, False, None)
    pushed = work.push(image)

    again = work.build()
    assert (again.cached, again.pushed, again.ref) == (True, True, pushed)

    # By digest, from the registry: what a runner on another machine does.
    work.engine.request("DELETE", f"/images/{image.ref.name}", params={"force": True})
    assert work.build().ref == pushed
    assert work.registry is not None
    work.engine.request(
        "POST",
        "/images/create",
        params={"fromImage": work.repository, "tag": pushed.digest},
        headers=auth_header(login_for(work.registry.host, work.given().logins)),
    ).close()
    name = f"{work.repository}@{pushed.digest}"
    assert "hello from a wheel" in work.run(name, "python", "train.py")
    assert "uid=1000" in work.run(name, "id")


def test_a_change_of_code_reuses_the_layer_of_the_dependencies(work: Workplace) -> None:
    work.write({**PROJECT, "unique.txt": str(time.time())})
    first = work.build()
    work.write({"train.py": f"print({time.time()})\n"})
    second = work.build()

    assert not second.cached
    assert second.ref.name != first.ref.name
    assert not work.logged("Successfully installed")
    layers = [work.inspect(image.ref)["RootFS"]["Layers"] for image in (first, second)]
    assert len(set(layers[0]) & set(layers[1])) >= len(layers[0]) - 1


def test_the_sources_own_dockerfile_is_used_as_it_is(work: Workplace) -> None:
    work.write(
        {
            "docker/train.dockerfile": f"FROM {IMAGE}\nARG WHO=nobody\nCOPY . /code/\nRUN echo $WHO > /who\n",
            ".dockerignore": "*.csv\n!keep.csv\n",
            "big.csv": "x",
            "keep.csv": "y",
            ".git/config": "secret",
        }
    )
    image = work.build(work.plan(dockerfile="docker/train.dockerfile", build_args={"WHO": "launch"}))

    listed = work.run(image.ref.name, "sh", "-c", "cat /who; ls -a /code")
    assert "launch" in listed
    assert "keep.csv" in listed
    assert "big.csv" not in listed
    assert ".git\n" not in listed


def test_labels_say_whose_image_it_is_and_are_not_those_of_containers(work: Workplace) -> None:
    work.write({"Dockerfile": f"FROM {IMAGE}\nRUN echo {time.time()}\n"})
    image = work.build(given=work.given(labels=(Label(name="cost-centre", value="ml-42"),)))
    labels = work.inspect(image.ref)["Config"]["Labels"]

    assert labels["launchcore.image.owner"] == work.site.owner
    assert labels["cost-centre"] == "ml-42"
    assert OWNER_LABEL not in labels


def test_a_cancel_ends_the_build_and_its_container(work: Workplace) -> None:
    work.write({"Dockerfile": f"FROM {IMAGE}\nRUN echo {time.time()}; echo it has be''gun; sleep 600\n"})
    before = work.containers()
    plan, given = work.plan(), work.given()
    ended: list[BaseException] = []

    def build() -> None:
        try:
            work.builder.build(plan, given, work.context)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    wait_until("the step runs", lambda: work.logged("it has begun") or ended)
    work.context.cancel()
    thread.join(60)

    assert not thread.is_alive()
    assert isinstance(ended[0], Cancelled), ended
    wait_until("its container is gone", lambda: set(work.containers()) <= set(before))


# -- what goes wrong -------------------------------------------------------------------------------


def test_a_step_that_fails_is_named(work: Workplace) -> None:
    work.write({"Dockerfile": f"FROM {IMAGE}\nRUN echo some words; echo fatal: no data >&2; exit 3\n"})
    before = work.containers()
    error = work.fails()

    assert (error.reason, error.fault) == (Reason.BUILD_FAILED, Fault.USER)
    assert "RUN echo some words" in error.detail
    assert "exit code 3" in error.detail
    assert "fatal: no data" in error.detail
    assert work.logged("some words")
    assert set(work.containers()) <= set(before)


def test_a_requirement_that_does_not_exist(work: Workplace) -> None:
    work.write({"requirements.txt": "no-such-thing-launch\n"})
    error = work.fails()

    assert (error.reason, error.fault) == (Reason.BUILD_FAILED, Fault.USER)
    assert "no-such-thing-launch" in error.detail
    assert "spelled" in (error.hint or "")


@pytest.mark.parametrize(
    ("dockerfile", "word"),
    [("FROM {image}\nRUNN x\n", "RUNN"), ("FROM {image}\nCOPY nothing /x\n", "nothing"), ("", "Dockerfile")],
)
def test_a_dockerfile_that_cannot_be(work: Workplace, dockerfile: str, word: str) -> None:
    work.write({"Dockerfile": dockerfile.format(image=IMAGE)})
    error = work.fails()

    assert (error.reason, error.fault) == (Reason.BUILD_FAILED, Fault.USER)
    assert word.lower() in error.detail.lower()


def test_a_base_image_that_is_not_there(work: Workplace) -> None:
    assert work.registry is not None
    work.write({"Dockerfile": f"FROM {work.registry.host}/no/such:1\nRUN true\n"})
    error = work.fails()

    assert (error.reason, error.fault) == (Reason.BUILD_FAILED, Fault.USER)
    assert "no/such" in error.detail
    assert "base image" in (error.hint or "")


@pytest.mark.parametrize("password", ["wrong", None])
def test_a_wrong_password_is_found_before_anything_is_built(work: Workplace, password: str | None) -> None:
    work.write({"Dockerfile": f"FROM {IMAGE}\nRUN echo {time.time()}\n"})
    error = work.fails(given=work.given(password))

    assert (error.reason, error.fault) == (Reason.PUSH_FAILED, Fault.INFRASTRUCTURE)
    assert "login" in (error.hint or "")
    assert work.context.lines == []


def test_a_wrong_password_when_pushing(work: Workplace) -> None:
    work.write({"Dockerfile": f"FROM {IMAGE}\nRUN echo {time.time()} > /x\n"})
    image = work.build()
    with pytest.raises(LaunchError) as caught:
        work.push(image, work.given("not-the-password"))

    assert (caught.value.reason, caught.value.fault) == (Reason.PUSH_FAILED, Fault.INFRASTRUCTURE)
    assert "not-the-password" not in caught.value.detail


def test_an_engine_that_is_away(tmp_path: Path) -> None:
    work = Workplace(tmp_path, f"unix://{tmp_path}/nothing.sock", None)
    work.write({"Dockerfile": "FROM x\n"})
    error = work.fails()

    assert (error.reason, error.retryable) == (Reason.INFRASTRUCTURE, True)


def large(root: Path, docker_host: str, registry: RegistryMachine, **settings: Any) -> Workplace:
    """An image with a layer that takes a while to push."""
    work = Workplace(root, docker_host, registry, **settings)
    noise = f"RUN echo {time.time()}; dd if=/dev/urandom of=/noise bs=1M count=192"
    work.write({"Dockerfile": f"FROM {IMAGE}\n{noise}\n"})
    return work


class Push(threading.Thread):
    """One that goes on beside the test; ``result`` is what came of it."""

    def __init__(self, work: Workplace) -> None:
        super().__init__()
        self.work = work
        self.image = work.build()
        self.result: Any = None

    def run(self) -> None:
        try:
            self.result = self.work.push(self.image)
        except LaunchError as error:
            self.result = error


def stopped_in_mid_push(registry: RegistryMachine, *pushes: Push) -> None:
    """They have sent a part of their large layers, and the registry stands still."""
    for push in pushes:
        push.start()
    enough = len(pushes) * (12 << 20)
    wait_until("a part is sent", lambda: registry.stored() > enough or any(push.result for push in pushes))
    registry.pause()
    assert [push.result for push in pushes] == [None] * len(pushes)


@pytest.mark.timeout(300)
def test_a_registry_that_goes_away_in_mid_push(
    tmp_path: Path, docker_host: str, own_registry: RegistryMachine
) -> None:
    """The engine tries for 50 s by itself. After that one push goes on when the registry is back; the
    other, which may not try again, has failed, and the next attempt sends what is missing."""
    patient = Push(large(tmp_path / "patient", docker_host, own_registry, push_retries=6))
    hasty = Push(large(tmp_path / "hasty", docker_host, own_registry, push_retries=0))
    stopped_in_mid_push(own_registry, patient, hasty)
    own_registry.kill()
    hasty.join(200)
    wait_until("the push notices", lambda: patient.work.logged("broke off") or patient.result)
    own_registry.start()
    patient.join(200)

    error = hasty.result
    assert isinstance(error, LaunchError)
    assert (error.reason, error.fault, error.retryable) == (Reason.PUSH_FAILED, Fault.INFRASTRUCTURE, True)
    assert isinstance(patient.result, ImageRef), patient.result
    assert patient.work.build().ref == patient.result
    again = hasty.work.build()
    assert (again.cached, again.pushed) == (True, False)
    assert hasty.work.push(again).digest


def test_a_push_obeys_a_cancel(tmp_path: Path, docker_host: str, own_registry: RegistryMachine) -> None:
    push = Push(large(tmp_path, docker_host, own_registry))
    stopped_in_mid_push(own_registry, push)
    push.work.context.cancel()
    push.join(30)

    assert not push.is_alive()
    assert isinstance(push.result, Cancelled)


def test_a_full_disk_of_the_engine_is_nobodys_code(tmp_path: Path, docker_machine: Machine) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(small)], check=True)
    machine = Machine(data=small)
    try:
        machine.start()
        client = machine.engine()
        base_image(client, IMAGE)
        client.close()
        work = Workplace(tmp_path, machine.url, None)
        work.write({"Dockerfile": f"FROM {IMAGE}\nRUN dd if=/dev/zero of=/large bs=1M count=100\n"})
        error = work.fails()

        assert (error.reason, error.fault) == (Reason.INFRASTRUCTURE, Fault.INFRASTRUCTURE)
        assert "disk is full" in (error.hint or "")
        assert work.containers() == []
    finally:
        machine.close()
        subprocess.run(["umount", "--lazy", str(small)], check=False, capture_output=True)


def test_a_build_secret_is_used_and_in_no_layer(work: Workplace) -> None:
    step = "RUN --mount=type=secret,id=TOKEN cat /run/secrets/TOKEN | wc -c > /size"
    work.write({"Dockerfile": f"FROM {IMAGE}\n{step}; echo {time.time()}\n"})
    given = work.given(env=(EnvVar(name="TOKEN", value=Secret(CANARY)),))
    if work.settings.buildkit == "never":
        error = work.fails(given=given)
        assert (error.reason, error.fault) == (Reason.CONFIG_ERROR, Fault.INFRASTRUCTURE)
        assert "BuildKit" in error.detail
        return
    image = work.build(given=given)

    assert str(len(CANARY)) in work.run(image.ref.name, "cat", "/size")
    exported = work.engine.request("GET", f"/images/{image.ref.name}/get", seconds=60).content
    assert CANARY.encode() not in exported
    assert not work.logged(CANARY)
    assert not list(Path("/dev/shm").glob("launchcore-build-*"))


def test_an_optional_secret_is_left_out_where_there_is_no_buildkit(busybox: Workplace) -> None:
    busybox.write({"Dockerfile": f"FROM {IMAGE}\nRUN true\n"})
    given = Given(env=(EnvVar(name="TOKEN", value=Secret(CANARY), optional=True),))

    assert busybox.build(given=given).ref.name.startswith("localhost/launch:")


def test_an_image_that_stays_here_is_asked_of_no_registry(busybox: Workplace) -> None:
    busybox.write({"Dockerfile": f"FROM {IMAGE}\nRUN true\n"})
    here = Destination(registry="local", repository="registry.invalid/team/x")
    for cached in (False, True):
        image = busybox.build(busybox.plan(destination=here))
        assert (image.cached, image.ref.name.partition(":")[0]) == (cached, "registry.invalid/team/x")


def test_a_pinned_base_image_is_part_of_the_tag(busybox: Workplace, engine: Engine) -> None:
    base = "localhost/launchcore-test:base-of-today"
    base_image(engine, base)
    busybox.write({"Dockerfile": f"FROM {base}\nRUN true\n"})
    loose = busybox.build().ref
    busybox.builder = DockerBuilder(attrs.evolve(busybox.settings, pin_base=True), busybox.site)
    first = busybox.build().ref
    base_image(engine, base, labels=["LABEL new=yes"])
    second = busybox.build().ref

    assert len({loose.name, first.name, second.name}) == 3

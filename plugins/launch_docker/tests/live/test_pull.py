"""Pulling from a real registry that lets nobody in without a login: what each refusal means."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from launch_docker.engine import Engine
from launch_docker.settings import RunConfig
from launch_docker.testing.cutting import CuttingProxy
from launch_docker.testing.fixtures import IMAGE, unavailable
from launch_docker.testing.machine import Machine, missing
from launch_docker.testing.private import PrivateImage, private_image, pushed_and_gone
from launch_docker.testing.registry import PASSWORD, USER
from launch_docker.testing.workplace import running_registry

from launchcore.plugin import Fault, Given, ImageRef, LaunchError, Login, Reason, Secret

pytestmark = pytest.mark.live
Make = Callable[..., Any]
ALWAYS = RunConfig(pull="always")


@pytest.fixture
def private(engine: Engine) -> Iterator[PrivateImage]:
    """An image that is in the registry, and not on the engine."""
    with running_registry() as registry, private_image(engine, registry, IMAGE) as image:
        yield image


@pytest.fixture(autouse=True)
def _no_logins_of_this_account(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))


def refused(bench: Any, image: ImageRef, given: Given, config: RunConfig | None = None) -> LaunchError:
    """Why it is not pulled. Nothing is left of it, and it says what to do, in one line."""
    with pytest.raises(LaunchError) as caught:
        bench.start(bench.plan("true", image=image, config=config), given)
    error = caught.value
    assert "\n" not in error.detail
    assert error.hint
    assert list(bench.runner.owned()) == []
    for login in given.logins:
        assert isinstance(login, Login)
        assert login.password.reveal() not in f"{error.detail} {error.hint} {bench.context.lines}"
    return error


@pytest.mark.parametrize("by", ["tag", "digest", "both"])
def test_with_the_login_it_is_pulled_and_run(bench: Any, private: PrivateImage, by: str) -> None:
    name, tag = private.name.rsplit(":", 1)
    image = {
        "tag": ImageRef(name=private.name),
        "digest": ImageRef(name=name, digest=private.digest),
        "both": ImageRef(name=f"{name}:{tag}", digest=private.digest),
    }[by]
    handle = bench.start(bench.plan("echo", "hello", image=image), private.given())

    assert bench.log(handle) == b"hello\n"
    inspected = json.dumps(bench.inspect(handle))
    assert PASSWORD not in inspected
    assert any("pulled in" in line for line in bench.context.lines)
    assert private.digest in " ".join(bench.context.lines)


def test_what_is_there_is_not_pulled_again(bench: Any, private: PrivateImage) -> None:
    """Nor is a login needed for it; by its digest not even when the queue pulls always."""
    image = ImageRef(name=private.name.rsplit(":", 1)[0], digest=private.digest)
    bench.end(bench.start(bench.plan("true", image=image), private.given()))
    private.registry.kill()

    assert bench.end(bench.start(bench.plan("true", image=image, config=ALWAYS))).exit_code == 0


def test_without_a_login(bench: Any, private: PrivateImage) -> None:
    error = refused(bench, ImageRef(name=private.name), Given())

    assert (error.reason, error.fault) == (Reason.IMAGE_PULL, Fault.USER)
    assert "give the agent a login" in str(error.hint)


def test_a_wrong_password_is_not_the_users_fault(bench: Any, private: PrivateImage) -> None:
    error = refused(bench, ImageRef(name=private.name), private.given("not-the-password"))

    assert (error.reason, error.fault) == (Reason.IMAGE_PULL, Fault.INFRASTRUCTURE)
    assert "refuses the login" in str(error.hint)


def test_a_login_for_another_registry_is_not_sent(bench: Any, private: PrivateImage) -> None:
    login = Login(host="127.0.0.1:1", username=USER, password=Secret("for somebody else"))
    error = refused(bench, ImageRef(name=private.name), Given(logins=(login,)))

    assert error.reason is Reason.IMAGE_PULL
    assert "give the agent a login" in str(error.hint)


@pytest.mark.parametrize("what", ["tag", "repository", "digest"])
def test_an_image_that_is_not_there(bench: Any, private: PrivateImage, what: str) -> None:
    name = private.name.rsplit(":", 1)[0]
    image = {
        "tag": ImageRef(name=f"{name}:never-pushed"),
        "repository": ImageRef(name=f"{name}-of-nobody:1"),
        "digest": ImageRef(name=name, digest=f"sha256:{'0' * 64}"),
    }[what]
    error = refused(bench, image, private.given())

    assert (error.reason, error.fault) == (Reason.IMAGE_PULL, Fault.USER)
    assert "has it been pushed" in str(error.hint)


def test_a_registry_that_is_down(bench: Any, private: PrivateImage) -> None:
    private.registry.kill()
    error = refused(bench, ImageRef(name=private.name), private.given())

    assert (error.reason, error.fault) == (Reason.IMAGE_PULL, Fault.INFRASTRUCTURE)
    assert error.retryable
    assert "cannot be reached" in str(error.hint)


def test_the_image_of_yesterday_does_not_stand_in(bench: Any, private: PrivateImage) -> None:
    """The queue pulls always, and the pull fails: what the engine still has under the name is not run."""
    image = ImageRef(name=private.name)
    bench.runner.cleanup(bench.start(bench.plan("true", image=image), private.given()))
    private.registry.kill()
    error = refused(bench, image, private.given(), ALWAYS)

    assert (error.reason, error.fault) == (Reason.IMAGE_PULL, Fault.INFRASTRUCTURE)


def test_an_image_that_is_removed_behind_our_back(bench: Any, private: PrivateImage) -> None:
    """Between the preparation of a run and its start, or a moment after another run of it."""
    image = ImageRef(name=private.name)
    first = bench.plan("true", image=image)
    bench.runner.prepare(first, private.given(), bench.context)
    bench.engine.request("DELETE", f"/images/{private.name}")
    with pytest.raises(LaunchError) as caught:
        bench.runner.start(first, private.given())
    error = caught.value

    assert (error.reason, error.fault, error.retryable) == (
        Reason.IMAGE_PULL,
        Fault.INFRASTRUCTURE,
        True,
    )
    assert list(bench.runner.owned()) == []
    again = bench.start(bench.plan("true", image=image), private.given())
    assert bench.end(again).exit_code == 0
    bench.runner.cleanup(again)
    bench.engine.request("DELETE", f"/images/{private.name}")
    assert bench.end(bench.start(bench.plan("true", image=image), private.given())).exit_code == 0


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Machine]:
    """An engine that does not try a download five times by itself, over half a minute."""
    if why := missing():
        unavailable(why)
    machine = Machine("--max-download-attempts=1")
    try:
        machine.start()
        yield machine
    finally:
        machine.close()


def test_a_registry_that_goes_away_in_mid_pull(impatient: Machine, make_bench: Make) -> None:
    """The connection is cut in the middle of a layer: the network's fault, and worth another try."""
    bench = make_bench(impatient.url)
    with running_registry(login=False) as registry:
        proxy = CuttingProxy(registry.port)
        try:
            image = pushed_and_gone(bench.engine, f"{proxy.host}/team/large:1")
            proxy.cut(after=4 << 20)
            error = refused(bench, image, Given())

            assert (error.reason, error.fault, error.retryable) == (
                Reason.IMAGE_PULL,
                Fault.INFRASTRUCTURE,
                True,
            )
            assert proxy.cuts
            assert not any(
                image.name in (each["RepoTags"] or ()) for each in bench.engine.get("/images/json")
            )

            proxy.heal()
            assert bench.end(bench.start(bench.plan("true", image=image))).exit_code == 0
        finally:
            proxy.close()


@pytest.mark.parametrize("name", ["UPPER/case", "a//b", "-x", "x:y:z"])
def test_names_that_are_none(bench: Any, name: str) -> None:
    error = refused(bench, ImageRef(name=name), Given())

    assert (error.reason, error.fault) == (Reason.IMAGE_PULL, Fault.USER)

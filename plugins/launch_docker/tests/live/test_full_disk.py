"""The engine's disk is full: nobody's code is to blame, and nothing is left that takes more of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from launch_docker.engine import Engine
from launch_docker.testing.fixtures import IMAGE, unavailable
from launch_docker.testing.machine import Machine, base_image, missing, wait_until
from launch_docker.testing.private import private_image
from launch_docker.testing.workplace import running_registry

from launchcore.plugin import EnvVar, Fault, Given, ImageRef, LaunchError, Reason, Secret

pytestmark = pytest.mark.live
Make = Callable[..., Any]
LARGE = "launchcore-test:large"
SECRET = Given(env=(EnvVar(name="TOKEN", value=Secret("canary")),))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Machine]:
    """An engine with 48 MiB of disk, of which an image takes a few."""
    if why := missing():
        unavailable(why)
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(disk)], check=True)
    machine = Machine(data=disk)
    try:
        machine.start()
        client = machine.engine()
        base_image(client, IMAGE)
        client.close()
        yield machine
    finally:
        machine.close()
        subprocess.run(["umount", "--lazy", str(disk)], check=False, capture_output=True)


@pytest.fixture
def bench(small: Machine, make_bench: Make) -> Any:
    return make_bench(small.url, secrets="mount")


def used(machine: Machine) -> int:
    """MiB."""
    found = os.statvfs(machine.data)
    return (found.f_blocks - found.f_bavail) * found.f_frsize >> 20


def large_image(engine: Engine) -> None:
    """One that no compression makes smaller than 64 MiB."""
    made = engine.request(
        "POST", "/containers/create", body={"Image": IMAGE, "Cmd": ["sh", "-c", NOISE]}
    ).json()["Id"]
    engine.request("POST", f"/containers/{made}/start")
    engine.request("POST", f"/containers/{made}/wait", seconds=60)
    repository, _, tag = LARGE.rpartition(":")
    params = {"container": made, "repo": repository, "tag": tag}
    engine.request("POST", "/commit", params=params, body={}, seconds=60)
    engine.request("DELETE", f"/containers/{made}", params={"force": True})


NOISE = "dd if=/dev/urandom of=/noise bs=1M count=64"


def test_while_pulling(bench: Any, small: Machine, engine: Engine) -> None:
    large_image(engine)
    before = used(small)
    with running_registry() as registry, private_image(engine, registry, LARGE) as image:
        with pytest.raises(LaunchError) as caught:
            bench.start(bench.plan("true", image=ImageRef(name=image.name)), image.given())
        error = caught.value
        engine.request("DELETE", f"/images/{LARGE}", params={"force": True})

    assert (error.reason, error.fault) == (Reason.INFRASTRUCTURE, Fault.INFRASTRUCTURE), error
    assert "disk is full" in str(error.hint)
    assert error.retryable
    assert list(bench.runner.owned()) == []
    assert [each["RepoTags"] for each in bench.engine.get("/images/json")] == [[IMAGE]]
    wait_until("the parts of it are gone", lambda: used(small) <= before + 4)
    assert bench.end(bench.start(bench.plan("true"))).exit_code == 0


def test_while_starting(bench: Any, small: Machine) -> None:
    """Not the fault of the run that comes then, and its secrets are gone with it."""
    plan = bench.plan("sh", "-c", 'echo "$TOKEN"')
    bench.runner.prepare(plan, SECRET, bench.context)
    fill = small.data / "fill"
    with fill.open("wb", buffering=0) as out, contextlib.suppress(OSError):
        while True:
            out.write(bytes(4096))
    with pytest.raises(LaunchError) as caught:
        bench.runner.start(plan, SECRET)
    error = caught.value
    fill.unlink()

    assert (error.reason, error.fault) == (Reason.INFRASTRUCTURE, Fault.INFRASTRUCTURE), error
    assert "disk is full" in str(error.hint)
    assert error.retryable
    assert list(bench.runner.owned()) == []
    assert bench.runner.find(plan.attempt_id) is None

    # With room again the next one runs.
    assert bench.log(bench.start(bench.plan("sh", "-c", 'echo "$TOKEN"'), SECRET)) == b"canary\n"


def test_while_running(bench: Any, small: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job is told by the system, and its own word and exit code come through as they are."""
    # The engine cannot write the end down: it lists the run as running, and only `inspect` knows better.
    script = "dd if=/dev/zero of=/fill bs=1M count=100 || exit 28"
    monkeypatch.setattr("launch_docker.observer.CLOSER", 0.5)
    handle = bench.start(bench.plan("sh", "-c", script))
    status = bench.end(handle)

    assert status.exit_code == 28
    bench.runner.cleanup(handle)
    wait_until("there is room", lambda: used(small) < 40)

"""Podman's compatible socket: the kit's suite, and the tests of what is different there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from launch_docker.checks import check_engine
from launch_docker.settings import RunConfig, Settings
from launch_docker.testing.fixtures import BARE_IMAGE, IMAGE, unavailable
from launch_docker.testing.machine import base_image
from launch_docker.testing.podman import PodmanMachine, missing_podman

from launchcore.plugin import EnvVar, Given, LaunchError, Reason, Secret
from plugins.launch_docker.tests.live import test_conformance as conformance
from plugins.launch_docker.tests.live.test_logs_live import (  # noqa: F401 (they run here again)
    test_a_line_of_a_megabyte,
    test_a_terminal,
    test_bytes_that_are_no_text,
    test_numbers_stay_in_order,
)
from plugins.launch_docker.tests.live.test_runner import (  # noqa: F401
    test_a_paused_one_can_be_cancelled,
    test_a_stranger_of_our_name_is_not_touched,
    test_created_and_never_started_is_given_up_by_find,
    test_gpus_are_shared_out,
    test_removed_behind_our_back,
    test_secrets_reach_the_run_and_nobody_else,
)

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def docker_host() -> Iterator[str]:
    """A Podman of this module's own, with the test images."""
    why = missing_podman()
    if why is not None:
        unavailable(why)
    machine = PodmanMachine()
    try:
        machine.start()
        engine = machine.engine()
        base_image(engine, IMAGE)
        base_image(engine, BARE_IMAGE, shell=False)
        engine.close()
        yield machine.url
    finally:
        machine.close()


class TestPodman(conformance.TestDockerRunner):
    @pytest.mark.xfail(run=False, reason="Podman pulls from a registry without TLS only if its files say so")
    def test_logins_reach_the_run(self) -> None:  # type: ignore[override]
        raise NotImplementedError


def test_doctor_names_it(docker_host: str) -> None:
    assert check_engine(Settings(host=docker_host)).detail.startswith("Podman 4")


@pytest.mark.parametrize(
    "config", [RunConfig(runtime="crun"), RunConfig(all_gpus=True), RunConfig(devices=("/dev/no-such",))]
)
def test_what_it_would_leave_out_is_refused(bench: Any, config: RunConfig) -> None:
    with pytest.raises(LaunchError) as error:
        bench.start(bench.plan("true", config=config))

    assert error.value.reason is Reason.CONFIG_ERROR
    assert list(bench.runner.owned()) == []


def test_killed_from_outside(bench: Any) -> None:
    """Its event has no signal, and nobody else than the engine's users can make one."""
    told: list[Any] = []
    with bench.runner.watch(lambda _, status: told.append(status)):
        handle = bench.start(bench.plan("sleep", "60"))
        bench.engine.request("POST", f"/containers/{handle.data['id']}/kill", params={"signal": "KILL"})
        status = bench.end(handle)

    assert status.failure is not None
    assert status.failure.reason is Reason.INFRASTRUCTURE


@pytest.fixture(scope="module")
def rootless() -> Iterator[str]:
    """A Podman of nobody's."""
    why = missing_podman(rootless=True)
    if why is not None:
        unavailable(why)
    machine = PodmanMachine(rootless=True)
    try:
        machine.start()
        engine = machine.engine()
        base_image(engine, IMAGE)
        engine.close()
        yield machine.url
    finally:
        machine.close()


def test_rootless(rootless: str, make_bench: Callable[..., Any]) -> None:
    """Who is root in the container is nobody outside; ends, logs, secrets and cancels are as ever."""
    assert "rootless" in check_engine(Settings(host=rootless)).detail
    bench, config = make_bench(rootless, secrets="copy"), RunConfig(network="none")  # no tun device here
    given = Given(env=(EnvVar(name="TOKEN", value=Secret("canary-of-nobody")),))
    handle = bench.start(bench.plan("sh", "-c", 'id -u; echo "$TOKEN"; exit 7', config=config), given)
    assert bench.end(handle).exit_code == 7
    assert bench.log(handle) == b"0\ncanary-of-nobody\n"

    handle = bench.start(bench.plan("sleep", "600", config=config))
    pid = bench.inspect(handle)["State"]["Pid"]
    assert Path(f"/proc/{pid}").stat().st_uid not in (0, os.getuid())
    bench.runner.cancel(handle, 0)
    assert bench.end(handle).signal == signal.SIGKILL

"""Runs on a real engine: ends, secrets, limits, names, GPUs."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from launch_docker import unseen
from launch_docker.errors import EngineError
from launch_docker.settings import RunConfig
from launch_docker.testing.fixtures import BARE_IMAGE, IMAGE
from launch_docker.testing.machine import wait_until

from launchcore.plugin import (
    Cancelled,
    EnvVar,
    Fault,
    Given,
    ImageRef,
    LaunchError,
    Limits,
    Phase,
    Reason,
    RunHandle,
    RunStatus,
    Secret,
    SecretFile,
)

pytestmark = pytest.mark.live
Make = Callable[..., Any]
CANARY = 'canary-it\'s "a" $HOME\nsecond line'
SECRETS = Given(
    env=(EnvVar(name="TOKEN", value=Secret(CANARY)),),
    files=(SecretFile(name="key", content=Secret(CANARY), path_env="KEY"),),
)
SHOW = ("sh", "-c", 'echo "$TOKEN"; cat "$TOKEN_FILE" "$KEY"; echo; sleep 60')


@pytest.mark.parametrize("how", ["mount", "copy"])
@pytest.mark.parametrize("user", [None, "1000:1000"])
def test_secrets_reach_the_run_and_nobody_else(make_bench: Make, how: str, user: str | None) -> None:
    bench = make_bench(secrets=how)
    handle = bench.start(bench.plan(*SHOW, config=RunConfig(user=user)), SECRETS)
    bench.log_with(handle, b"second line", times=3)

    texts = {
        "inspect": json.dumps(bench.inspect(handle)),
        "list": json.dumps(bench.engine.get("/containers/json")),
        "arguments": "".join(
            path.read_bytes().decode(errors="replace") for path in Path("/proc").glob("[0-9]*/cmdline")
        ),
        "state": "".join(path.read_text() for path in bench.site.state.rglob("*") if path.is_file()),
    }
    assert [where for where, text in texts.items() if "canary" in text] == []
    bench.runner.cleanup(handle)
    vault = bench.runner._vault
    assert not vault.attempts()


def test_the_directory_of_secrets_is_closed_to_others(make_bench: Make) -> None:
    bench = make_bench(secrets="mount")
    handle = bench.start(bench.plan(*SHOW), SECRETS)
    (mount,) = bench.inspect(handle)["Mounts"]
    place = Path(mount["Source"])

    assert not mount["RW"]
    assert place.parent.stat().st_mode & 0o777 == place.parent.parent.stat().st_mode & 0o777 == 0o700


def test_an_image_without_a_shell_gets_secrets_as_files(make_bench: Make) -> None:
    bench = make_bench()
    image = ImageRef(name=BARE_IMAGE)
    with pytest.raises(LaunchError) as error:
        bench.start(bench.plan("cat", "/run/launch/secrets/TOKEN", image=image), SECRETS)
    assert error.value.reason is Reason.CONFIG_ERROR
    assert "secrets_as" in str(error.value.hint)
    assert list(bench.runner.owned()) == []

    config = RunConfig(secrets_as="files")
    handle = bench.start(bench.plan("cat", "/run/launch/secrets/TOKEN", image=image, config=config), SECRETS)
    bench.end(handle)
    assert bench.log(handle).decode().startswith(CANARY)


def test_out_of_memory(bench: Any) -> None:
    command = ("sh", "-c", "exec tail /dev/zero")
    handle = bench.start(bench.plan(*command, limits=Limits(memory_bytes=16 << 20)))
    status = bench.end(handle)

    assert status.failure is not None
    assert status.failure.reason is Reason.OUT_OF_MEMORY, status


@pytest.mark.parametrize(
    ("command", "config", "reason"),
    [
        (("/bin/nosuch",), RunConfig(), Reason.USER_ERROR),
        (("nosuch",), RunConfig(init=False), Reason.USER_ERROR),
        (("/tmp",), RunConfig(init=False), Reason.USER_ERROR),
        (("true",), RunConfig(user="nobody-here"), Reason.CONFIG_ERROR),
        (("true",), RunConfig(network="no-such-network"), Reason.CONFIG_ERROR),
        (("true",), RunConfig(mounts=("/no/such/place:/x",)), Reason.CONFIG_ERROR),
        (("true",), RunConfig(devices=("/dev/no-such",)), Reason.CONFIG_ERROR),
        (("true",), RunConfig(all_gpus=True), Reason.CONFIG_ERROR),
        (("true",), RunConfig(cap_add=("NO_SUCH",)), Reason.CONFIG_ERROR),
        (("true",), RunConfig(runtime="no-such"), Reason.CONFIG_ERROR),
        (("true",), RunConfig(memory="1m"), Reason.CONFIG_ERROR),
    ],
)
def test_what_cannot_start_says_whose_fault_it_is(
    bench: Any, command: tuple[str, ...], config: RunConfig, reason: Reason
) -> None:
    try:
        handle = bench.start(bench.plan(*command, config=config))
    except LaunchError as error:
        found, hint = error.reason, error.hint
        assert list(bench.runner.owned()) == [], "something is left"
    else:  # an init has started, and could not start the command
        failure = bench.end(handle).failure
        assert failure is not None
        found, hint = failure.reason, failure.hint
    assert found is reason
    assert hint


def test_a_stranger_of_our_name_is_not_touched(bench: Any) -> None:
    plan = bench.plan("true")
    bench.engine.request(
        "POST", "/containers/create", params={"name": plan.name}, body={"Image": IMAGE, "Cmd": ["true"]}
    )
    with pytest.raises(LaunchError, match="not this attempt's") as error:
        bench.start(plan)
    assert error.value.fault is Fault.INFRASTRUCTURE
    bench.engine.request("DELETE", f"/containers/{plan.name}")


def test_created_and_never_started_is_given_up_by_find(bench: Any) -> None:
    """The agent was killed between create and start: the successor makes sure that it never starts."""
    plan = bench.plan("true")
    bench.runner.prepare(plan, Given(), bench.context)
    found = bench.runner._starter.create(plan, Given())

    assert bench.again().find(plan.attempt_id) is None
    with pytest.raises(LaunchError) as error:
        bench.runner._starter.run(plan, found)
    assert error.value.reason is Reason.LOST
    with pytest.raises(LaunchError):
        bench.runner.start(plan, Given())
    assert list(bench.runner.owned()) == []


@contextlib.contextmanager
def a_process_of(container: str) -> Iterator[subprocess.Popen[bytes]]:
    """What is left of a container of which an engine knows nothing: a process in its control group."""
    top = Path("/sys/fs/cgroup/freezer")
    group = (top if top.is_dir() else top.parent) / "lc-test" / container
    group.mkdir(parents=True)
    process = subprocess.Popen(["sleep", "600"])
    try:
        (group / "cgroup.procs").write_text(str(process.pid))
        yield process
    finally:
        process.kill()
        process.wait()
        wait_until("the group is empty", lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()
        group.parent.rmdir()


def test_one_that_runs_without_the_engines_knowing_is_waited_for(bench: Any) -> None:
    """An engine that was killed in mid-start says that it was never started."""
    plan = bench.plan("sleep", "600")
    bench.runner.prepare(plan, Given(), bench.context)
    found = bench.runner._starter.create(plan, Given())
    with a_process_of(found["id"]):
        with pytest.raises(LaunchError, match="without the engine's knowing") as error:
            bench.runner.find(plan.attempt_id)
        assert error.value.retryable

    assert bench.runner.find(plan.attempt_id) is None


def test_one_that_runs_without_the_engines_knowing_is_ended_when_its_start_fails() -> None:
    name = uuid.uuid4().hex * 2
    with a_process_of(name) as process:
        assert unseen.processes(name) == [process.pid]
        threading.Timer(0.0, process.wait).start()  # so that it does not stay there as a zombie
        assert unseen.end(name)
    assert process.returncode == -signal.SIGKILL


def test_stopped_from_outside(bench: Any) -> None:
    """Somebody with access to the engine stops it: not the user's fault, whatever the exit code says."""
    told: list[RunStatus] = []

    def tell(_: RunHandle, status: RunStatus) -> None:
        told.append(status)

    command = ("sh", "-c", "trap 'exit 0' TERM; echo up; while :; do usleep 10000; done")
    with bench.runner.watch(tell):
        handle = bench.start(bench.plan(*command))
        bench.log_with(handle, b"up")
        bench.engine.request("POST", f"/containers/{handle.data['id']}/stop", params={"t": 5})
        wait_until("it is told", lambda: any(status.phase.final for status in told))
    heard, asked = told[-1], bench.again().poll([handle])[handle.key]

    for status in (heard, asked):
        assert status.exit_code == 0
        assert status.failure is not None
        assert status.failure.reason is Reason.INFRASTRUCTURE


def test_removed_behind_our_back(bench: Any) -> None:
    told: list[Phase] = []
    with bench.runner.watch(lambda _, status: told.append(status.phase)):
        handle = bench.start(bench.plan("sleep", "60"))
        bench.engine.request("DELETE", f"/containers/{handle.data['id']}", params={"force": True})
        wait_until("it is told", lambda: bool(told) and told[-1].final)
    assert bench.status(handle).phase is Phase.GONE


def test_a_cancel_of_ours_is_not_from_outside(bench: Any) -> None:
    handle = bench.start(bench.plan("sleep", "60"))
    bench.runner.cancel(handle, 5.0)
    status = bench.end(handle)

    assert status.signal == 15
    assert status.failure is not None
    assert status.failure.reason is Reason.USER_ERROR


def test_a_paused_one_can_be_cancelled(bench: Any) -> None:
    handle = bench.start(bench.plan("sleep", "60"))
    bench.engine.request("POST", f"/containers/{handle.data['id']}/pause")
    assert "paused" in str(bench.status(handle).message)
    bench.runner.cancel(handle, 0.0)

    assert bench.end(handle).phase is Phase.FAILED


def test_whoever_sees_an_overdue_run_stops_it(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent that started it is gone, and the engine has no deadlines."""
    monkeypatch.setattr("launch_docker.observer.SLACK", 0.0)
    limits = Limits(run_seconds=0.5)
    handle = bench.start(bench.plan("sleep", "60", limits=limits))
    time_of_start = time.time()
    wait_until("it is overdue", lambda: time.time() > time_of_start + 1.5)
    other = bench.again()
    with other.watch(lambda *_: None):
        status = bench.end(handle)

    assert status.failure is not None
    assert status.failure.reason is Reason.RUN_TIMEOUT


def test_anonymous_volumes_go_with_the_container(bench: Any) -> None:
    before = len(bench.engine.get("/volumes")["Volumes"] or [])
    found = bench.engine.request("GET", f"/images/{IMAGE}/get").content
    assert found
    handle = bench.start(bench.plan("true", config=RunConfig(mounts=("launchcore-test-named:/kept",))))
    bench.end(handle)
    bench.runner.cleanup(handle)
    names = [each["Name"] for each in bench.engine.get("/volumes")["Volumes"]]
    assert len(names) == before + 1
    assert "launchcore-test-named" in names, "a named volume is the owner's"
    bench.engine.request("DELETE", "/volumes/launchcore-test-named")


def test_gpus_are_shared_out(make_bench: Make) -> None:
    """Three runs of two GPUs each, four GPUs: no two have the same one, and the third waits."""
    bench = make_bench(gpus=("0", "1", "2", "GPU-3"), gpu_access="environment")
    config = RunConfig(gpus=2)
    show = ("sh", "-c", "echo $NVIDIA_VISIBLE_DEVICES; sleep 60")
    first, second = (
        bench.start(bench.plan(*show, config=config)),
        bench.start(bench.plan(*show, config=config)),
    )
    seen = [bench.inspect(each)["Config"]["Labels"]["launchcore.docker.gpus"] for each in (first, second)]
    assert sorted(",".join(seen).split(",")) == ["0", "1", "2", "GPU-3"]

    third = bench.plan(*show, config=config)
    bench.context.cancel()
    with pytest.raises(Cancelled):
        bench.runner._gpus.wait(third, 2, bench.context)
    bench.context._cancelled = False

    # The record is lost: what the containers carry is enough to know.
    (bench.site.state / "docker" / "gpus.json").unlink()
    assert bench.runner._gpus.gpus.take("other-1", 1, bench.runner._gpus.in_use) is None
    bench.runner.cleanup(first)
    handle = bench.start(third)
    assert bench.log_with(handle, b"\n").decode().strip() == seen[0]


def test_more_gpus_than_there_are(make_bench: Make) -> None:
    bench = make_bench(gpus=("0",))
    with pytest.raises(LaunchError) as error:
        bench.start(bench.plan("true", config=RunConfig(gpus=2)))
    assert error.value.reason is Reason.UNSCHEDULABLE


def test_read_only_and_without_privileges(bench: Any) -> None:
    config = RunConfig(read_only=True, tmpfs={"/scratch": "size=1m"}, cap_drop=("ALL",))
    script = "touch /x 2>/dev/null || echo read-only; touch /scratch/x && echo scratch; "
    script += "grep NoNewPrivs /proc/self/status"
    handle = bench.start(bench.plan("sh", "-c", script, config=config))
    bench.end(handle)
    assert bench.log(handle).split() == [b"read-only", b"scratch", b"NoNewPrivs:", b"1"]


def test_unknown_when_the_engine_cannot_be_asked(make_bench: Make) -> None:
    bench = make_bench()
    handle = bench.start(bench.plan("sleep", "60"))
    elsewhere = make_bench(host="unix:///nowhere/docker.sock")

    assert elsewhere.runner.poll([handle])[handle.key].phase is Phase.UNKNOWN
    for call in (elsewhere.runner.owned, lambda: elsewhere.runner.find("x-1")):
        with pytest.raises(LaunchError) as error:
            call()
        assert error.value.reason is Reason.INFRASTRUCTURE
    elsewhere.close = lambda: None


def test_an_error_of_the_engine_is_no_end(bench: Any) -> None:
    with pytest.raises(EngineError):
        bench.engine.get("/containers/no-such/json")

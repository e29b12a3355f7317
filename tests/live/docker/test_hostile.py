"""Hostile specs, through a real agent to a real engine: a run gets what its queue opens, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from launch_docker.testing.fixtures import IMAGE

from launchcore.plugin import Fault, LaunchError, Reason, RunSpec, RunState, SourceRef
from launchcore.queues.base import RunInfo
from tests.crash.world import wait_until
from tests.live.docker.world import DockerWorld

pytestmark = [pytest.mark.live]

UP = ("sh", "-c", "echo up; sleep 60")
# What a run would like to say, by every word that the engine, its command line or a queue has for it.
WISHES: dict[str, Any] = {
    "privileged": True,
    "Privileged": True,
    "mounts": ["/:/host"],
    "Binds": ["/:/host"],
    "HostConfig": {"Privileged": True, "Binds": ["/var/run/docker.sock:/s"]},
    "engine_socket": True,
    "devices": ["/dev/kmsg"],
    "cap_add": ["SYS_ADMIN"],
    "security_opt": ["seccomp=unconfined"],
    "no_new_privileges": False,
    "network": "host",
    "pid": "host",
    "ipc": "host",
    "userns": "host",
    "cgroup_parent": "/",
    "runtime": "runc",
    "sysctls": {"kernel.msgmax": "1"},
}
TEMPTING = {
    "PRIVILEGED": "true",
    "DOCKER_PRIVILEGED": "1",
    "DOCKER_OPTS": "--privileged --pid=host -v /:/host",
    "MOUNTS": "/:/host",
    "A": "x\nPRIVILEGED=1\n--privileged",
    "B": "${privileged} ${HostConfig} $(id) `id` {{.HostConfig}}",
}


def submitted(world: DockerWorld, queue: str = "q", **spec: Any) -> str:
    source = SourceRef(type="image", fields={"image": spec.pop("image", IMAGE)})
    return world.service.submit(queue, RunSpec(source=source, **{"command": UP, **spec})).id


def running(world: DockerWorld, run: str) -> dict[str, Any]:
    """The container of a run, as the engine shows it."""

    def up() -> bool:
        found = world.service.run(run)
        assert not found.state.final, world.report()
        return found.state is RunState.RUNNING and bool(world.containers())

    wait_until("it runs", up)
    (container,) = world.containers()
    inspected: dict[str, Any] = world.engine.get(f"/containers/{container['Id']}/json")
    return inspected


def powers(inspected: Mapping[str, Any]) -> dict[str, Any]:
    """What would let a container out, where it is not as it should be."""
    host = inspected["HostConfig"]
    closed: dict[str, Any] = {
        "Privileged": False,
        "Binds": None,
        "VolumesFrom": None,
        "Devices": [],
        "DeviceRequests": [],
        "DeviceCgroupRules": None,
        "CapAdd": None,
        "PidMode": "",
        "UTSMode": "",
        "UsernsMode": "",
        "CgroupParent": "",
        "Sysctls": None,
        "GroupAdd": None,
        "OomScoreAdj": 0,
        "OomKillDisable": False,
        "PublishAllPorts": False,
    }
    found = {name: host.get(name) for name, good in closed.items() if (host.get(name) or good) != good}
    found |= {"mounts": inspected["Mounts"]} if inspected["Mounts"] else {}
    found |= {"network": host["NetworkMode"]} if host["NetworkMode"] not in ("default", "bridge") else {}
    found |= {"ipc": host["IpcMode"]} if host["IpcMode"] not in ("private", "shareable", "") else {}
    found |= {"cgroup": host["CgroupnsMode"]} if host.get("CgroupnsMode") == "host" and _v2(host) else {}
    options = [each for each in host["SecurityOpt"] or [] if not each.startswith("no-new-privileges")]
    found |= {"options": options} if options else {}
    found |= {} if "no-new-privileges" in json.dumps(host["SecurityOpt"]) else {"new privileges": True}
    found |= {} if host["MaskedPaths"] and host["ReadonlyPaths"] else {"paths": "not masked"}
    return found


def _v2(host: Mapping[str, Any]) -> bool:
    """With cgroups of version 1 the engine has no namespace of them for anybody."""
    return host.get("CgroupnsMode") != "host"


@pytest.fixture
def plain(world: DockerWorld) -> DockerWorld:
    """The queue ``plain`` opens nothing; an agent serves it."""
    world.queue("plain", config={"mounts": [], "env": {"OWNER": "queue"}})
    return world


def test_environment_and_command_give_no_power(plain: DockerWorld) -> None:
    plain.agent(queues=("plain",))
    command = (
        "sh",
        "-c",
        "echo up; sleep 60",
        "--privileged",
        "-v",
        "/:/host",
        "--pid=host",
        "${privileged}",
    )
    run = submitted(plain, "plain", command=command, env=TEMPTING, name="--privileged")
    inspected = running(plain, run)

    assert powers(inspected) == {}
    assert inspected["Config"]["Cmd"] == list(command)
    environment = inspected["Config"]["Env"]
    assert {f"{name}={value}" for name, value in TEMPTING.items()} <= set(environment)


@pytest.mark.parametrize("wish", sorted(WISHES))
def test_what_a_queue_has_not_declared_is_refused_at_once(plain: DockerWorld, wish: str) -> None:
    """As a variable, and as a field of the source: nothing is queued."""
    with pytest.raises(LaunchError) as caught:
        submitted(plain, "plain", variables={wish: WISHES[wish]})
    assert (caught.value.reason, caught.value.fault) == (Reason.CONFIG_ERROR, Fault.USER)
    assert plain.runs() == []


def test_a_source_has_no_room_for_wishes(plain: DockerWorld) -> None:
    source = SourceRef(type="image", fields={"image": IMAGE, **{name: str(WISHES[name]) for name in WISHES}})

    assert outcome(plain, "plain", source=source) is Fault.USER


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "LAUNCH_RUN_ID", "LAUNCHCORE_BASE_URL"])
def test_variables_that_change_what_runs_are_closed(plain: DockerWorld, name: str) -> None:
    with pytest.raises(LaunchError) as caught:
        submitted(plain, "plain", env={name: "/tmp/mine"})
    assert caught.value.fault is Fault.USER


@pytest.mark.parametrize(
    "image",
    [
        "--privileged",
        "-v=/:/host",
        "../../../etc/passwd",
        "busybox --privileged",
        "busybox\n--privileged",
        "busybox?fromSrc=http://127.0.0.1/",
        "file:///etc/passwd",
        "${args}",
        "x/../../containers/create",
        "busybox:1@sha256:1234",
        "/var/run/docker.sock",
    ],
)
def test_names_of_images_are_names(plain: DockerWorld, image: str) -> None:
    """They reach the engine's API in a path and in a query: nothing of it can be steered by them."""
    before = plain.engine.get("/containers/json", all=True)
    source = SourceRef(type="image", fields={"image": image})

    assert outcome(plain, "plain", source=source) is Fault.USER
    assert plain.engine.get("/containers/json", all=True) == before


def outcome(world: DockerWorld, queue: str, **spec: Any) -> Fault:
    """Whose fault a run is that cannot be: it is refused, or fails and leaves nothing."""
    try:
        world.service.submit(queue, RunSpec(command=UP, **spec))
    except LaunchError as error:
        return error.fault
    world.agent(queues=(queue,))
    (ended,) = world.finished()
    return failed(world, ended)


def failed(world: DockerWorld, run: RunInfo) -> Fault:
    """Whose fault; nothing was started, and nothing is left."""
    assert run.state is RunState.FAILED, world.report()
    assert run.failure is not None
    assert "\n" not in run.failure.detail
    assert world.containers() == []
    return run.failure.fault


def declared(**schema: Any) -> dict[str, Any]:
    return {"variables": {"what": schema}}


@pytest.mark.parametrize(
    ("config", "value"),
    [
        ({"mounts": ["/srv/data/${what}:/data"]}, "../../etc"),
        ({"mounts": ["/srv/data/${what}:/data"]}, "x:/data:rw,/:/host"),
        ({"mounts": ["/srv/data/${what}:/data"]}, "a/../../../var/run"),
        ({"mounts": ["${what}:/data"]}, "/var/run/docker.sock"),
        ({"mounts": ["${what}:/data"]}, "/run/docker.sock"),
        ({"mounts": ["data:${what}"]}, "/run/launch/secrets"),
        ({"devices": ["/dev/${what}"]}, "../etc/shadow"),
        ({"gpus": "${what}"}, "all"),
        ({"privileged": "${what}"}, "yes"),
        ({"memory": "${what}"}, "-1"),
    ],
)
def test_a_macro_does_not_break_out_of_its_place(
    world: DockerWorld, config: dict[str, Any], value: str
) -> None:
    """The owner has left a hole for a run's text: what it says stays one part of that line."""
    world.queue("open", config={"mounts": [], **config}, **declared(type="string"))
    try:
        submitted(world, "open", variables={"what": value})
    except LaunchError:
        return
    world.agent(queues=("open",))
    (ended,) = world.finished()

    failed(world, ended)
    assert ended.failure is not None
    assert ended.failure.reason is Reason.CONFIG_ERROR, ended.failure


@pytest.mark.parametrize("macro", ["run_name", "args", "submitter", "inputs.what"])
def test_macros_of_the_run_itself_stay_text(world: DockerWorld, macro: str) -> None:
    """Its name, its command, its inputs, in an environment variable of the queue."""
    hostile = 'x", "Privileged": true, "y": "${privileged}'
    config = {"mounts": [], "env": {"SAID": f"${{{macro}}}"}}
    world.queue("open", config=config)
    world.agent(queues=("open",))
    run = submitted(world, "open", name="a ${privileged} b", inputs={"what": hostile})

    def settled() -> bool:
        return world.service.run(run).state.final or bool(world.containers())

    wait_until("it runs or has failed", settled)
    if not world.service.run(run).state.final:
        assert powers(running(world, run)) == {}


def test_the_owner_can(world: DockerWorld) -> None:
    """The same powers, said by the queue's owner."""
    world.queue(
        "trusted",
        config={
            "mounts": [f"{world.root}/shared:/data:ro"],
            "cap_add": ["SYS_PTRACE"],
            "devices": ["/dev/null:/dev/nothing"],
            "pid": "host",
            "security_opt": ["seccomp=unconfined"],
        },
    )
    world.agent(queues=("trusted",))
    found = powers(running(world, submitted(world, "trusted")))

    assert found["PidMode"] == "host"
    assert found["CapAdd"] in (["SYS_PTRACE"], ["CAP_SYS_PTRACE"])
    assert [mount["RW"] for mount in found["mounts"]] == [False]
    assert "seccomp=unconfined" in found["options"]


@pytest.mark.parametrize(("value", "allowed"), [("none", True), ("host", False)])
def test_the_owner_can_open_a_choice(world: DockerWorld, value: str, allowed: bool) -> None:
    """What a variable may say is a schema of the owner's."""
    schema = declared(enum=["none", "bridge"], default="none")
    world.queue("choice", config={"mounts": [], "network": "${what}"}, **schema)
    if not allowed:
        with pytest.raises(LaunchError):
            submitted(world, "choice", variables={"what": value})
        return
    world.agent(queues=("choice",))
    inspected = running(world, submitted(world, "choice", variables={"what": value}))
    assert inspected["HostConfig"]["NetworkMode"] == "none"


def test_the_engines_socket_needs_a_second_word_of_the_owner(world: DockerWorld) -> None:
    socket = world.docker_host.removeprefix("unix://")
    world.queue("socket", config={"mounts": [f"{socket}:/var/run/docker.sock"]})
    world.agent(queues=("socket",))
    submitted(world, "socket")
    (ended,) = world.finished()

    assert failed(world, ended) is Fault.INFRASTRUCTURE
    assert "socket" in str(ended.failure)

"""Plan in, container out: what a run gets, and what it can never get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from launch_docker.manifest import (
    Image,
    Surroundings,
    body,
    container_name,
    environment,
    secret_files,
)
from launch_docker.settings import RunConfig, device_parts, mount_parts, size

from launchcore.plugin import (
    EnvVar,
    Fault,
    Given,
    ImageRef,
    Label,
    LaunchError,
    Limits,
    Reason,
    RunPlan,
    Secret,
    SecretFile,
    Volume,
)

IMAGE = Image(id="sha256:1", entrypoint=("/entry",), command=("serve",))
OURS = {"launchcore.owner": "me", "launchcore.attempt": "r-1"}


def plan(config: RunConfig | None = None, **changes: Any) -> RunPlan:
    made: dict[str, Any] = {
        "run_id": "r",
        "attempt_id": "r-1",
        "attempt": 1,
        "queue": "q",
        "name": "launch-r-1",
        "settings": config or RunConfig(),
        "command": ("train", "--fast"),
        "image": ImageRef(name="acme/train:1"),
        "labels": OURS,
        "scratch": Path("/nowhere"),
    }
    return RunPlan(**{**made, **changes})


def made(config: RunConfig | None = None, given: Given | None = None, **changes: Any) -> dict[str, Any]:
    return body(plan(config, **changes), given or Given(), IMAGE, Surroundings())


def test_nothing_unsafe_unless_the_queue_says_so() -> None:
    """Privileges, namespaces, devices, mounts and capabilities: none of them is there by default."""
    host = made()["HostConfig"]

    assert (
        not {
            *("Privileged", "CapAdd", "Devices", "DeviceRequests", "Mounts", "Binds", "PidMode", "IpcMode"),
            *("UsernsMode", "NetworkMode", "CgroupParent", "Runtime", "Sysctls", "UTSMode"),
        }
        & host.keys()
    )
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["RestartPolicy"] == {"Name": "no"}


def test_a_run_cannot_say_any_of_it() -> None:
    """All that a run brings are its words, its variables and its limits; they stay where they belong."""
    hostile = {"PRIVILEGED": "1", "HostConfig": "{}", "A": "b\nPrivileged=true"}
    body_of = made(command=("--privileged", "-v", "/:/host"), env=hostile)

    assert body_of["Cmd"] == ["--privileged", "-v", "/:/host"]
    assert body_of["HostConfig"] == made()["HostConfig"]
    assert {key: value for key, _, value in (text.partition("=") for text in body_of["Env"])}.items() >= (
        hostile.items()
    )


@pytest.mark.parametrize(("name", "value"), [("A=B", "1"), ("", "1"), ("A", "1\0"), ("A\0", "1")])
def test_variables_that_no_process_can_have(name: str, value: str) -> None:
    with pytest.raises(LaunchError) as error:
        made(env={name: value})
    assert error.value.reason is Reason.USER_ERROR


def test_the_queue_gets_what_it_says() -> None:
    config = RunConfig(
        privileged=True,
        cap_add=("SYS_PTRACE",),
        devices=("/dev/fuse", "/dev/a:/dev/b:r"),
        mounts=("/data:/data:ro", "cache:/cache"),
        network="host",
        memory="2g",
        cpus=1.5,
        shm_size="1g",
        ulimits={"nofile": "1024:2048"},
        security_opt=("seccomp=unconfined",),
        pids_limit=100,
        tmpfs={"/scratch": "size=1m"},
    )
    host = made(config)["HostConfig"]

    assert host["Privileged"] is True
    assert host["SecurityOpt"] == ["seccomp=unconfined"]
    assert host["Devices"][1] == {
        "PathOnHost": "/dev/a",
        "PathInContainer": "/dev/b",
        "CgroupPermissions": "r",
    }
    assert host["Mounts"] == [
        {"Type": "bind", "Source": "/data", "Target": "/data", "ReadOnly": True},
        {"Type": "volume", "Source": "cache", "Target": "/cache", "ReadOnly": False},
    ]
    assert host["Memory"] == host["MemorySwap"] == 2 << 30
    assert host["NanoCpus"] == 1_500_000_000
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 1024, "Hard": 2048}]


@pytest.mark.parametrize(
    "text",
    [
        "/data/../etc:/x",
        "/data:/x/../etc",
        "data",
        "/a:/b:ro:rw",
        "../x:/y",
        "/a:b",
        "/a:/b:rw,z",
        ":/b",
        "/a:",
    ],
)
def test_mounts_that_climb_or_confuse_are_refused(text: str) -> None:
    """A macro that a run fills must not lead a mount elsewhere."""
    with pytest.raises(ValueError, match="must"):
        mount_parts(text)


@pytest.mark.parametrize("text", ["/etc/passwd", "/dev/../etc/x", "/dev/a:/b", "/dev/a:/dev/b:rwx:r"])
def test_devices_are_devices(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        device_parts(text)


@pytest.mark.parametrize("source", ["/var/run/docker.sock", "/run/docker.sock", "/custom/engine.sock"])
def test_the_engines_socket_is_not_mounted(source: str) -> None:
    around = Surroundings(socket="/custom/engine.sock")
    with pytest.raises(LaunchError, match="socket"):
        body(plan(RunConfig(mounts=(f"{source}:/x",))), Given(), IMAGE, around)
    body(plan(RunConfig(mounts=(f"{source}:/x",), engine_socket=True)), Given(), IMAGE, around)


def test_nothing_is_mounted_over_the_secrets() -> None:
    for target in ("/run/launch", "/run/launch/secrets"):
        with pytest.raises(LaunchError, match="secrets"):
            made(given=Given(volumes=(Volume(source="/data", path=target),)))


def test_labels_of_the_core_win() -> None:
    given = Given(labels=(Label(name="team", value="ml"), Label(name="launchcore.owner", value="other")))

    assert made(given=given)["Labels"].items() >= {**OURS, "team": "ml"}.items()
    with pytest.raises(LaunchError, match="own"):
        made(RunConfig(labels={"launchcore.owner": "other"}))


def test_labels_of_the_image_do_not_count() -> None:
    """Everything that we read from labels is set, so that none is inherited."""
    found = made()["Labels"]
    assert found["launchcore.docker.run-seconds"] == found["launchcore.docker.gpus"] == ""


def test_the_smaller_memory_limit_wins() -> None:
    small = Limits(memory_bytes=1 << 20)
    assert made(RunConfig(memory="2m"), limits=small)["HostConfig"]["Memory"] == 1 << 20
    assert made(RunConfig(memory="512k"), limits=small)["HostConfig"]["Memory"] == 512 << 10


@pytest.mark.parametrize(
    ("config", "command", "expected"),
    [
        (RunConfig(), ("train",), (["/entry"], ["train"])),
        (RunConfig(), (), (["/entry"], ["serve"])),
        (RunConfig(entrypoint=()), ("train",), (None, ["train"])),
        (RunConfig(entrypoint=("sh",)), (), (["sh"], [])),
        (RunConfig(command=("default",)), (), (["/entry"], ["default"])),
    ],
)
def test_entry_point_and_command(config: RunConfig, command: tuple[str, ...], expected: Any) -> None:
    found = made(config, command=command)
    assert (found.get("Entrypoint"), found["Cmd"]) == expected


def test_an_image_without_a_command_needs_one() -> None:
    with pytest.raises(LaunchError, match="no command"):
        body(plan(command=()), Given(), Image(id="x"), Surroundings())


def test_secrets_are_in_files_and_nowhere_else() -> None:
    canary = "it's a\n'canary' $HOME"
    given = Given(
        env=(EnvVar(name="TOKEN", value=Secret(canary)), EnvVar(name="PLAIN", value="one")),
        files=(SecretFile(name="key file", content=Secret(canary), path_env="KEY"),),
    )
    found = made(given=given)
    files = secret_files(plan(), given)

    assert "canary" not in json.dumps(found)
    assert found["Entrypoint"][:2] == ["/bin/sh", "-c"]
    assert found["Cmd"] == ["/entry", "train", "--fast"]
    assert {"TOKEN_FILE=/run/launch/secrets/TOKEN", "KEY=/run/launch/files/key_file", "PLAIN=one"} <= set(
        found["Env"]
    )
    assert files["secrets/TOKEN"] == files["files/key_file"] == canary.encode()
    assert files["env"] == b"export TOKEN='it'\\''s a\n'\\''canary'\\'' $HOME'\n"


def test_secrets_as_files_need_no_shell() -> None:
    config = RunConfig(secrets_as="files")
    given = Given(env=(EnvVar(name="TOKEN", value=Secret("x")),))

    assert made(config, given)["Entrypoint"] == ["/entry"]
    assert set(secret_files(plan(config), given)) == {"secrets/TOKEN"}


@pytest.mark.parametrize("name", ["A B", "A;rm", "1A", "$(x)", "A-B"])
def test_secret_names_that_a_shell_would_read_otherwise(name: str) -> None:
    with pytest.raises(LaunchError, match="no name"):
        secret_files(plan(), Given(env=(EnvVar(name=name, value=Secret("x")),)))


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", ".", "a/b", "a\0b"])
def test_secret_files_stay_in_their_directory(name: str) -> None:
    (path,) = secret_files(plan(), Given(files=(SecretFile(name=name, content=Secret("x")),)))
    assert path.startswith("files/")
    assert path.count("/") == 1
    assert path.removeprefix("files/").strip(".")


def test_gpus() -> None:
    config = RunConfig(gpus=2)
    asked = body(plan(config), Given(), IMAGE, Surroundings(gpus=("0", "3")))
    by_env = Surroundings(gpus=("0", "3"), gpu_access="environment")

    assert asked["HostConfig"]["DeviceRequests"] == [{"DeviceIDs": ["0", "3"], "Capabilities": [["gpu"]]}]
    assert asked["Labels"]["launchcore.docker.gpus"] == "0,3"
    assert environment(plan(config), Given(), by_env)["NVIDIA_VISIBLE_DEVICES"] == "0,3"


def test_a_run_does_not_take_gpus_by_a_variable() -> None:
    """NVIDIA's runtime hands out what the environment asks for, and images ask for all."""
    by_env = Surroundings(gpu_access="environment")
    for around in (by_env, Surroundings()):
        with pytest.raises(LaunchError, match="cannot choose its GPUs") as caught:
            environment(plan(env={"NVIDIA_VISIBLE_DEVICES": "all"}), Given(), around)
        assert caught.value.fault is Fault.USER
    owner = RunConfig(env={"NVIDIA_VISIBLE_DEVICES": "1"})

    assert environment(plan(), Given(), by_env)["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert environment(plan(owner), Given(), by_env)["NVIDIA_VISIBLE_DEVICES"] == "1"
    assert environment(plan(RunConfig(all_gpus=True)), Given(), by_env)["NVIDIA_VISIBLE_DEVICES"] == "all"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", 1), ("1k", 1024), ("1.5g", 1610612736), ("64 MiB", 64 << 20), ("2Gb", 2 << 30)],
)
def test_sizes(text: str, expected: int) -> None:
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "x", "-1", "1x", "1 000", "1e9"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        size(text)


def test_names() -> None:
    assert container_name("launch-r-1") == "launch-r-1"
    assert container_name("launch-ü/1") == "launch---1"

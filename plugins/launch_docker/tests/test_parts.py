"""The small parts: which engine, what its errors mean, GPUs, secrets' directory, images to remove."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import pytest
from launch_docker.checks import describe
from launch_docker.endpoint import locate
from launch_docker.errors import pull_failed, start_failed
from launch_docker.gpus import Gpus
from launch_docker.images import reference, same_registry, to_prune
from launch_docker.marks import REFUSED, Marks
from launch_docker.settings import Prune, Settings
from launch_docker.tunnel import command, target
from launch_docker.vault import Vault, in_memory

from launchcore.plugin import Fault, ImageRef, LaunchError, Reason

DENIED = "pull access denied for a, repository does not exist or may require 'docker login'"


def test_what_is_said_comes_first() -> None:
    environ = {"DOCKER_HOST": "tcp://there:1"}
    assert locate(Settings(host="unix:///x.sock"), environ).url == "unix:///x.sock"
    assert locate(Settings(), environ).url == "tcp://there:1"


@pytest.mark.parametrize(
    ("there", "found"),
    [
        ("/var/run/docker.sock", "the system's engine"),
        ("/run/user/7/docker.sock", "a rootless engine"),
        ("/run/user/7/podman/podman.sock", "rootless Podman"),
    ],
)
def test_the_usual_sockets(there: str, found: str) -> None:
    endpoint = locate(Settings(), {"HOME": "/nowhere"}, exists=lambda path: path == there, uid=7)
    assert (endpoint.socket, endpoint.found) == (there, found)


def test_a_context(tmp_path: Path) -> None:
    key = sha256(b"far").hexdigest()
    meta, tls = tmp_path / "contexts/meta" / key, tmp_path / "contexts/tls" / key / "docker"
    for folder in (meta, tls):
        folder.mkdir(parents=True)
    (tls / "ca.pem").touch()
    docker = {"Host": "tcp://far:2376", "SkipTLSVerify": False}
    (meta / "meta.json").write_text(json.dumps({"Name": "far", "Endpoints": {"docker": docker}}))
    (tmp_path / "config.json").write_text('{"currentContext": "far"}')
    endpoint = locate(Settings(), {"DOCKER_CONFIG": str(tmp_path)})

    assert (endpoint.url, endpoint.tls, endpoint.ca) == ("tcp://far:2376", True, str(tls / "ca.pem"))
    with pytest.raises(LaunchError, match="not there"):
        locate(Settings(context="near"), {"DOCKER_CONFIG": str(tmp_path)})


def test_a_url_of_no_engine_shows_no_password() -> None:
    with pytest.raises(LaunchError) as error:
        locate(Settings(host="ftp://me:hunter2@there"), {})
    assert "hunter2" not in error.value.detail


@pytest.mark.parametrize("url", ["ssh://-oProxyCommand=x", "ssh://-x@host", "ssh://", "ssh://u:p@host"])
def test_ssh_reads_no_option_out_of_a_host(url: str) -> None:
    with pytest.raises(LaunchError):
        target(url)


def test_ssh() -> None:
    words = command(target("ssh://me@there:2222/run/user/1/docker.sock"), "/tmp/local")
    assert words[-2:] == ["--", "me@there"]
    assert "/tmp/local:/run/user/1/docker.sock" in words
    assert target("ssh://there").socket == "/var/run/docker.sock"


@pytest.mark.parametrize(
    ("message", "reason", "fault"),
    [
        ("manifest for a:1 not found: manifest unknown", Reason.IMAGE_PULL, Fault.USER),
        ("unauthorized: authentication required", Reason.IMAGE_PULL, Fault.USER),
        (DENIED, Reason.IMAGE_PULL, Fault.USER),
        ("toomanyrequests: You have reached your pull rate limit", Reason.IMAGE_PULL, Fault.INFRASTRUCTURE),
        ("dial tcp 127.0.0.1:1: connect: connection refused", Reason.IMAGE_PULL, Fault.INFRASTRUCTURE),
        ("write /x: no space left on device", Reason.INFRASTRUCTURE, Fault.INFRASTRUCTURE),
        ("no matching manifest for linux/amd64 in the manifest list", Reason.IMAGE_PULL, Fault.USER),
    ],
)
def test_why_a_pull_failed(message: str, reason: Reason, fault: Fault) -> None:
    error = pull_failed("a:1", message, login=False)
    assert (error.reason, error.fault) == (reason, fault)
    assert error.hint


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('exec: "x": executable file not found in $PATH: unknown', Reason.USER_ERROR),
        ('exec: "/tmp": permission denied: unknown', Reason.USER_ERROR),
        ("exec /train: exec format error", Reason.USER_ERROR),
        ('could not select device driver "" with capabilities: [[gpu]]', Reason.CONFIG_ERROR),
        ("bind source path does not exist: /x", Reason.CONFIG_ERROR),
        ("no space left on device", Reason.INFRASTRUCTURE),
        ("something new", Reason.INFRASTRUCTURE),
    ],
)
def test_why_a_start_failed(message: str, reason: Reason) -> None:
    assert start_failed(message, command="x").reason is reason


def test_a_container_that_the_engine_has_forgotten_is_told() -> None:
    error = start_failed("id already in use", command="x")

    assert (error.reason, error.retryable) == (Reason.INFRASTRUCTURE, False)
    assert "may run" in str(error.hint)


def test_references() -> None:
    found = reference(ImageRef(name="localhost:5000/a/b:1", digest="sha256:0"))
    assert (found.host, found.name, found.tag, found.digest) == (
        *("localhost:5000", "localhost:5000/a/b", "1", "sha256:0"),
    )
    assert reference(ImageRef(name="busybox@sha256:1")).digest == "sha256:1"
    assert reference(ImageRef(name="acme/x")).host == "docker.io"
    assert same_registry("https://index.docker.io/v1/", "docker.io")
    assert not same_registry("ghcr.io", "docker.io")


def test_gpus_are_nobodys_twice_and_none_is_lost(tmp_path: Path) -> None:
    gpus, none = Gpus(("0", "1", "2"), tmp_path), dict[str, str]

    assert gpus.take("a", 2, none) == ("0", "1")
    assert gpus.take("a", 2, none) == ("0", "1"), "the same ones again"
    assert gpus.take("b", 2, none) is None
    assert gpus.take("b", 1, none) == ("2",)
    gpus.release("a")
    assert gpus.take("c", 2, lambda: {"1": "d"}) is None, "a container has it, whatever the record says"
    assert gpus.take("c", 1, lambda: {"1": "d"}) == ("0",)
    record = json.loads((tmp_path / "gpus.json").read_text())
    record["2"]["pid"] = 2**22 + 1
    (tmp_path / "gpus.json").write_text(json.dumps(record))
    assert gpus.take("e", 1, lambda: {"1": "d"}) == ("2",), "its holder is dead and has no container"


def test_the_vault_is_ours_alone(tmp_path: Path) -> None:
    vault = Vault(str(tmp_path), "owner", {}, os.getuid())
    place = Path(vault.put("a-1", {"secrets/X": b"x"}))
    assert (place / "secrets/X").read_bytes() == b"x"
    assert vault.put("a-1", {"secrets/X": b"x"}) == str(place)
    assert vault.attempts() == ["a-1"]
    vault.remove("a-1")
    assert vault.attempts() == []
    (tmp_path / f"launchcore-{os.getuid()}").chmod(0o755)
    with pytest.raises(LaunchError, match="closed to others"):
        vault.put("a-2", {})


def test_in_memory() -> None:
    mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n/dev/vdb /run/disk ext4 rw 0 0\n"
    assert in_memory(Path("/run/x"), mounts)
    assert not in_memory(Path("/run/disk/x"), mounts)
    assert not in_memory(Path("/home"), mounts)


def test_marks(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    marks.set(REFUSED, "a/../b-1")
    assert marks.has(REFUSED, "a/../b-1")
    assert not marks.has(REFUSED, "b-1")
    marks.forget_old()
    marks.unset(REFUSED, "a/../b-1")
    assert marks.since(REFUSED, "a/../b-1") is None


@pytest.mark.parametrize(
    ("prune", "removed"),
    [
        (Prune(after_days=2), ["old"]),
        (Prune(keep_size="150"), ["old", "young"]),
        (Prune(keep_size="250"), ["old"]),
        (Prune(), []),
    ],
)
def test_images_to_remove(prune: Prune, removed: list[str]) -> None:
    day = 86400.0
    last: Mapping[str, float] = {"old": 7 * day, "young": 9.5 * day, "busy": 0.0}
    sizes = dict.fromkeys(last, 100)
    assert list(to_prune(last, sizes, {"busy"}, prune, 10 * day)) == removed


def test_what_the_doctor_says() -> None:
    info = {"Driver": "overlay2", "DockerRootDir": "/d", "NCPU": 2, "SecurityOptions": ["name=rootless"]}
    said = describe("unix:///x (DOCKER_HOST)", info, {"Version": "20.10", "ApiVersion": "1.41"})
    assert "rootless" in said.detail
    assert "live-restore" in str(said.hint)

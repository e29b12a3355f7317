"""What builds and pushes say: recorded from the real programs, read into lines, steps and errors."""

from __future__ import annotations

import fcntl
import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import pytest
from launch_docker import build_kit
from launch_docker.build_command import command, config_file
from launch_docker.build_diagnosis import (
    build_failed,
    is_denied,
    is_immutable,
    is_missing,
    is_temporary,
    registry_failed,
)
from launch_docker.build_order import Order
from launch_docker.build_progress import ClassicProgress, PlainProgress, RawJsonProgress, clean
from launch_docker.build_registry import PushProgress
from launch_docker.endpoint import Endpoint

from launchcore.plugin import Fault, Reason, Secret
from launchcore.recipes.context import Context

RECORDED = Path(__file__).parent / "recorded"


def recorded(name: str) -> list[str]:
    return (RECORDED / name).read_text().splitlines(keepends=True)


@pytest.mark.parametrize(("kind", "progress"), [("rawjson", RawJsonProgress), ("plain", PlainProgress)])
def test_a_failed_build_of_buildkit(kind: str, progress: Any) -> None:
    """Recorded from buildx 0.19 with the BuildKit of an engine 20.10."""
    reader = progress()
    lines = [shown for line in recorded(f"failed.{kind}") for shown in reader.feed(line)]
    lines += list(reader.close())
    text = "\n".join(lines)

    assert reader.error is not None
    assert "exit code: 3" in reader.error
    assert "RUN printf" in (reader.step or "")
    assert any("fatal: no data" in line for line in reader.tail)
    assert "fatal: no data" in text
    assert "[internal]" not in text
    assert text.count("ERROR") == 1
    error = build_failed(reader.step, reader.error, list(reader.tail))
    assert (error.reason, error.fault) == (Reason.BUILD_FAILED, Fault.USER)
    assert error.detail.endswith(("exit code 3 (fatal: no data)", "exit code 3 (threefatal: no data)"))


@pytest.mark.parametrize(("kind", "progress"), [("rawjson", RawJsonProgress), ("plain", PlainProgress)])
def test_a_good_build_of_buildkit(kind: str, progress: Any) -> None:
    reader = progress()
    lines = [shown for line in recorded(f"built.{kind}") for shown in reader.feed(line)]
    lines += list(reader.close())

    assert reader.error is None
    steps = [
        index for index, line in enumerate(lines) if "RUN echo one" in line or line.endswith((" one", " two"))
    ]
    assert len(steps) == 3
    assert sorted(steps) == steps


def test_the_classic_builders_stream() -> None:
    reader = ClassicProgress()
    messages: list[dict[str, Any]] = [
        {"stream": "Step 1/2 : FROM x"},
        {"stream": "\n"},
        {"status": "Pulling from library/x", "id": "latest"},
        {"status": "Downloading", "id": "abc", "progressDetail": {"current": 1, "total": 2}},
        {"status": "Pull complete", "id": "abc"},
        {"status": "Pull complete", "id": "abc"},
        {"stream": " ---> 123\n"},
        {"stream": "Step 2/2 : RUN y\n"},
        {"stream": "\x1b[31mred\x1b[0m\n10%\r100%\nno end"},
        {"errorDetail": {"code": 1, "message": "returned a non-zero code: 1"}, "error": "short"},
    ]
    lines = [line for message in messages for line in reader.feed(message)]

    assert lines == [
        "Step 1/2 : FROM x",
        "latest: Pulling from library/x",
        "abc: Pull complete",
        " ---> 123",
        "Step 2/2 : RUN y",
        "red",
        "100%",
        "no end",
    ]
    assert (reader.step, reader.error) == ("Step 2/2 : RUN y", "returned a non-zero code: 1")
    assert list(reader.tail) == ["red", "100%", "no end"]
    assert list(ClassicProgress().feed({"aux": {"ID": "sha256:1"}})) == []


def test_a_line_without_an_end_is_bounded() -> None:
    reader = ClassicProgress()
    lines = [line for _ in range(100) for line in reader.feed({"stream": "x" * 1000})]
    assert lines
    assert all(len(line) < 6000 for line in lines)


def test_hostile_lines_are_harmless() -> None:
    assert clean("\x1b]8;;http://evil\x07click\x1b]8;;\x07 \x00\x1b[2J\u202e") == "click"
    for line in ("null", "[]", "{}", '{"vertexes": null}', '{"logs": [{"data": "%%%"}]}', "{"):
        list(RawJsonProgress().feed(line))


@pytest.mark.parametrize(
    ("step", "message", "tail", "reason", "fault", "word"),
    [
        (
            "Step 2/3 : RUN x",
            "returned a non-zero code: 1",
            ["No space left on device"],
            "infrastructure",
            "i",
            "disk",
        ),
        (None, "write /var/lib/docker/x: no space left on device", [], "infrastructure", "i", "disk"),
        (
            "Step 1/3 : FROM a",
            "manifest for a not found: manifest unknown",
            [],
            "build_failed",
            "u",
            "base image",
        ),
        (
            "Step 1/3 : FROM a",
            "pull access denied for a, may require 'docker login'",
            [],
            "build_failed",
            "u",
            "base",
        ),
        ("Step 1/3 : FROM a", "toomanyrequests: rate limit", [], "build_failed", "i", "limits"),
        ("Step 1/3 : FROM a", "dial tcp: lookup a: no such host", [], "build_failed", "i", "cannot reach"),
        (
            "[internal] load metadata for a",
            "x509: unknown authority",
            [],
            "build_failed",
            "i",
            "certificates",
        ),
        (
            None,
            "dockerfile parse error line 2: unknown instruction: RUNN",
            [],
            "build_failed",
            "u",
            "Dockerfile",
        ),
        ("Step 2/3 : RUN x", "returned a non-zero code: 137", [], "build_failed", "u", "memory"),
        (
            "Step 2/3 : RUN x",
            "returned a non-zero code: 1",
            ["gcc: command not found"],
            "build_failed",
            "u",
            "compil",
        ),
        (
            "Step 2/3 : RUN x",
            "returned a non-zero code: 1",
            ["ERROR: No matching distribution found for y"],
            *("build_failed", "u", "spelled"),
        ),
        (
            "Step 2/3 : RUN x",
            "returned a non-zero code: 1",
            ["Temporary failure in name resolution"],
            *("build_failed", "u", "network"),
        ),
        (
            "Step 2/3 : COPY x /",
            "COPY failed: file not found in build context",
            [],
            "build_failed",
            "u",
            ".dockerignore",
        ),
        ("Step 2/3 : RUN x", "error reading from server: EOF", [], "infrastructure", "i", "log"),
        ("[2/3] RUN x", "network bridge not found", [], "build_failed", "i", "network"),
        ("Step 2/3 : RUN x", "returned a non-zero code: 9", [], "build_failed", "u", "launch logs"),
    ],
)
def test_whose_fault_a_failed_build_is(  # noqa: PLR0917
    step: str | None, message: str, tail: list[str], reason: str, fault: str, word: str
) -> None:
    error = build_failed(step, message, tail)

    assert error.reason is Reason(reason)
    assert error.fault is {"u": Fault.USER, "i": Fault.INFRASTRUCTURE}[fault]
    assert word.lower() in f"{error.detail} {error.hint}".lower()
    assert step is None or step.split(" : ")[0] in error.detail


@pytest.mark.parametrize(
    ("message", "login", "retryable", "word"),
    [
        ("unauthorized: authentication required", True, False, "refuses the login"),
        ("no basic auth credentials", False, False, "wants a login"),
        ("denied: requested access to the resource is denied", True, False, "write to this repository"),
        ("name unknown: The repository with name 'x' does not exist", True, False, "created first"),
        ("write tcp: connection reset by peer", True, True, "away or busy"),
        ("received unexpected HTTP status: 503 Service Unavailable", True, True, "away or busy"),
        ("no space left on device", True, True, "disk"),
        ("http: server gave HTTP response to HTTPS client", True, False, "insecure-registries"),
        ("An image does not exist locally with the tag: x", True, True, "removed"),
        ("something new", True, True, "engine's own log"),
    ],
)
def test_whose_fault_a_failed_push_is(message: str, login: bool, retryable: bool, word: str) -> None:
    error = registry_failed("r/x:1", message, login=login)

    assert (error.reason, error.fault) == (Reason.PUSH_FAILED, Fault.INFRASTRUCTURE)
    assert error.retryable is retryable
    assert word in (error.hint or "")


def test_what_registries_say() -> None:
    assert is_missing("manifest unknown: manifest unknown")
    assert not is_missing("unauthorized: not found")
    assert is_temporary("unexpected EOF")
    assert not is_temporary("denied: EOF")
    assert is_denied("denied: requested access to the resource is denied")
    # A digest is full of digits.
    assert is_temporary("r/x@sha256:c0de4010b403a: connection reset by peer")
    assert not is_denied("manifest for r/x@sha256:a1403fb not found")
    assert is_immutable("tag invalid: The image tag '1' already exists and the tag is immutable")


def test_a_push_is_told_now_and_then() -> None:
    progress = PushProgress()
    lines = list(progress.feed({"status": "The push refers to repository [r/x]"}, 0.0))
    for second in range(1, 31):
        detail = {"current": second << 20, "total": 30 << 20}
        lines += progress.feed({"id": "a", "status": "Pushing", "progressDetail": detail}, float(second))
    lines += progress.feed({"id": "a", "status": "Pushed"}, 31.0)
    lines += progress.feed({"progressDetail": {}, "aux": {"Tag": "1", "Digest": "sha256:1"}}, 31.0)

    assert lines == [
        "The push refers to repository [r/x]",
        "pushing: 0 of 1 layers, 11 of 30 MiB",
        "pushing: 0 of 1 layers, 21 of 30 MiB",
        "pushing: 1 of 1 layers, 30 of 30 MiB",
    ]
    assert (progress.digest, progress.error) == ("sha256:1", None)
    list(progress.feed({"error": "denied"}, 32.0))
    assert progress.error == "denied"


# -- the command line ------------------------------------------------------------------------------

LOGINS = {
    "docker.io": {"username": "ann", "password": "s3cret-password"},
    "ghcr.io": {"identitytoken": "s3cret-token"},
}


def order(**more: Any) -> Order:
    return Order(name="r/x:1", context=Context(entries=()), dockerfile="Dockerfile", **more)


def words(of: Order, url: str = "unix:///x.sock", **tls: Any) -> tuple[tuple[str, ...], dict[str, str]]:
    made = command(
        of, progress="rawjson", metadata="/m", folder="/f", endpoint=Endpoint(url=url, found="", **tls)
    )
    return made.words, dict(made.env)


def test_the_plainest_command() -> None:
    said, env = words(order())
    assert said[:3] == ("docker", "buildx", "build")
    assert said[-1] == "-"
    assert {"--load", "--tag=r/x:1", "--file=Dockerfile", "--progress=rawjson", "--provenance=false"} <= set(
        said
    )
    assert (env["DOCKER_HOST"], env["DOCKER_CONFIG"]) == ("unix:///x.sock", "/f")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"platform": "linux/arm64"}, ["--platform=linux/arm64", "--load"]),
        ({"platform": "linux/arm64,linux/amd64"}, ["--platform=linux/arm64,linux/amd64", "--push"]),
        ({"target": "train"}, ["--target=train"]),
        ({"network": "none"}, ["--network=none"]),
        ({"builder": "big"}, ["--builder=big"]),
        ({"pull": True}, ["--pull"]),
        ({"cache_from": ("type=registry,ref=a",)}, ["--cache-from=type=registry,ref=a"]),
        ({"cache_to": ("type=inline",)}, ["--cache-to=type=inline"]),
        ({"build_args": {"A": "1"}}, ["--build-arg=A=1"]),
        ({"labels": {"a": "b c"}}, ["--label=a=b c"]),
    ],
)
def test_what_is_asked_for_is_in_the_command(more: dict[str, Any], expected: list[str]) -> None:
    assert set(expected) <= set(words(order(**more))[0])


def test_no_secret_is_in_the_command() -> None:
    made = order(secrets={"TOKEN": Secret("s3cret-text")}, logins=LOGINS)
    said, env = words(made)

    assert "s3cret" not in " ".join(said)
    assert "--secret=id=TOKEN,env=LAUNCHCORE_BUILD_SECRET_0" in said
    assert env["LAUNCHCORE_BUILD_SECRET_0"] == "s3cret-text"
    assert "s3cret" not in repr(made)


def test_the_engine_is_the_one_that_we_speak_to() -> None:
    _, env = words(order(), url="tcp://h:2376", tls=True, ca="/ca")
    assert (env["DOCKER_HOST"], env["DOCKER_TLS_VERIFY"], env["DOCKER_CERT_PATH"]) == (
        "tcp://h:2376",
        "1",
        "/f",
    )


def test_the_configuration_has_the_logins_of_the_build() -> None:
    found = json.loads(config_file(order(logins=LOGINS), ("/plugins",)))
    assert set(found["auths"]) == {"https://index.docker.io/v1/", "ghcr.io"}
    assert found["auths"]["ghcr.io"] == {"identitytoken": "s3cret-token"}
    assert found["cliPluginsExtraDirs"] == ["/plugins"]


# -- what is left ----------------------------------------------------------------------------------


def test_logins_of_a_killed_build_are_swept_and_those_of_a_live_one_kept() -> None:
    dead, live = (build_kit.private_folder(f"{uuid.uuid4()}-{number}") for number in (1, 2))
    try:
        for folder in (dead, live):
            folder.mkdir(mode=0o700)
            (folder / "config.json").write_text("{}")
        with (live / "config.json").open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            build_kit.sweep()
            assert dead.exists()  # too young to be sure
            build_kit.sweep(older_than=0.0)
            assert (dead.exists(), live.exists()) == (False, True)
    finally:
        for folder in (dead, live):
            shutil.rmtree(folder, ignore_errors=True)


def test_cleanup_of_an_attempt_removes_its_logins_and_nothing_else() -> None:
    mine, other = (build_kit.private_folder(f"{uuid.uuid4()}-{number}") for number in (1, 2))
    try:
        mine.mkdir()
        other.mkdir()
        attempt = mine.name.split("-", 3)[3]
        for _ in range(2):
            build_kit.forget(attempt)
        assert (mine.exists(), other.exists()) == (False, True)
    finally:
        for folder in (mine, other):
            shutil.rmtree(folder, ignore_errors=True)

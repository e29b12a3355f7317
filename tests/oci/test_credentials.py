"""Whose login goes where."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from launchcore.builtin.oci.challenge import Challenge, challenges
from launchcore.builtin.oci.credentials import ask_helper, login_for
from launchcore.builtin.oci.names import host_of, is_loopback, place
from launchcore.builtin.oci.registry import OciRegistry
from launchcore.builtin.oci.settings import OciSettings
from launchcore.host.settings import SettingsError, structure
from launchcore.plugin import CredentialHelper, Fault, LaunchError, Login, Reason, Secret

HOST = "registry.example.com:5000"


def settings(**more: Any) -> OciSettings:
    return OciSettings(repository=f"{HOST}/team/x", username="ann", password_env="PW", **more)


def test_the_configured_login_is_for_its_own_registry_only() -> None:
    login = login_for(HOST, settings(), {"PW": "s3cret"})

    assert login == Login(host=HOST, username="ann", password=Secret("s3cret"))
    for foreign in ("registry.example.com", "registry.example.com:5001", "evil.example.com", "docker.io"):
        assert login_for(foreign, settings(), {"PW": "s3cret"}) is None


def test_a_password_file_is_read_at_each_use(tmp_path: Path) -> None:
    file = tmp_path / "password"
    made = OciSettings(repository=f"{HOST}/x", username="ann", password_file=str(file))
    for text in ("first\n", "second\r\n"):
        file.write_text(text)
        login = login_for(HOST, made, {})
        assert isinstance(login, Login)
        assert login.password.reveal() == text.strip()


@pytest.mark.parametrize("text", [None, ""])
def test_a_password_that_is_not_there_is_said(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "password"
    if text is not None:
        file.write_text(text)
    made = OciSettings(repository=f"{HOST}/x", username="ann", password_file=str(file))
    for broken in (made, settings()):
        with pytest.raises(LaunchError) as caught:
            login_for(HOST, broken, {})
        assert (caught.value.reason, caught.value.fault) == (Reason.CONFIG_ERROR, Fault.INFRASTRUCTURE)


def test_dockers_own_configuration_is_understood(docker_config: Path) -> None:
    auth = base64.b64encode(b"bob:pa:ss").decode()
    config = {
        "auths": {
            "https://index.docker.io/v1/": {"auth": auth},
            "plain.example.com": {"auth": auth},
            "https://old.example.com/v2/": {"auth": auth},
            "kept.example.com": {},
        },
        "credHelpers": {"aws.example.com": "ecr-login"},
        "credsStore": "desktop",
    }
    (docker_config / "config.json").write_text(json.dumps(config))
    registry = OciRegistry(OciSettings())

    for repository in ("team/x", "docker.io/team/x", "plain.example.com/x", "old.example.com/x"):
        (login,) = registry.logins(repository)
        assert isinstance(login, Login)
        assert (login.username, login.password.reveal()) == ("bob", "pa:ss")
        assert login.host == host_of(repository)
    assert registry.logins("aws.example.com/x") == (
        CredentialHelper(host="aws.example.com", helper="ecr-login"),
    )
    assert registry.logins("kept.example.com/x") == (
        CredentialHelper(host="kept.example.com", helper="desktop"),
    )
    assert registry.logins("unknown.example.com/x") == ()
    assert OciRegistry(OciSettings(docker_config=False)).logins("plain.example.com/x") == ()


@pytest.mark.parametrize("text", ["{", '{"auths": {"a.example.com": {"auth": "###"}}}'])
def test_a_broken_configuration_is_said(docker_config: Path, text: str) -> None:
    (docker_config / "config.json").write_text(text)
    with pytest.raises(LaunchError) as caught:
        OciRegistry(OciSettings()).logins("a.example.com/x")
    assert caught.value.reason is Reason.CONFIG_ERROR


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A credential helper that is on the PATH; what it does is written into it by the test."""
    path = tmp_path / "bin" / "docker-credential-suite"
    path.parent.mkdir()
    path.touch(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    return path


def test_a_helper_is_asked_by_standard_input(helper: Path) -> None:
    helper.write_text('#!/bin/sh\nread host; echo "{\\"Username\\": \\"$1\\", \\"Secret\\": \\"$host\\"}"\n')
    login = ask_helper(CredentialHelper(host=HOST, helper="suite"))

    assert login is not None
    assert (login.username, login.password.reveal()) == ("get", HOST)


def test_what_a_helper_does_not_have_is_no_login(helper: Path) -> None:
    helper.write_text("#!/bin/sh\necho credentials not found in native keychain; exit 1\n")
    assert ask_helper(CredentialHelper(host=HOST, helper="suite")) is None


@pytest.mark.parametrize("script", ["exit 3", "echo nothing", "echo '{}'"])
def test_a_helper_that_fails_is_said(helper: Path, script: str) -> None:
    helper.write_text(f"#!/bin/sh\n{script}\n")
    for name in ("suite", "not-installed"):
        with pytest.raises(LaunchError) as caught:
            ask_helper(CredentialHelper(host=HOST, helper=name))
        assert caught.value.reason is Reason.CONFIG_ERROR


@pytest.mark.parametrize(
    "raw",
    [
        {"username": "ann"},
        {"repository": "x/y", "password_env": "PW"},
        {"username": "ann", "password_env": "PW"},
        {"repository": "x/y", "username": "a", "password_env": "P", "password_file": "/p"},
        {"repository": "x/y:latest"},
        {"repository": "x/Y"},
        {"repository": "x/y", "credential_helper": "../../bin/sh"},
        {"host": "http://x/"},
        {"retries": -1},
    ],
)
def test_settings_that_make_no_sense_are_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        structure(OciSettings, raw, path="registry")


def test_places_of_images() -> None:
    assert (place("python").host, place("python").path, place("python").api) == (
        "docker.io",
        "library/python",
        "registry-1.docker.io",
    )
    assert place("index.docker.io/team/x").host == "docker.io"
    assert place("ghcr.io/a/b/c:1.2").what == "1.2"
    assert place("[::1]:5000/x:1", "sha256:" + "0" * 64).what == "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *[(each, True) for each in ("localhost", "localhost:5000", "127.0.0.1:1", "127.9.9.9", "[::1]:5000")],
        *[(each, False) for each in ("localhost.evil.invalid", "127.0.0.1.evil.invalid:80", "10.0.0.1:5000")],
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_challenges() -> None:
    header = 'Bearer realm="https://a.example/t?b=1,2",service="s \\"q\\"", Basic realm="x", Negotiate'
    assert challenges(header) == [
        Challenge(scheme="bearer", parameters={"realm": "https://a.example/t?b=1,2", "service": 's "q"'}),
        Challenge(scheme="basic", parameters={"realm": "x"}),
        Challenge(scheme="negotiate"),
    ]
    assert [each.scheme for each in challenges("Negotiate,Basic realm=x")] == ["negotiate", "basic"]
    assert challenges("") == challenges("realm=x") == challenges('"') == []

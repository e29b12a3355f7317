"""Docker credential helpers of the agent's machine: real programs on PATH."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from launch_k8s.helpers import pretended, resolved
from launch_k8s.settings import RunConfig
from launch_k8s.testing.samples import rendered

from launchcore.plugin import CredentialHelper, Given, LaunchError, Login, Reason

ASKED = Given(logins=(CredentialHelper(host="r.example", helper="mine"),))
Helper = Callable[[str], None]


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Helper:
    """Write the helper ``mine``."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def write(script: str) -> None:
        program = tmp_path / "docker-credential-mine"
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    return write


def test_a_helper_s_login_becomes_a_pull_secret(helper: Helper) -> None:
    helper(
        'read host; printf \'{"ServerURL": "%s", "Username": "me-%s-%s", "Secret": "canary"}\' x "$host" $1'
    )
    made = rendered(given=resolved(ASKED, RunConfig()))
    data = json.loads(base64.b64decode(made.before[0]["data"][".dockerconfigjson"]))
    assert data["auths"]["r.example"]["username"] == "me-r.example-get"
    assert data["auths"]["r.example"]["password"] == "canary"


def test_a_helper_that_has_no_login_gives_none(helper: Helper) -> None:
    helper("echo credentials not found in native keychain; exit 1")
    assert resolved(ASKED, RunConfig()).logins == ()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo canary; exit 3", "exit code 3"),
        ("echo canary", "no user name"),
        ('echo \'{"Username": "<token>", "Secret": "canary"}\'', "identity token"),
    ],
)
def test_a_helper_that_does_not_work_is_named_and_its_words_are_not_shown(
    helper: Helper, script: str, words: str
) -> None:
    helper(script)
    with pytest.raises(LaunchError) as caught:
        resolved(ASKED, RunConfig())
    assert caught.value.reason is Reason.CONFIG_ERROR
    assert words in caught.value.detail
    assert "canary" not in f"{caught.value.detail} {caught.value.hint}"


@pytest.mark.parametrize("name", ["missing", "../x"])
def test_a_helper_that_is_not_there(helper: Helper, name: str) -> None:
    with pytest.raises(LaunchError, match="no login"):
        resolved(Given(logins=(CredentialHelper(host="r", helper=name),)), RunConfig())


def test_nobody_is_asked_where_the_nodes_pull_by_themselves() -> None:
    assert resolved(ASKED, RunConfig(pull_logins="none")) is ASKED


def test_to_show_what_would_be_nobody_is_asked() -> None:
    (login,) = pretended(ASKED).logins
    assert login == Login(host="r.example", username="from mine", password=login.password)  # type: ignore[union-attr]

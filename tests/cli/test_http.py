"""``launch`` with a queue service that is reached over HTTP: nothing changes but ``base_url``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from launchcore.cli.exits import Exit
from launchcore.cli.service_checks import judge
from launchcore.config.load import load_config
from launchcore.plugin import CheckVerdict
from launchcore.queues.wire import Identity
from launchcore.store import tokens
from launchcore.store.database import Database
from tests.cli.conftest import Launch
from tests.serving import Served

JOB = """\
import os, sys
print("hello over http", sys.argv[1])
print("seen:", [name for name in os.environ if "TOKEN" in name])
"""


@attrs.define
class Service:
    url: str
    database: Database

    def token(self, *scopes: str) -> str:
        made: str = self.database.write(lambda tx: tokens.create(tx, "test", scopes, "test", None))[1]
        return made


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A server that wants tokens."""
    from launchcore.server.options import Auth

    database = Database(tmp_path / "served" / "queue.db")
    served = Served(database, auth=Auth.REQUIRED)
    monkeypatch.setenv("LAUNCHCORE_BASE_URL", served.url)
    yield Service(served.url, database)
    served.close()
    database.close()


@pytest.mark.slow
def test_a_run_from_its_submit_to_its_log(
    launch: Launch, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin, agent, user = (
        service.token("admin"),
        service.token("agent:default"),
        service.token("submit", "read"),
    )
    directory = tmp_path / "job"
    directory.mkdir()
    (directory / "job.py").write_text(JOB)
    monkeypatch.setenv("LAUNCHCORE_TOKEN", admin)
    assert launch("queue", "create", "default", "--type", "process").code == Exit.OK
    output = tmp_path / "agent.out"
    with output.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "launchcore", "agent", "--queue", "default", "--log-format", "json"],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LAUNCHCORE_TOKEN": agent},
        )
    try:
        monkeypatch.setenv("LAUNCHCORE_TOKEN", user)
        command = ("submit", directory, "-q", "default", "--json", "--", "python", "job.py", "me")
        made = launch(*command)
        assert made.code == Exit.OK, made.err
        run = made.json["id"]
        watched = launch("logs", "--follow", run)
        until(lambda: launch("show", run, "--json").json["run"]["state"] == "succeeded", output)
        assert "hello over http me" in watched.out
        assert "seen: []" in watched.out, "a run sees the agent's token"
        assert run in launch("runs", "--json").out
        assert launch("queue", "create", "other", "--type", "process").code == Exit.USAGE
        for secret in (admin, agent, user):
            assert secret not in output.read_text() + watched.out
    finally:
        process.terminate()
        process.wait(60)


def until(condition: Callable[[], bool], output: Path) -> None:
    end = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < end, output.read_text()
        time.sleep(0.05)


def test_without_a_token_it_says_how_to_get_one(launch: Launch, service: Service) -> None:
    result = launch("queue", "list")

    assert result.code == Exit.USAGE
    assert "token" in result.err
    assert result.err.count("\n") == 1


def test_a_service_that_is_away_is_one_line(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launchcore.queues.http_service.PATIENCE", 0.0)
    monkeypatch.setenv("LAUNCHCORE_BASE_URL", "http://127.0.0.1:9")
    result = launch("queue", "list")

    assert result.code == Exit.UNAVAILABLE
    assert result.err.startswith("error: the queue is not available: http://127.0.0.1:9: Connection refused")
    assert result.err.count("\n") == 1


def test_a_token_is_shown_nowhere(launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAUNCHCORE_TOKEN", "lc_secret_canary")
    file = tmp_path / "c.yaml"
    file.write_text("token: lc_secret_canary_too\nplugins: {http: {token: 7}}\n")

    shown = launch("config", "show", "--json")
    said = [
        *launch("config", "show").lines,
        shown.out,
        launch("config", "show", "--config", file).out,
        launch("config", "check", "--config", file).out,
    ]

    assert shown.json["values"]["token"] == "<secret>"
    assert "canary" not in "".join(said)


def test_the_settings_of_the_configuration_reach_the_client(
    launch: Launch, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token's path counts from the file that it stands in."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "token").write_text(service.token("read"))
    file = tmp_path / "c.yaml"
    file.write_text("token_file: secrets/token\n")
    monkeypatch.setenv("LAUNCHCORE_CONFIG", str(file))

    assert launch("queue", "list", "--json").json == []


def test_a_token_does_not_go_over_the_network_in_clear(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUNCHCORE_BASE_URL", "http://launch.example.com")
    monkeypatch.setenv("LAUNCHCORE_TOKEN", "lc_secret_canary")

    result = launch("queue", "list")

    assert result.code == Exit.USAGE
    assert "is not encrypted" in result.err
    assert "https://launch.example.com" in result.err


def test_allow_plain_http_from_the_environment() -> None:
    environ = {"LAUNCHCORE_ALLOW_PLAIN_HTTP": "true"}
    assert load_config(path=None, environ=environ, flags={}).config.allow_plain_http


class TestDoctor:
    def test_says_who_we_are_and_what_we_may(
        self, launch: Launch, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LAUNCHCORE_TOKEN", service.token("submit"))
        checks = {each["name"]: each for each in launch("doctor", "--json").json}

        assert checks["queue"]["verdict"] == "ok"
        assert "we are test and may submit" in checks["queue"]["detail"]

    def test_finds_a_service_that_is_away(self, launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("launchcore.queues.http_service.PATIENCE", 0.0)
        monkeypatch.setenv("LAUNCHCORE_BASE_URL", "http://127.0.0.1:9")
        checks = {each["name"]: each for each in launch("doctor", "--json").json}

        assert checks["queue"]["verdict"] == "failed"
        assert "refused" in checks["queue"]["detail"]

    @pytest.mark.parametrize(
        ("found", "queues", "verdict", "says"),
        [
            (Identity(identity="i", version="1.2.3", time=100.0), (), CheckVerdict.OK, "version 1.2.3"),
            (Identity(identity="i", version="1.3.0"), (), CheckVerdict.WARNING, "launchcore here is 1.2.9"),
            (Identity(identity="i", time=700.0), (), CheckVerdict.WARNING, "600 s apart"),
            (Identity(identity="i", scopes=("agent:a",)), ("a",), CheckVerdict.OK, "may agent:a"),
            (Identity(identity="i", scopes=("agent:*",)), ("a", "b"), CheckVerdict.OK, "may agent:*"),
            (Identity(identity="i", scopes=("agent:a",)), ("b",), CheckVerdict.WARNING, "cannot serve b"),
        ],
    )
    def test_judges(self, found: Identity, queues: tuple[str, ...], verdict: CheckVerdict, says: str) -> None:
        config = load_config(path=None, environ={}, flags={"queues": queues}).config
        result = judge(found, config, queues=0, seconds=0.1, ours="1.2.9", now=100.0)

        assert (result.verdict, says in result.detail) == (verdict, True)
        assert verdict is CheckVerdict.OK or result.hint

"""``launch server``, ``launch up``, ``launch token``, ``launch audit``, as processes."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import requests

from tests.server.world import PATIENCE, Caller, Later, agent, until

pytestmark = pytest.mark.slow
LAUNCH = str(Path(sys.executable).parent / "launch")


def environ(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LAUNCHCORE_")}
    return {**kept, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "NO_COLOR": "1"}


def launch(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LAUNCH, *words],
        env={**environ(folder), **more},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * PATIENCE,
    )


@attrs.define
class Process:
    """``launch server`` or ``launch up``."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def started(folder: Path, *words: str) -> Iterator[Process]:
    log = folder / f"{words[0]}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [LAUNCH, *words, "--port", "0"], env=environ(folder), cwd=folder, stdout=file, stderr=file
        )
    made = Process(process, log)
    try:
        until(lambda: re.search(r" at (https?://\S+)", made.said()) or process.poll() is not None)
        found = re.search(r" at (https?://\S+)", made.said())
        assert found, made.said()
        made.url = found[1]
        yield made
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_a_server_from_the_first_token_to_its_end(tmp_path: Path) -> None:
    """No token, the first token, what was done; and SIGTERM, with somebody waiting."""
    db = f"sqlite://{tmp_path}/queue.db"
    with started(tmp_path, "server", "--db", db, "--access-log") as server:
        until(lambda: requests.get(f"{server.url}/readyz", timeout=PATIENCE).ok)
        nobody = Caller(server.url)
        assert nobody.get("/v1/identity").json()["who"] == "local"

        made = launch(tmp_path, "token", "create", "me", "--scope", "admin", "--db", db)
        secret = made.stdout.strip()
        until(lambda: nobody.get("/v1/identity").status_code == 401)
        known = {"LAUNCHCORE_TOKEN": secret, "LAUNCHCORE_BASE_URL": server.url}

        refused = launch(tmp_path, "runs", LAUNCHCORE_BASE_URL=server.url)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert "LAUNCHCORE_TOKEN" in refused.stderr
        assert launch(tmp_path, "queue", "create", "default", "--type", "process", **known).returncode == 0
        other = launch(
            tmp_path, "token", "create", "a", "-s", "agent:default", "--expires", "1h", "--json", **known
        )
        token = json.loads(other.stdout)
        listed = launch(tmp_path, "token", "list", **known).stdout
        assert token["token"]["id"] in listed
        assert token["secret"] not in listed
        assert launch(tmp_path, "token", "revoke", token["token"]["id"], **known).returncode == 0
        assert launch(tmp_path, "token", "revoke", "nonsense", **known).returncode == 3
        trail = launch(tmp_path, "audit", **known).stdout
        assert "revoke token" in trail
        assert "create queue" in trail
        bad = launch(tmp_path, "token", "create", "a", "--scope", "root", **known)
        assert (bad.returncode, bad.stderr.count("\n")) == (2, 1)

        caller = Caller(server.url, secret)
        caller.register(agent())
        waiting = Later(lambda: caller.claim(agent(), wait=50))
        metrics = Caller(server.url, secret)
        until(lambda: "launchcore_long_polls 1.0" in metrics.get("/metrics").text)
        assert server.stop() == 0
        assert waiting.result().json() == {"claims": []}
        assert "stopped" in server.said()
        assert secret not in server.said()


def test_a_server_and_an_agent_in_one_command(tmp_path: Path) -> None:
    db = f"sqlite://{tmp_path}/queue.db"
    work = tmp_path / "work"
    work.mkdir()
    (work / "train.py").write_text("print('hello from up')")
    with started(tmp_path, "up", "--db", db, "--log-format", "text") as up:
        done = launch(
            tmp_path,
            "submit",
            "work",
            "-q",
            "default",
            "--watch",
            "--base-url",
            up.url,
            "--",
            "python",
            "train.py",
        )
        assert done.returncode == 0, (done.stdout, done.stderr, up.said())
        assert "hello from up" in done.stdout

        assert up.stop(signal.SIGINT) == 0, up.said()
    assert "made queue default" in up.said()


def test_up_where_there_are_tokens(tmp_path: Path) -> None:
    """Its agent gets one of its own, for as long as it runs; everybody else needs theirs."""
    db = f"sqlite://{tmp_path}/queue.db"
    secret = launch(tmp_path, "token", "create", "me", "--scope", "admin", "--db", db).stdout.strip()
    with started(tmp_path, "up", "--db", db, "--log-format", "text") as up:
        until(lambda: "polling" in up.said() or up.process.poll() is not None)
        assert Caller(up.url).get("/v1/runs").status_code == 401
        assert Caller(up.url, secret).get("/v1/agents").json()["agents"][0]["alive"]
        assert up.stop(signal.SIGINT) == 0, up.said()
    listed = json.loads(launch(tmp_path, "token", "list", "--all", "--json", "--db", db).stdout)
    assert {token["name"]: token["revoked_at"] is not None for token in listed} == {
        "launch-up": True,
        "me": False,
    }


def test_what_cannot_be_served_is_one_line(tmp_path: Path) -> None:
    db = f"sqlite://{tmp_path}/queue.db"
    (tmp_path / "file").write_text("no certificate")
    for words, said in (
        (["--host", "0.0.0.0", "--no-auth"], "--no-auth at 0.0.0.0"),
        (["--host", "203.0.113.7"], "cannot listen"),
        (["--tls-cert", "missing.crt"], "missing.crt"),
        (["--tls-cert", "file"], "file cannot be used"),
        (["--tls-key", "file"], "--tls-cert"),
        (["--log-format", "xml"], "xml"),
        (["--db", "mysql://x"], "mysql"),
        (["--max-archive", "much"], "much"),
    ):
        refused = launch(tmp_path, "server", "--db", db, *words)
        assert refused.returncode in (2, 4), refused.stderr
        assert refused.stderr.startswith("error: ")
        assert refused.stderr.count("\n") == 1
        assert said in refused.stderr


def test_https_and_a_renewed_certificate(tmp_path: Path) -> None:
    certificate(tmp_path, "one")
    db = f"sqlite://{tmp_path}/queue.db"
    files = ("--tls-cert", "server.crt", "--tls-key", "server.key")
    with started(tmp_path, "server", "--db", db, "--host", "127.0.0.1", *files) as server:
        assert server.url.startswith("https://")
        until(
            lambda: (
                requests.get(f"{server.url}/readyz", verify=str(tmp_path / "server.crt"), timeout=PATIENCE).ok
            )
        )
        port = int(server.url.rpartition(":")[2])
        before = ssl.get_server_certificate(("127.0.0.1", port))
        certificate(tmp_path, "two")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: ssl.get_server_certificate(("127.0.0.1", port)) != before)
        (tmp_path / "server.crt").write_text("broken")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "kept the certificate" in server.said())
        assert ssl.get_server_certificate(("127.0.0.1", port)) != before
        assert server.stop() == 0


def certificate(folder: Path, name: str) -> None:
    """A self-signed one for 127.0.0.1, by the machine's openssl."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", "server.key", "-out", "server.crt", "-subj", f"/CN={name}", "-days", "2"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )


def test_a_time_in_the_log_is_one(tmp_path: Path) -> None:
    with started(tmp_path, "server", "--db", f"sqlite://{tmp_path}/q.db", "--log-format", "json") as server:
        server.stop()
    lines = [json.loads(line) for line in server.said().splitlines()]
    assert all(datetime.datetime.fromisoformat(line["time"]) for line in lines)
    assert lines[-1]["message"] == "stopped"

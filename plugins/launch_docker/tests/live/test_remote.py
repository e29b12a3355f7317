"""Engines elsewhere: TCP with TLS, a Docker context, ssh; what works, and what is said when it does not."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from launch_docker.engine import Engine
from launch_docker.errors import EngineAway
from launch_docker.settings import Settings
from launch_docker.testing.fixtures import IMAGE, unavailable
from launch_docker.testing.machine import Machine, base_image, missing, wait_until
from launch_docker.testing.remote import Certificates, SshServer, free_port, missing_ssh

from launchcore.plugin import EnvVar, Given, LaunchError, Phase, Reason, Secret

pytestmark = pytest.mark.live
Make = Callable[..., Any]
CANARY = "canary of a remote run"
SECRET = Given(env=(EnvVar(name="TOKEN", value=Secret(CANARY)),))


@attrs.frozen
class Remote:
    """An engine that listens on TCP with TLS, for clients that its authority knows."""

    machine: Machine
    certificates: Certificates
    url: str

    def settings(self, **changes: Any) -> dict[str, Any]:
        files = self.certificates
        tls = {"tls_ca": str(files.ca), "tls_cert": str(files.cert), "tls_key": str(files.key)}
        return {"host": self.url, **tls, **changes}


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    why = missing() or (None if shutil.which("openssl") else "there is no openssl here")
    if why:
        unavailable(why)
    certificates = Certificates(tmp_path_factory.mktemp("tls") / "files")
    port = free_port()
    machine = Machine(*certificates.flags(port))
    try:
        machine.start()
        client = machine.engine()
        base_image(client, IMAGE)
        client.close()
        yield Remote(machine, certificates, f"tcp://127.0.0.1:{port}")
    finally:
        machine.close()


@pytest.fixture
def ssh(monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    if why := missing_ssh():
        unavailable(why)
    server = SshServer()
    try:
        server.start()
        monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
        yield server
    finally:
        server.close()


def whole_life(bench: Any) -> None:
    """Started with a secret, read while it runs, watched to its end, cleaned up."""
    told: list[Phase] = []
    with bench.runner.watch(lambda _, status: told.append(status.phase)):
        command = ("sh", "-c", 'echo "$TOKEN"; seq 1 20000; echo end; exit 3')
        handle = bench.start(bench.plan(*command), SECRET)
        wait_until("its end is told", lambda: told and told[-1].final)
    status = bench.end(handle)
    numbers = "".join(f"{number}\n" for number in range(1, 20001))

    assert status.exit_code == 3
    assert bench.log(handle).decode() == f"{CANARY}\n{numbers}end\n"
    assert CANARY not in json.dumps(bench.inspect(handle))
    running = bench.start(bench.plan("sleep", "60"))
    bench.runner.cancel(running, 1.0)
    assert bench.end(running).phase is Phase.FAILED
    for each in bench.runner.owned():
        bench.runner.cleanup(each)
    assert list(bench.runner.owned()) == []


def why_not(**settings: Any) -> str:
    """What is said of an engine that cannot be asked."""
    engine = Engine(Settings(connect_seconds=5.0, answer_seconds=10.0, **settings), environ={})
    try:
        with pytest.raises(EngineAway) as caught:
            engine.info()
        return str(caught.value)
    finally:
        engine.close()


def test_over_tls(remote: Remote, make_bench: Make) -> None:
    whole_life(make_bench(**remote.settings()))


def test_the_engines_authority_wins_over_that_of_the_web(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``REQUESTS_CA_BUNDLE`` is set on many machines behind a proxy, and is about other servers."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(Certificates(tmp_path / "web").ca))
    engine = Engine(Settings(**remote.settings()), environ={})
    assert engine.info()["DockerRootDir"] == str(remote.machine.data)
    engine.close()


def test_by_the_environment_of_the_docker_command(remote: Remote) -> None:
    where = {"DOCKER_HOST": remote.url, "DOCKER_TLS_VERIFY": "1"}
    engine = Engine(Settings(), environ={**where, "DOCKER_CERT_PATH": str(remote.certificates.root)})
    assert engine.info()["DockerRootDir"] == str(remote.machine.data)
    engine.close()


@pytest.mark.parametrize("by", ["settings", "DOCKER_CONTEXT", "the current one"])
def test_by_a_context(remote: Remote, tmp_path: Path, by: str) -> None:
    """A context as ``docker context create`` leaves it on the disk, with its certificates."""
    key = hashlib.sha256(b"far").hexdigest()
    meta, tls = tmp_path / "contexts/meta" / key, tmp_path / "contexts/tls" / key / "docker"
    meta.mkdir(parents=True)
    tls.mkdir(parents=True)
    endpoint = {"Host": remote.url, "SkipTLSVerify": False}
    (meta / "meta.json").write_text(json.dumps({"Name": "far", "Endpoints": {"docker": endpoint}}))
    for name in ("ca.pem", "cert.pem", "key.pem"):
        shutil.copy(remote.certificates.root / name, tls / name)
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    if by == "DOCKER_CONTEXT":
        environ["DOCKER_CONTEXT"] = "far"
    if by == "the current one":
        (tmp_path / "config.json").write_text(json.dumps({"currentContext": "far"}))
    engine = Engine(Settings(context="far" if by == "settings" else None), environ=environ)

    assert engine.info()["DockerRootDir"] == str(remote.machine.data)
    engine.close()


def test_without_a_certificate_of_ours(remote: Remote) -> None:
    said = why_not(**remote.settings(tls_cert=None, tls_key=None))
    assert "certificate" in said.lower(), said


def test_an_engine_that_the_authority_does_not_know(remote: Remote, tmp_path: Path) -> None:
    other = Certificates(tmp_path / "other")
    said = why_not(**remote.settings(tls_ca=str(other.ca)))
    assert "certificate" in said.lower(), said


def test_without_tls_at_all(remote: Remote) -> None:
    assert why_not(host=remote.url)


def test_certificates_that_are_not_there(remote: Remote) -> None:
    engine = Engine(Settings(**remote.settings(tls_ca="/no/such/ca.pem")), environ={})
    with pytest.raises(LaunchError) as caught:
        engine.info()
    assert caught.value.reason is Reason.CONFIG_ERROR
    assert caught.value.hint
    engine.close()


def test_over_ssh(remote: Remote, ssh: SshServer, make_bench: Make) -> None:
    whole_life(make_bench(ssh.url(remote.machine.url)))


def test_ssh_is_cut_and_comes_back(remote: Remote, ssh: SshServer, make_bench: Make) -> None:
    """What runs goes on, is not seen for a while, and is seen again."""
    bench = make_bench(ssh.url(remote.machine.url))
    handle = bench.start(bench.plan("sh", "-c", "echo one; sleep 60"))
    assert bench.log_with(handle, b"one")
    ssh.cut()
    wait_until("it is out of sight", lambda: bench.status(handle).phase is Phase.UNKNOWN)
    ssh.start()
    wait_until("it is seen again", lambda: bench.status(handle).phase is Phase.RUNNING)


def test_ssh_that_lets_nobody_in(remote: Remote, ssh: SshServer) -> None:
    (ssh.root / "authorized").write_text("")
    said = why_not(host=ssh.url(remote.machine.url))
    assert "Permission denied" in said, said


def test_ssh_to_a_host_that_pretends(remote: Remote, ssh: SshServer) -> None:
    """Its key is not the one that is known."""
    key = (ssh.root / "user.pub").read_text()
    (ssh.root / "known").write_text(f"[127.0.0.1]:{ssh.port} {key}")
    said = why_not(host=ssh.url(remote.machine.url))
    assert "erification failed" in said, said


def test_ssh_without_an_engine_behind_it(ssh: SshServer) -> None:
    assert why_not(host=ssh.url("unix:///no/such/engine.sock"))

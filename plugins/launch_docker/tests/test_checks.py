"""``launch doctor`` and the engine: what it says, and that it hangs up afterwards."""

from __future__ import annotations

import gc
import http.server
import json
import os
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from launch_docker.checks import check_disk, check_engine
from launch_docker.plugin import launch_register_runners
from launch_docker.settings import Settings

from launchcore.plugin import CheckResult, CheckVerdict

ANSWERS = {
    "/version": {"Version": "20.10.24", "ApiVersion": "1.41"},
    "/info": {"Driver": "overlay2", "DockerRootDir": "/", "NCPU": 2, "MemTotal": 1 << 30},
}


class Answering(http.server.BaseHTTPRequestHandler):
    """The two answers that a check asks for, on a connection that stays open."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = "/" + self.path.rpartition("/")[2]
        status = self.server.status  # type: ignore[attr-defined]
        body = json.dumps(ANSWERS[name] if status == 200 else {"message": "no"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass

    def address_string(self) -> str:
        return "a unix socket has none"


class Listening(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    status = 200


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listening]:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    with Listening(str(tmp_path / "engine.sock"), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def sockets() -> int:
    """The sockets that this process has open."""
    found = 0
    for entry in os.scandir("/proc/self/fd"):
        try:
            found += str(Path(entry.path).readlink()).startswith("socket:")
        except OSError:
            continue
    return found


@pytest.mark.parametrize("check", [check_engine, check_disk])
@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.filterwarnings("error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning")
def test_a_check_leaves_no_socket_open(
    engine: Listening, check: Callable[[Settings], CheckResult], status: int
) -> None:
    engine.status = status
    check(Settings())  # imports, and whatever they keep
    gc.collect()
    threads = threading.active_count()
    before = sockets()
    result = check(Settings())

    assert (result.verdict is CheckVerdict.OK) == (status == 200) or check is check_disk
    gc.collect()
    # The other end of each connection is in this process, too, and closes when its thread has seen ours.
    deadline = threading.Event()
    for _ in range(200):
        if sockets() <= before and threading.active_count() <= threads:
            break
        deadline.wait(0.02)
    assert sockets() <= before


def test_no_engine_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    before = sockets()
    result = check_engine(Settings())

    assert result.verdict is CheckVerdict.WARNING
    assert "no engine answers" in result.detail
    assert "No such file or directory" in result.detail
    assert check_disk(Settings()).verdict is CheckVerdict.SKIPPED
    assert sockets() == before


def test_the_engine_of_the_agents_settings_is_looked_at(
    engine: Listening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``launch doctor`` with ``plugins.docker.host``: not the engine of the shell that it is called in."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/another.sock")
    (spec,) = launch_register_runners()
    settings = Settings(host=f"unix://{tmp_path}/engine.sock")
    found = {check.name: check.run() for check in spec.checks(settings)}

    assert found["docker"].verdict is CheckVerdict.OK
    assert f"{tmp_path}/engine.sock (the agent's settings)" in found["docker"].detail
    assert set(found) == {"docker", "docker disk"}

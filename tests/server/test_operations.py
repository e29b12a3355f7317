"""For those who run a server: health, metrics, sweeps, several servers, OpenAPI."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from launchcore.plugin import QueueUnavailable
from launchcore.server.openapi import document
from launchcore.server.options import Auth, Options
from launchcore.server.serving import Serving, bind, is_loopback
from launchcore.server.table import ENDPOINTS
from launchcore.store.database import Database
from tests.server.world import Caller, Later, World, agent, until, world


def metric(caller: Caller, name: str) -> float:
    """The value of the one line of ``/metrics`` that begins so."""
    text = caller.get("/metrics").text
    (line,) = [line for line in text.splitlines() if line.startswith(name + " ")]
    return float(line.rpartition(" ")[2])


def test_metrics_of_queues_and_of_what_happened(world: World) -> None:
    worker, reader, submitter = world.caller("agent:*"), world.caller("read"), world.caller("submit")
    submitter.submit(), submitter.submit()
    worker.register(agent())
    lease = worker.one(agent())["lease"]
    failure = {"reason": "out_of_memory", "fault": "user", "stage": "execute", "detail": "x"}
    event = {"at": 1.0, "stage": "build", "what": "finished", "seconds": 3.0}
    worker.write(lease, events=[event])

    assert metric(reader, 'launchcore_queue_runs{queue="default"}') == 1
    assert metric(reader, 'launchcore_queue_running{queue="default"}') == 1
    assert metric(reader, 'launchcore_queue_oldest_seconds{queue="default"}') >= 0
    assert metric(reader, "launchcore_agents") == 1
    assert metric(reader, "launchcore_leases_expired") == 0
    assert metric(reader, 'launchcore_claims_total{kind="new",queue="default"}') == 1
    assert metric(reader, 'launchcore_stage_seconds_sum{stage="build",what="finished"}') == 3
    assert metric(reader, 'launchcore_queue_wait_seconds_count{queue="default"}') == 1

    worker.write(lease, outcome={"verdict": "failed", "failure": failure})

    ended = 'launchcore_attempts_ended_total{fault="user",reason="out_of_memory",verdict="failed"}'
    assert metric(reader, ended) == 1
    assert metric(reader, 'launchcore_queue_running{queue="default"}') == 0
    claims = 'launchcore_http_requests_total{method="POST",path="/v1/agents/claim",status="200"}'
    assert metric(reader, claims) == 1


def test_no_text_of_a_stranger_becomes_a_metric(world: World) -> None:
    reader = world.caller("read")
    for number in range(20):
        reader.get(f"/v1/runs/stranger-{number}")
        reader.get(f"/v1/stranger-{number}")

    assert "stranger" not in reader.get("/metrics").text


def test_open_metrics(tmp_path: Path) -> None:
    with world(tmp_path, open_metrics=True) as made:
        nobody = made.caller()
        assert nobody.get("/metrics").status_code == 200
        assert nobody.get("/v1/runs").status_code == 401


def test_what_time_alone_brings_needs_no_agent(tmp_path: Path) -> None:
    """An agent takes a run and is never heard of again; nobody else claims from its queue."""
    with world(tmp_path, auth=Auth.OFF, sweep_seconds=0.05) as made:
        made.queue()
        caller = made.caller()
        run = caller.submit()
        caller.post("/v1/agents/register", {"agent": agent(), "lease_seconds": 0.2})
        asked = {"agent": agent(), "queues": ["default"], "limit": 1, "lease_seconds": 0.2}
        assert caller.post("/v1/agents/claim", asked).json()["claims"]

        until(lambda: caller.get(f"/v1/runs/{run}").json()["state"] == "queued")

        assert metric(caller, 'launchcore_sweeps_total{result="done"}') >= 1


def test_ready_is_who_can_serve(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = world.caller()
    assert nobody.get("/readyz").status_code == 200

    def away() -> None:
        raise QueueUnavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(world.database, "read", away)
        answer = nobody.get("/readyz")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert nobody.get("/healthz").status_code == 200
    world.serving.core.stopping = True
    assert nobody.get("/readyz").status_code == 503
    assert nobody.get("/healthz").status_code == 200


def test_a_database_that_is_away_is_a_503_that_says_when(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = world.caller("read")
    reader.get("/v1/runs")

    def away() -> None:
        raise QueueUnavailable("the database is away")

    monkeypatch.setattr(world.database, "read", away)
    answer = reader.get("/v1/runs")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["type"].endswith("unavailable")


def test_a_bug_tells_the_caller_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = world.caller("read")
    reader.get("/v1/runs")

    def bug() -> None:
        raise ZeroDivisionError("a secret detail")

    monkeypatch.setattr(world.database, "read", bug)
    answer = reader.get("/v1/runs")

    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["type"].endswith("internal")


def test_two_servers_on_one_database(tmp_path: Path) -> None:
    """What one is told, the other one's waiting agent hears."""
    with world(tmp_path, auth=Auth.OFF) as made:
        made.queue()
        second = Database(made.where)
        with Serving(second, Options(auth=Auth.OFF)) as other:
            here, there = made.caller(), Caller(other.url)
            there.register(agent())
            waiting = Later(lambda: there.claim(agent(), wait=50))
            until(lambda: other.core.room.waiting == 1)

            run = here.submit()

            (claim,) = waiting.result().json()["claims"]
            assert claim["run_id"] == run
            assert here.write(claim["lease"], state="preparing") is None
            assert there.get(f"/v1/runs/{run}").json()["state"] == "preparing"
        second.close()


def test_the_document_tells_of_every_endpoint() -> None:
    found = document(ENDPOINTS, "1")
    paths = {
        (method.upper(), path): operation
        for path, operations in found["paths"].items()
        for method, operation in operations.items()
    }

    assert set(paths) == {endpoint.where for endpoint in ENDPOINTS}
    assert len({operation["operationId"] for operation in paths.values()}) == len(ENDPOINTS)
    for operation in paths.values():
        assert operation["summary"]
        assert {"500", "503"} <= set(operation["responses"])
    references = re.findall(r'"#/components/schemas/(\w+)"', msgspec.json.encode(found).decode())
    assert set(references) <= set(found["components"]["schemas"])
    assert "token" in found["components"]["securitySchemes"]


def test_the_server_gives_its_document(shared: World) -> None:
    assert shared.caller().get("/openapi.json").json()["openapi"].startswith("3.")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("127.1.2.3", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_what_is_reached_from_here_only(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_a_port_that_somebody_has(shared: World) -> None:
    port = int(shared.serving.url.rpartition(":")[2])

    with pytest.raises(Exception, match=r"cannot listen at 127\.0\.0\.1"):
        bind("127.0.0.1", port)
    for host in ("no.such.host.invalid", "203.0.113.7"):
        with pytest.raises(Exception, match="cannot listen"):
            bind(host, 0)

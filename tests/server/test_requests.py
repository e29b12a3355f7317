"""Requests that are malformed, too large, too slow or hostile; and what all answers have in common."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from launchcore.server.options import Auth
from tests.server.world import PATIENCE, Caller, World, spec, world


@pytest.fixture(scope="module")
def admin(shared: World) -> Caller:
    return shared.caller("admin")


def refused(answer: Any, status: int, *words: str) -> None:
    """It is a problem document of this status that says so."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    found = answer.json()
    assert found["status"] == status
    assert found["type"].startswith("urn:launchcore:problem:")
    for word in words:
        assert word in found["detail"], found


_NESTED = b'{"queue": "q", "spec": {"source": {"type": "git", "fields": {"n": %s}}}}'


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", ""),
        (b"{", ""),
        (b"\xff\xfe", ""),
        (b'"text"', ""),
        (b"[]", ""),
        (b"{}", "queue"),
        (b'{"queue": 1, "spec": {}}', "$.queue"),
        (b'{"queue": "q", "spec": {"source": {"type": "git"}}, "typo": 1}', "'typo' - at `$`"),
        (b'{"queue": "q", "spec": {"source": {"type": "git", "typo": 1}}}', "'typo' - at `$.spec.source`"),
        (b'{"queue": "q", "spec": {"source": {"type": "git"}, "command": ["x", 1]}}', "$.spec.command[1]"),
        (b'{"queue": "q", "spec": {"source": {"type": "git"}}, "priority": 9}', "$.priority"),
        (
            b'{"queue": "q", "spec": {"source": {"type": "git"}, "limits": {"run_seconds": "1"}}}',
            "run_seconds",
        ),
        (b'{"queue": "q", "spec": {"source": {"type": "git", "fields": {"n": 1e400}}}}', ""),
        (
            b'{"queue": "q", "spec": {"source": {"type": "git", "fields": {"n": ' + b"9" * 30 + b"}}}}",
            "too large",
        ),
        (b'{"queue": "q", "spec": {"source": {"type": "\\ud800"}}}', ""),
        (_NESTED % (b"[" * 5000), ""),
    ],
)
def test_a_body_that_is_not_what_the_endpoint_takes(admin: Caller, body: bytes, where: str) -> None:
    answer = admin.ask("POST", "/v1/runs", data=body, headers={"Content-Type": "application/json"})

    refused(answer, 400, where)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_browser_form_is_no_request(admin: Caller, kind: str) -> None:
    answer = admin.ask("POST", "/v1/runs", data=b"{}", headers={"Content-Type": kind})

    refused(answer, 415)


def test_a_body_that_is_too_large(admin: Caller) -> None:
    body = b'{"queue": "' + b"x" * (5 << 20) + b'"}'
    json = {"Content-Type": "application/json"}

    refused(admin.ask("POST", "/v1/runs", data=body, headers=json), 413)
    pieces = (body[start : start + 65536] for start in range(0, len(body), 65536))
    refused(admin.ask("POST", "/v1/runs", data=pieces, headers=json), 413)  # nobody said how large it is


def test_a_piece_of_a_log_that_is_too_large(tmp_path: Path) -> None:
    with world(tmp_path, auth=Auth.OFF, max_append=10) as made:
        lease = {"attempt_id": "x-1", "token": "t", "expires_at": 0}
        log = {"offset": 0, "data": "eHh4eHh4eHh4eHh4", "cursor": None}

        refused(
            made.caller().post("/v1/attempts/writes", {"writes": [{"lease": lease, "update": {"log": log}}]}),
            413,
        )


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("limit=x", "limit"),
        ("nothing=1", "nothing"),
        ("limit=1&limit=2", "twice"),
        ("state=nonsense", "state"),
        ("since=nan", "since"),
        ("since=inf", "since"),
        ("limit=99999999999999999999", "limit"),
        ("name=%00", "NUL"),
        ("name=" + "x" * 300, "name"),
        ("&".join(["state=queued"] * 200), "query"),
    ],
)
def test_a_query_that_cannot_be_meant(admin: Caller, query: str, words: str) -> None:
    refused(admin.get(f"/v1/runs?{query}"), 400, words)


def test_a_query_that_is_too_long(admin: Caller) -> None:
    refused(admin.get("/v1/runs?name=" + "x" * 9000), 413)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/archives/../../etc/passwd",
        "/v1/archives/..%2f..%2fetc%2fpasswd",
        "/v1/archives/sha256:..",
        "/v1/archives/sha256:" + "A" * 64,
        "/v1/archives/sha256:" + "0" * 63,
        "/v1/archives/%00",
        "/v1/archives/.upload-x",
        "/v1/runs/%00",
        "/v1/runs/%2e%2e",
        "/v1/queues/%F0%28%8C%28",
        "/v1/queues/%3Cscript%3E",
        "/v1/nothing",
        "/v1/runs/x/y/z",
    ],
)
def test_paths_that_lead_nowhere(admin: Caller, shared: World, path: str) -> None:
    """As they are: a client library would tidy them up."""
    close = "Connection: close\r\n"
    answer = raw(
        shared, f"GET {path} HTTP/1.1\r\nHost: x\r\n{close}Authorization: Bearer {admin.secret}\r\n\r\n"
    )

    assert answer.startswith(b"HTTP/1.1 404"), answer[:300]
    assert b"root:" not in answer


def test_methods_that_a_path_does_not_have(admin: Caller) -> None:
    answer = admin.ask("PATCH", "/v1/queues/default")
    refused(answer, 405)
    assert "GET" in answer.headers["Allow"]
    refused(admin.ask("PUT", "/v1/runs"), 405)
    refused(admin.ask("TRACE", "/v1/identity"), 405)


def test_what_all_answers_have(admin: Caller) -> None:
    """Nothing that was stored is ever taken for a page."""
    for answer in (
        admin.get("/v1/identity"),
        admin.get("/v1/queues/default"),
        admin.get("/v1/queues/%3Cscript%3Ealert(1)%3C%2Fscript%3E"),
        admin.get("/nothing"),
        admin.get("/healthz"),
        admin.get("/openapi.json"),
        Caller(admin.url).get("/v1/runs"),
    ):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "html" not in answer.headers["Content-Type"]
        assert answer.headers["X-Request-Id"]
        assert "server" not in answer.headers
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_request_has_a_name(admin: Caller) -> None:
    assert (
        admin.get("/healthz", headers={"X-Request-Id": "my-request-1"}).headers["X-Request-Id"]
        == "my-request-1"
    )
    names = {admin.get("/healthz").headers["X-Request-Id"] for _ in range(5)}
    assert len(names) == 5
    for hostile in ("x" * 100, "a b", "<script>", "a;b"):
        assert admin.get("/healthz", headers={"X-Request-Id": hostile}).headers["X-Request-Id"] != hostile


def test_hostile_texts_come_back_as_they_are(admin: Caller) -> None:
    hostile = "<script>alert(1)</script>\u202e&#x22;"
    made = admin.post("/v1/runs", {"queue": "default", "spec": spec(command=("echo", hostile))})

    found = admin.get(f"/v1/runs/{made.json()['id']}")

    assert found.json()["spec"]["command"] == ["echo", hostile]
    assert found.headers["Content-Type"] == "application/json"


def test_an_archive(admin: Caller) -> None:
    data = bytes(range(256)) * 10_000

    stored = admin.ask(
        "POST", "/v1/archives", data=(data[start : start + 7777] for start in range(0, len(data), 7777))
    )
    digest = stored.json()["digest"]

    assert stored.status_code == 201
    assert admin.ask("POST", "/v1/archives", data=data).json()["digest"] == digest
    assert admin.ask("HEAD", f"/v1/archives/{digest}").status_code == 200
    assert admin.ask("HEAD", f"/v1/archives/{digest[:-1]}0").status_code in (200, 404)
    fetched = admin.get(f"/v1/archives/{digest}")
    assert fetched.content == data
    assert fetched.headers["Content-Type"] == "application/octet-stream"


def test_an_archive_that_is_too_large(tmp_path: Path) -> None:
    with world(tmp_path, auth=Auth.OFF, max_archive=1000) as made:
        caller = made.caller()

        refused(caller.ask("POST", "/v1/archives", data=b"x" * 1001), 413)
        refused(caller.ask("POST", "/v1/archives", data=iter([b"x" * 600] * 2)), 413)
        assert caller.ask("POST", "/v1/archives", data=b"x" * 1000).status_code == 201


def test_an_archive_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    with world(tmp_path, auth=Auth.OFF) as made:
        with socket.create_connection(("127.0.0.1", port(made)), timeout=PATIENCE) as connection:
            connection.sendall(
                b"POST /v1/archives HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf"
            )
        assert made.caller().get("/healthz").status_code == 200
        assert not list(tmp_path.glob("archives/*"))


def test_a_body_that_does_not_come(tmp_path: Path) -> None:
    with world(tmp_path, auth=Auth.OFF, body_seconds=0.3) as made:
        for path, kind in (("/v1/runs", "application/json"), ("/v1/archives", "application/octet-stream")):
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
            answer = raw(made, head + "Content-Length: 100\r\n\r\n{")
            assert answer.startswith(b"HTTP/1.1 408"), answer[:200]


@pytest.mark.parametrize(
    "begin", ["", "GET /healthz HT", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: "]
)
def test_a_request_that_does_not_begin(tmp_path: Path, begin: str) -> None:
    with world(tmp_path, auth=Auth.OFF, body_seconds=0.3) as made:
        assert raw(made, begin) == b""  # hung up


def test_a_request_after_another_on_one_connection_has_its_time(tmp_path: Path) -> None:
    with (
        world(tmp_path, auth=Auth.OFF, body_seconds=0.3) as made,
        socket.create_connection(("127.0.0.1", port(made)), timeout=PATIENCE) as connection,
        connection.makefile("rb") as answers,
    ):
        for _ in range(2):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while answers.readline() != b"ok\n":
                pass
        connection.sendall(b"GET /hea")
        assert answers.read() == b""  # hung up


def test_a_head_that_is_too_large(admin: Caller, shared: World) -> None:
    answer = raw(shared, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Large: " + "x" * 200_000 + "\r\n\r\n")

    assert not answer.startswith(b"HTTP/1.1 200")
    assert admin.get("/healthz").status_code == 200


def port(world: World) -> int:
    return int(world.serving.url.rpartition(":")[2])


def raw(world: World, sent: str) -> bytes:
    """All that the server says to these bytes, until it hangs up or says no more."""
    with socket.create_connection(("127.0.0.1", port(world)), timeout=PATIENCE) as connection:
        connection.sendall(sent.encode())
        said = b""
        try:
            while piece := connection.recv(65536):
                said += piece
        except ConnectionError:
            pass
        return said


@pytest.mark.parametrize("number", [2**31, 2**40, -(2**31) - 1, 2**63 - 1])
@pytest.mark.parametrize("text", ["x", "nul \0 nul", "\U0010ffff"])
def test_values_that_not_every_database_holds(admin: Caller, number: int, text: str) -> None:
    """They are stored, or refused: never a failure."""
    info = {"name": f"a{number}", "session": text, "host": text, "pid": number, "version": text, "queues": []}
    lease = {"attempt_id": "0123456789ab-1", "token": text, "expires_at": 0.0}
    event = {"at": 1e300, "stage": "build", "what": text, "detail": text, "seconds": 1e300}
    outcome = {"verdict": "succeeded", "exit_code": number, "signal": number, "usage": {text: 1e300}}
    log = {"offset": max(0, number), "data": "eA==", "cursor": text}
    retry = {"max_lost": number, "max_retries": number, "delay_seconds": 1e300}
    asked = [
        ("/v1/agents/register", {"agent": {**info, "max_jobs": number}, "lease_seconds": 30}),
        (
            "/v1/agents/claim",
            {"agent": info, "queues": [text], "limit": number, "lease_seconds": 30, "key": text},
        ),
        ("/v1/agents/renew", {"agent": info, "leases": [lease], "lease_seconds": 30}),
        ("/v1/agents/stops", {"agent": info, "known": [text]}),
        ("/v1/agents/reclaim", {"agent": info, "lease_seconds": 30}),
        ("/v1/attempts/release", {"lease": lease, "detail": text}),
        ("/v1/attempts/ended", {"attempts": [text, f"0123456789ab-{abs(number)}"]}),
        ("/v1/queues", {"name": "q", "config": {"type": text, "max_running": number, "retry": retry}}),
        ("/v1/runs", {"queue": text, "spec": spec(name=text)}),
        ("/v1/runs", {"queue": "default", "spec": spec(command=(text,), variables={text: number})}),
        ("/v1/jobs", {"name": "j", "definition": {"source": {"type": text}, "description": text}}),
        ("/v1/tokens", {"name": text, "scopes": [f"agent:{text}"], "expires_at": 1e300}),
        ("/v1/tokens", {"name": "x", "scopes": ["read"], "expires_at": 1e300}),
        ("/v1/agents/unregister", {"agent": info}),
    ]
    for path, value in asked:
        answer = admin.post(path, value)
        assert answer.status_code < 500, (path, answer.text)
    for update in ({"events": [event]}, {"outcome": outcome}, {"log": log}, {"image": text}):
        answer = admin.post("/v1/attempts/writes", {"writes": [{"lease": lease, "update": update}]})
        assert answer.status_code < 500, answer.text
    for query in (f"offset={number}", f"limit={number}", f"attempt={number}"):
        assert admin.get(f"/v1/runs/none/logs?{query}").status_code < 500
    for path in (f"/v1/runs?limit={number}", f"/v1/audit?limit={number}", f"/v1/runs?before={number}"):
        assert admin.get(path).status_code < 500

"""Who is let in: tokens, what is wrong with them, and the mode that needs none."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from launchcore.queues.wire import TokenCreate
from launchcore.server.options import Auth
from tests.server.world import Caller, World, until, world


def problem(answer: object) -> str:
    return str(answer.json()["type"]).rpartition(":")[2]  # type: ignore[attr-defined]


def test_a_good_token(shared: World) -> None:
    caller = shared.caller("submit", "agent:default", name="alice")

    found = caller.get("/v1/identity").json()

    assert found["who"] == "alice"
    assert found["scopes"] == ["submit", "agent:default"]
    assert found["identity"]


@pytest.mark.parametrize(
    "given",
    [
        "Bearer ",
        "Bearer nonsense",
        "Bearer lc_000000000000_" + "A" * 43,
        "Bearer lc_' OR 1=1 --_" + "A" * 43,
        "Basic YWxpY2U6c2VjcmV0",
        "lc_000000000000_" + "A" * 43,
    ],
)
def test_what_is_no_token(shared: World, given: str) -> None:
    answer = Caller(shared.serving.url).get("/v1/runs", headers={"Authorization": given})

    assert (answer.status_code, problem(answer)) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_secret_of_another(shared: World) -> None:
    one, two = shared.caller("read").secret or "", shared.caller("read").secret or ""
    mixed = one[: len("lc_000000000000_")] + two[len("lc_000000000000_") :]

    assert Caller(shared.serving.url, mixed).get("/v1/runs").status_code == 401


def test_revoked_here_it_ends_at_once(world: World) -> None:
    admin, caller = world.caller("admin"), world.caller("read")
    assert caller.get("/v1/runs").status_code == 200
    token_id = str(caller.secret).split("_")[1]

    assert admin.ask("DELETE", f"/v1/tokens/{token_id}").status_code == 200

    answer = caller.get("/v1/runs")
    assert answer.status_code == 401
    assert "revoked" in answer.json()["detail"]


def test_revoked_in_the_database_it_ends_soon(world: World) -> None:
    caller = world.caller("read")
    assert caller.get("/v1/runs").status_code == 200
    world.admin.revoke(str(caller.secret).split("_")[1])

    until(lambda: caller.get("/v1/runs").status_code == 401)


def test_expired(shared: World) -> None:
    answer = shared.caller("read", expires_at=time.time() - 1).get("/v1/runs")

    assert answer.status_code == 401
    assert "expired" in answer.json()["detail"]


def test_one_that_expires_while_it_is_known(world: World) -> None:
    caller = world.caller("read", expires_at=time.time() + 1.0)
    caller.get("/v1/runs")

    until(lambda: caller.get("/v1/runs").status_code == 401)


def test_its_use_is_noted(world: World) -> None:
    caller = world.caller("read", name="used")
    caller.get("/v1/runs")

    until(lambda: next(token for token in world.admin.listed() if token.name == "used").used_at)


def test_whoever_guesses_is_slowed_down(tmp_path: Path) -> None:
    with world(tmp_path, failures_per_second=0.5) as made:
        good = made.caller("read")
        assert good.get("/v1/runs").status_code == 200
        bad = Caller(made.serving.url, "lc_000000000000_" + "A" * 43)

        seen = [bad.get("/v1/runs") for _ in range(40)]

        assert seen[0].status_code == 401
        assert seen[-1].status_code == 429
        assert int(seen[-1].headers["Retry-After"]) > 0
        assert good.get("/v1/runs").status_code == 200  # from the same address, with a token that is known


def test_a_token_has_its_rate(tmp_path: Path) -> None:
    with world(tmp_path, requests_per_second=2.0) as made:
        caller, other = made.caller("read"), made.caller("read")

        seen = [caller.get("/v1/runs").status_code for _ in range(30)]

        assert 429 in seen
        assert seen[0] == 200
        assert other.get("/v1/runs").status_code == 200


def test_open_until_there_is_a_token(tmp_path: Path) -> None:
    with world(tmp_path, auth=Auth.UNTIL_FIRST) as made:
        nobody = made.caller()
        assert nobody.get("/v1/identity").json()["who"] == "local"
        assert "admin" in nobody.get("/v1/identity").json()["scopes"]

        token = made.admin.create(TokenCreate(name="first", scopes=("read",)))
        until(lambda: nobody.get("/v1/identity").status_code == 401)

        made.admin.revoke(token.token.id)
        assert nobody.get("/v1/identity").status_code == 401  # what was shut once stays shut


def test_a_token_made_here_shuts_the_door_at_once(tmp_path: Path) -> None:
    with world(tmp_path, auth=Auth.UNTIL_FIRST) as made:
        nobody = made.caller()
        made_here = nobody.post("/v1/tokens", {"name": "first", "scopes": ["admin"]})

        assert nobody.get("/v1/identity").status_code == 401
        assert Caller(made.serving.url, made_here.json()["secret"]).get("/v1/tokens").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example.com"},
        {"Host": "evil.example.com:8420"},
        {"Host": "127.0.0.1.evil.example.com"},
        {"Host": ""},
        {"Origin": "http://evil.example.com"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"X-Forwarded-For": "192.0.2.1"},
        {"Forwarded": "for=192.0.2.1"},
    ],
    ids=str,
)
def test_without_tokens_only_programs_of_this_machine(tmp_path: Path, headers: dict[str, str]) -> None:
    """A page in a browser of this machine reaches its loopback address, whatever its name server says."""
    with world(tmp_path, auth=Auth.OFF) as made:
        nobody = made.caller()
        assert nobody.get("/v1/runs").status_code == 200
        assert nobody.get("/v1/runs", headers={"Host": "localhost:8420"}).status_code == 200
        assert nobody.get("/v1/runs", headers={"Host": "[::1]:8420"}).status_code == 200

        assert nobody.get("/v1/runs", headers=headers).status_code in (400, 403)


def test_nothing_secret_is_logged_or_answered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with world(tmp_path, access_log=True) as made, caplog.at_level(logging.DEBUG):
        admin = made.caller("admin")
        secret = str(admin.secret)
        answers = [
            admin.get("/v1/tokens"),
            admin.get("/v1/audit"),
            admin.get(f"/v1/runs?name={secret}"),
            admin.get("/v1/queues/none"),
            Caller(made.serving.url, secret[:-1] + "!").get("/v1/runs"),
        ]

    logged = [record.getMessage() for record in caplog.records if not record.name.startswith("urllib3")]
    assert logged
    for text in (*logged, *(answer.text for answer in answers)):
        assert secret not in text
        assert secret[-43:] not in text

"""Whose runs, whose queues: what a scope does not say by itself."""

from __future__ import annotations

import pytest

from tests.server.world import LEASE, World, agent, spec


@pytest.fixture(autouse=True)
def _other(world: World) -> None:
    world.queue("other")


def test_a_submitter_sees_its_own_runs_only(world: World) -> None:
    alice, bob = world.caller("submit", name="alice"), world.caller("submit", name="bob")
    mine, theirs = alice.submit(name="train"), bob.submit(name="train")

    assert [run["id"] for run in alice.get("/v1/runs").json()["runs"]] == [mine]
    assert [run["id"] for run in alice.get("/v1/runs?submitter=bob").json()["runs"]] == [mine]
    assert alice.get("/v1/runs/train").json()["id"] == mine  # although bob's is newer
    for path in ("", "/timeline", "/wait", "/logs", "/logs/stream", "/events"):
        answer = alice.get(f"/v1/runs/{theirs}{path}")
        assert answer.status_code == 404
        assert theirs not in (answer.json()["hint"] or "")
    for path in ("cancel", "retry"):
        assert alice.post(f"/v1/runs/{theirs}/{path}", {}).status_code == 404
    assert bob.get(f"/v1/runs/{theirs}").json()["state"] == "queued"


def test_the_beginning_of_another_run_tells_nothing(world: World) -> None:
    alice, bob = world.caller("submit", name="alice"), world.caller("submit", name="bob")
    bob.submit(), bob.submit()
    begins = bob.submit()[:3]

    answer = alice.get(f"/v1/runs/{begins}")

    assert answer.status_code == 404
    assert begins not in answer.json()["detail"].replace(repr(begins), "")


def test_a_submitter_is_who_its_token_says(world: World) -> None:
    alice, admin = world.caller("submit", name="alice"), world.caller("admin", name="root")
    body = {"queue": "default", "submitter": "bob", "spec": spec()}

    assert alice.post("/v1/runs", body).json()["submitter"] == "alice"
    assert admin.post("/v1/runs", body).json()["submitter"] == "bob"
    run = alice.submit()
    assert alice.post(f"/v1/runs/{run}/cancel", {"by": "bob"}).json()["failure"]["detail"].endswith("alice")


def test_another_idempotency_key_gives_no_run(world: World) -> None:
    alice, bob = world.caller("submit", name="alice"), world.caller("submit", name="bob")
    body = {
        "queue": "default",
        "spec": {"source": {"type": "image", "fields": {"image": "x"}}, "command": ["x"]},
    }
    key = {"Idempotency-Key": "k"}

    first = alice.post("/v1/runs", body, headers=key)
    again = alice.post("/v1/runs", body, headers=key)
    other = bob.post("/v1/runs", body, headers=key)

    assert first.json()["id"] == again.json()["id"]
    assert other.status_code == 409
    assert first.json()["id"] not in other.text


def test_read_reads_and_does_no_more(world: World) -> None:
    run = world.caller("submit", name="alice").submit()
    reader = world.caller("read")

    assert reader.get(f"/v1/runs/{run}").json()["submitter"] == "alice"
    assert reader.post(f"/v1/runs/{run}/cancel", {}).status_code == 403
    assert reader.post("/v1/queues", {"name": "x", "config": {"type": "process"}}).status_code == 403


def test_an_agent_serves_the_queues_of_its_token(world: World) -> None:
    caller = world.caller("agent:default")
    both = agent("both", ("default", "other"))

    assert caller.post("/v1/agents/register", {"agent": both, "lease_seconds": LEASE}).status_code == 403
    none = agent("none", ())
    assert caller.post("/v1/agents/register", {"agent": none, "lease_seconds": LEASE}).status_code == 403
    mine = agent("mine")
    caller.register(mine)
    assert caller.claim(mine, "other").status_code == 403
    assert caller.claim(mine, "default", "other").status_code == 403
    assert caller.claim(mine, "default").status_code == 200
    assert caller.get("/v1/queues/other").status_code == 403
    assert [queue["name"] for queue in caller.get("/v1/queues").json()["queues"]] == ["default"]


def test_a_token_of_one_queue_writes_nothing_about_another(world: World) -> None:
    """Even with the lease's own token, which it cannot know."""
    everyone, other = world.caller("agent:*"), world.caller("agent:other")
    world.caller("submit").submit()
    info = agent()
    everyone.register(info)
    lease = everyone.one(info)["lease"]

    wrong = other.write(lease, state="preparing")
    released = other.post("/v1/attempts/release", {"lease": lease})

    assert wrong["status"] == 403
    assert released.status_code == 403
    assert other.post("/v1/attempts/ended", {"attempts": [lease["attempt_id"]]}).json()["attempts"] == []
    assert everyone.write(lease, state="preparing") is None


def test_a_token_of_one_queue_never_takes_the_place_of_an_agent_of_another(world: World) -> None:
    everyone, other = world.caller("agent:*"), world.caller("agent:other")
    world.caller("submit").submit()
    info = agent("victim")
    everyone.register(info)
    lease = everyone.one(info)["lease"]
    thief = agent("victim", ("other",), session="thief")
    asked = {"agent": thief, "lease_seconds": LEASE}

    assert other.post("/v1/agents/register", {**asked, "previous_is_dead": True}).status_code == 403
    assert other.post("/v1/agents/reclaim", asked).status_code == 403
    assert other.post("/v1/agents/unregister", {"agent": info}).status_code == 403
    assert other.post("/v1/agents/renew", {**asked, "leases": []}).status_code == 403
    assert everyone.write(lease, state="preparing") is None


def test_a_lease_is_the_right_to_one_attempt(world: World) -> None:
    caller = world.caller("agent:*")
    submitter = world.caller("submit", name="alice")
    first, second = submitter.submit(), submitter.submit()
    one, two = agent("one"), agent("two")
    caller.register(one)
    caller.register(two)
    mine, theirs = caller.one(one)["lease"], caller.one(two)["lease"]

    crossed = {**theirs, "token": mine["token"]}
    log = {"offset": 0, "data": "eA==", "cursor": None}
    wrong = caller.write(crossed, log=log)

    assert wrong["type"].endswith("lease_lost")
    assert {mine["attempt_id"], theirs["attempt_id"]} == {f"{first}-1", f"{second}-1"}
    assert submitter.get(f"/v1/runs/{second}/logs").content == b""


def test_everything_that_is_changed_is_in_the_trail(world: World) -> None:
    admin, alice = world.caller("admin", name="root"), world.caller("submit", name="alice")
    config = {"type": "process"}
    admin.post("/v1/queues", {"name": "new", "config": config})
    admin.ask("PUT", "/v1/queues/new", value={"config": config, "paused": True})
    admin.ask("DELETE", "/v1/queues/new")
    run = alice.submit()
    alice.post(f"/v1/runs/{run}/cancel", {})
    again = alice.post(f"/v1/runs/{run}/retry", {}).json()["id"]
    alice.post(
        "/v1/jobs", {"name": "job", "definition": {"source": {"type": "image", "fields": {"image": "x"}}}}
    )
    alice.ask("POST", "/v1/archives", data=b"bytes")
    token = admin.post("/v1/tokens", {"name": "x", "scopes": ["read"]}).json()["token"]["id"]
    admin.ask("DELETE", f"/v1/tokens/{token}")
    worker = world.caller("agent:*", name="worker")
    worker.register(agent())
    worker.post("/v1/agents/unregister", {"agent": agent()})

    page = admin.get("/v1/audit?limit=100").json()

    said = [(entry["who"], entry["action"], entry["subject"]) for entry in reversed(page["entries"])]
    made = [each for each in said if each[0] != "test"]
    assert made == [
        ("root", "create queue", "new"),
        ("root", "edit queue", "new"),
        ("root", "delete queue", "new"),
        ("alice", "submit run", run),
        ("alice", "cancel run", run),
        ("alice", "retry run", again),
        ("alice", "create job", "job:1"),
        ("alice", "store archive", made[7][2]),
        ("root", "create token", token),
        ("root", "revoke token", token),
        ("worker", "register agent", "one"),
        ("worker", "unregister agent", "one"),
    ]
    assert all(entry["token"] for entry in page["entries"] if entry["who"] != "test")
    newest = admin.get("/v1/audit?limit=1").json()
    older = admin.get(f"/v1/audit?limit=1&before={newest['next']}").json()
    assert older["entries"][0]["id"] < newest["entries"][0]["id"]


def test_what_is_refused_is_not_in_the_trail(world: World) -> None:
    admin = world.caller("admin")
    admin.post("/v1/queues", {"name": "default", "config": {"type": "process"}})  # it exists
    admin.ask("DELETE", "/v1/queues/none")

    assert [entry for entry in admin.get("/v1/audit").json()["entries"] if entry["who"] != "test"] == []

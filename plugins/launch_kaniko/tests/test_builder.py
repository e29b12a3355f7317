"""The builder on a scripted API server: what a real cluster does not do on demand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from launch_k8s.names import ATTEMPT
from launch_k8s.testing.api_server import ApiServer
from launch_k8s.testing.scripted import wait_until
from launch_kaniko.cluster import STALE
from launch_kaniko.testing.scripted import REPOSITORY, left
from launch_kaniko.testing.scripted_place import GOOD, ScriptedPlace, held_job, refused, slow

from launchcore.plugin import (
    Cancelled,
    CredentialHelper,
    EnvVar,
    Fault,
    Login,
    Reason,
    Secret,
)

CANARY = "canary-c4d0"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ScriptedPlace]:
    with ApiServer(token="t0ken") as server:
        made = ScriptedPlace(tmp_path, server)
        yield made
        made.pool.shutdown(cancel_futures=True)


# -- the usual way -----------------------------------------------------------------------------------


def test_a_build_by_digest(site: ScriptedPlace) -> None:
    built = site.bench.build(site.plan())
    assert built.pushed
    assert not built.cached
    assert built.ref.digest == site.registry.image(built.ref.name)["digest"]
    assert "hello" in site.bench.context.lines
    assert left(site.server) == []


def test_what_is_there_costs_one_question(site: ScriptedPlace) -> None:
    """Nothing is asked of the cluster or of the store, and no repository is made."""
    site.bench.build(site.plan())
    site.registry.ensured.clear()
    site.registry.asked = 0
    before = dict(site.server.requests)
    plan = site.plan()
    builder = site.bench.again()
    assert site.bench.build(plan, builder=builder).cached
    builder.cleanup(plan.attempt_id)
    assert site.registry.asked == 1
    assert site.registry.ensured == []
    assert dict(site.server.requests) == before


def test_the_repositories_are_made_before_the_build(site: ScriptedPlace) -> None:
    """The image's, and that of the cached layers."""
    built = site.bench.build(site.plan())
    assert site.registry.ensured == [built.ref.name, f"{REPOSITORY}/cache:cache"]


def test_requests_of_one_build(site: ScriptedPlace) -> None:
    site.bench.build(site.plan())
    asked = {name: count for name, count in site.server.requests.items() if not name.startswith("WATCH")}
    assert asked.pop("GET pods/log") <= 3
    # Is there a Job; the first list of each watch; a look at a pod whose watch is behind the Job's.
    assert asked.pop("GET jobs") <= 3
    assert asked.pop("GET pods") <= 3
    assert asked == {"POST jobs": 1, "POST secrets": 1, "PATCH jobs": 1, "DELETE jobs": 1}


def test_nothing_is_asked_of_the_cluster_before_it_is_needed(site: ScriptedPlace) -> None:
    site.bench.again()
    assert not site.server.requests


def test_the_watches_end_with_the_last_build(site: ScriptedPlace) -> None:
    site.bench.build(site.plan())
    wait_until("no stream is open", lambda: not site.server.open_streams)


def test_a_context_is_uploaded_once(site: ScriptedPlace) -> None:
    first = site.plan(GOOD, build_args={"A": "1"})
    second = site.plan(GOOD, build_args={"A": "2"})
    site.bench.build(first)
    site.bench.build(second)
    assert sum("its context goes to" in line for line in site.bench.context.lines) == 1
    assert sum("is in pvc://contexts already" in line for line in site.bench.context.lines) == 1


# -- nowhere to push, nothing to build with ----------------------------------------------------------


def test_an_image_needs_somewhere_to_go(site: ScriptedPlace) -> None:
    error = refused(site, site.plan(repository=None))
    assert error.reason is Reason.CONFIG_ERROR
    assert error.hint


def test_several_platforms_are_refused(tmp_path: Path, server: ApiServer) -> None:
    site = ScriptedPlace(tmp_path, server, platform="linux/amd64,linux/arm64")
    assert "platform" in refused(site, site.plan()).detail


def test_options_that_do_not_suit_the_store_are_refused(tmp_path: Path, server: ApiServer) -> None:
    site = ScriptedPlace(tmp_path, server, store={"mount": str(tmp_path), "endpoint": "https://x"})
    error = refused(site, site.plan())
    assert (error.reason, error.fault) == (Reason.CONFIG_ERROR, Fault.INFRASTRUCTURE)


def test_a_certificate_that_is_not_there(tmp_path: Path, server: ApiServer) -> None:
    site = ScriptedPlace(tmp_path, server, registry_certificates={"registry.example.com": "/no/such/file"})
    assert "registry_certificates" in str(refused(site, site.plan()).hint)


def test_base_images_are_pinned_in_the_images_registry_only(tmp_path: Path, server: ApiServer) -> None:
    site = ScriptedPlace(tmp_path, server, pin_base=True)
    assert "`pin_base`" in refused(site, site.plan({"Dockerfile": "FROM python:3.12\n"})).detail
    site.bench.build(site.plan({"Dockerfile": "FROM registry.example.com/base:1\n"}))


@pytest.mark.parametrize("code", [401, 403, 422])
def test_a_cluster_that_refuses_the_job(site: ScriptedPlace, code: int) -> None:
    site.server.faults.add("POST", "/jobs", code=code, times=9)
    error = refused(site, site.plan())
    assert error.fault is not Fault.PLUGIN
    assert error.hint
    assert "queue" not in str(error.hint)


def test_a_cluster_that_refuses_the_secret(site: ScriptedPlace) -> None:
    """What was made until then is removed."""
    site.server.faults.add("POST", "/secrets", code=403, times=9)
    assert refused(site, site.plan()).reason is Reason.CONFIG_ERROR
    assert left(site.server) == []


@pytest.mark.parametrize("lost", ["/jobs", "/secrets"])
def test_a_lost_answer_builds_no_second_time(site: ScriptedPlace, lost: str) -> None:
    site.server.faults.add("POST", lost, swallow=True, times=1)
    site.bench.build(site.plan())
    assert len(site.registry.pushes) == 1
    assert left(site.server) == []


# -- what goes wrong on the way ----------------------------------------------------------------------


def test_a_failure_names_the_step(site: ScriptedPlace) -> None:
    error = refused(site, site.plan({"Dockerfile": "FROM base\nRUN say oh no\nRUN exit 7\n"}))
    assert error.detail == "RUN exit 7: exit code 7"
    assert left(site.server) == []


def test_the_log_goes_on_where_a_stream_broke_off(site: ScriptedPlace) -> None:
    future, context = site.begin(site.plan(slow(2.0)))
    wait_until("it has begun", lambda: "begun" in context.lines)
    site.server.cut_streams()
    future.result(60)
    assert [line for line in context.lines if line in ("begun", "done")] == ["begun", "done"]


def test_a_log_that_cannot_be_read_changes_nothing(site: ScriptedPlace) -> None:
    site.server.denied.add(("get", "pods/log"))
    assert site.bench.build(site.plan()).ref.digest


def test_a_watch_that_is_silent_only_costs_time(site: ScriptedPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says nothing, and the Job is asked for."""
    monkeypatch.setattr("launch_kaniko.attempt.PATIENCE", 0.3)
    future, _ = site.begin(site.plan(slow(1.0)))
    site.running()
    site.server.silent = True
    wait_until("it is over", lambda: site.registry.pushes)
    site.server.silent = False
    site.server.cut_streams()
    assert future.result(60).ref.digest


def test_a_job_that_is_gone_while_the_watch_is_deaf(
    site: ScriptedPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launch_kaniko.attempt.PATIENCE", 0.3)
    site.server.machine.pods_held = True
    future, context = site.begin(site.plan())
    wait_until("there is a Job", site.jobs)
    wait_until("it is let go", lambda: any("builds it" in line for line in context.lines))
    site.server.silent = True
    (job,) = site.jobs()
    site.store.remove("jobs", "default", job["metadata"]["name"])
    wait_until("there is another", lambda: [each for each in site.jobs() if each != job])
    site.server.silent = False
    site.server.machine.pods_held = False
    assert not future.result(60).cached


def test_a_digest_that_nobody_has_seen_is_asked_for(
    site: ScriptedPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when another agent's Job is removed the moment it is done."""
    monkeypatch.setattr("launch_kaniko.attempt._DIGEST", re.compile("never"))
    built = site.bench.build(site.plan())
    assert built.ref.digest == site.registry.image(built.ref.name)["digest"]


def test_a_success_without_an_image_is_an_error(site: ScriptedPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch_kaniko.attempt._DIGEST", re.compile("never"))
    monkeypatch.setattr(site.registry, "digest", lambda _: None)
    error = refused(site, site.plan())
    assert "the registry has no such image" in error.detail
    assert error.hint


def test_a_cancel_stops_it_and_leaves_nothing(site: ScriptedPlace) -> None:
    future, context = site.begin(site.plan(slow()))
    site.running()
    context.cancel()
    with pytest.raises(Cancelled):
        future.result(30)
    assert left(site.server) == []


def test_a_cancel_while_it_waits_for_a_node(site: ScriptedPlace) -> None:
    site.server.machine.held = lambda _: True
    future, context = site.begin(site.plan())
    wait_until("there is a pod", site.pods)
    context.cancel()
    with pytest.raises(Cancelled):
        future.result(30)
    wait_until("nothing is left", lambda: not left(site.server))


def test_cleanup_after_a_killed_agent(site: ScriptedPlace) -> None:
    """By label: the agent that comes back knows nothing of the build but the attempt's id."""
    plan = site.plan(slow())
    future, context = site.begin(plan)
    pod = site.running()
    assert pod["metadata"]["labels"][ATTEMPT] == plan.attempt_id
    site.bench.again().cleanup(plan.attempt_id)
    wait_until("its pod is gone", lambda: pod["metadata"]["uid"] not in str(site.pods()))
    context.cancel()
    with pytest.raises(Cancelled):
        future.result(30)
    assert left(site.server) == []


def test_cleanup_of_what_was_never_there(site: ScriptedPlace) -> None:
    site.bench.again().cleanup("nobody-1")
    assert left(site.server) == []


def test_what_nobody_will_begin_is_swept(site: ScriptedPlace) -> None:
    job = held_job(site, site.plan())
    site.store.create("jobs", "default", job)
    old = datetime.now(UTC) - timedelta(seconds=6 * STALE)
    key = ("jobs", "default", job["metadata"]["name"])
    site.store.things[key]["metadata"]["creationTimestamp"] = f"{old:%Y-%m-%dT%H:%M:%SZ}"
    builder: Any = site.bench.builder
    builder.tidy(site.bench.given())
    assert left(site.server) == []


def test_a_quota_is_told_while_it_waits(site: ScriptedPlace) -> None:
    site.server.machine.pods_held = True
    future, context = site.begin(site.plan())
    (job,) = wait_until("there is a Job", site.jobs)
    site.store.kinds["v1"]["events"] = "Event"
    event = {
        "metadata": {"name": "e"},
        "type": "Warning",
        "reason": "FailedCreate",
        "message": 'pods "x" is forbidden: exceeded quota: q, requested: pods=1',
        "involvedObject": {"uid": job["metadata"]["uid"]},
    }
    site.store.create("events", "default", event)
    wait_until("it is told", lambda: any("quota" in line for line in context.lines), seconds=40)
    site.server.machine.pods_held = False
    assert future.result(60).ref.digest
    site.store.remove("events", "default", "e")


# -- secrets -----------------------------------------------------------------------------------------


def test_a_build_secret_is_a_file_for_the_step(site: ScriptedPlace) -> None:
    plan = site.plan()
    built = site.bench.build(
        plan, EnvVar(name="TOKEN", value=Secret(CANARY)), EnvVar(name="PLAIN", value="x")
    )
    args = site.registry.image(built.ref.name)["args"]
    assert any(each.startswith("--secret=id=TOKEN,src=") for each in args)
    assert "--build-arg=PLAIN=x" in args
    assert CANARY not in str(args)
    assert CANARY not in str(site.bench.context.lines)


def test_helpers_of_the_agents_machine_are_asked_there(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = ScriptedPlace(tmp_path, server, executor_helpers=["ecr-login"])
    program = tmp_path / "docker-credential-mine"
    program.write_text('#!/bin/sh\nread host\necho \'{"Username": "u", "Secret": "p"}\'\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    built = site.bench.build(
        site.plan(),
        CredentialHelper(host="a.example.com", helper="mine"),
        CredentialHelper(host="b.example.com", helper="ecr-login"),
        Login(host="c.example.com", username="u", password=Secret("p")),
    )
    config = site.registry.image(built.ref.name)["config"]
    assert '"b.example.com": "ecr-login"' in config
    assert '"a.example.com": {"auth": "dTpw"}' in config
    assert '"c.example.com": {"auth": "dTpw"}' in config

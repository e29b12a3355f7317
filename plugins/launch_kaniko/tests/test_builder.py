"""The builder on a scripted API server: what a real cluster does not do on demand."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from launch_k8s.names import ATTEMPT
from launch_k8s.testing.api_server import ApiServer
from launch_k8s.testing.scripted import wait_until
from launch_kaniko.cluster import STALE
from launch_kaniko.manifest import MANAGER
from launch_kaniko.order import job_name
from launch_kaniko.testing.scripted import REPOSITORY, FolderRegistry, left, settings

from launchcore.plugin import (
    BuildPlan,
    BuiltImage,
    Cancelled,
    CredentialHelper,
    EnvVar,
    Fault,
    LaunchError,
    Login,
    Reason,
    Secret,
)
from launchcore.testing.conformance.build_bench import BuilderBench, Files
from launchcore.testing.context import RecordingContext

CANARY = "canary-c4d0"
GOOD: Files = {"Dockerfile": "FROM base\nRUN say hello\n"}


class Site:
    """A bench with what the tests ask for."""

    def __init__(self, root: Path, server: ApiServer, **more: Any) -> None:
        self.server = server
        self.registry = FolderRegistry(root / "registry")
        self.bench = BuilderBench(
            root,
            plugin="launch_kaniko.plugin",
            name="kaniko",
            settings={**settings(root, server, self.registry), **more},
            repository=REPOSITORY,
            logins=(),
            registry=self.registry,
        )
        self.pool = ThreadPoolExecutor(4)

    @property
    def store(self) -> Any:
        return self.server.store

    def plan(self, files: Files = GOOD, **changes: Any) -> BuildPlan:
        return self.bench.plan(files, **changes)

    def begin(self, plan: BuildPlan, **how: Any) -> tuple[Future[BuiltImage], RecordingContext]:
        """Build on another thread."""
        context = self.bench.new_context()
        builder = how.pop("builder", None) or self.bench.again()
        return self.pool.submit(self.bench.build, plan, builder=builder, context=context, **how), context

    def jobs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.store.items("jobs", "")
        return found

    def pods(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.store.items("pods", "")
        return found

    def running(self) -> dict[str, Any]:
        def runs() -> list[dict[str, Any]]:
            return [pod for pod in self.pods() if pod["status"].get("phase") == "Running"]

        found: list[dict[str, Any]] = wait_until("the build runs", runs)
        return found[0]


def slow(seconds: float = 60.0) -> Files:
    return {"Dockerfile": f"FROM base\nRUN say begun\nRUN sleep {seconds}\nRUN say done\n"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ApiServer(token="t0ken") as server:
        made = Site(tmp_path, server)
        yield made
        made.pool.shutdown(cancel_futures=True)


def refused(site: Site, plan: BuildPlan) -> LaunchError:
    with pytest.raises(LaunchError) as caught:
        site.bench.build(plan)
    return caught.value


# -- the usual way -----------------------------------------------------------------------------------


def test_a_build_by_digest(site: Site) -> None:
    built = site.bench.build(site.plan())
    assert built.pushed
    assert not built.cached
    assert built.ref.digest == site.registry.image(built.ref.name)["digest"]
    assert "hello" in site.bench.context.lines
    assert left(site.server) == []


def test_what_is_there_costs_one_question(site: Site) -> None:
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


def test_the_repositories_are_made_before_the_build(site: Site) -> None:
    """The image's, and that of the cached layers."""
    built = site.bench.build(site.plan())
    assert site.registry.ensured == [built.ref.name, f"{REPOSITORY}/cache:cache"]


def test_requests_of_one_build(site: Site) -> None:
    site.bench.build(site.plan())
    asked = {name: count for name, count in site.server.requests.items() if not name.startswith("WATCH")}
    assert asked.pop("GET pods/log") <= 3
    # Is there a Job; the first list of each watch; a look at a pod whose watch is behind the Job's.
    assert asked.pop("GET jobs") <= 3
    assert asked.pop("GET pods") <= 3
    assert asked == {"POST jobs": 1, "POST secrets": 1, "PATCH jobs": 1, "DELETE jobs": 1}


def test_nothing_is_asked_of_the_cluster_before_it_is_needed(site: Site) -> None:
    site.bench.again()
    assert not site.server.requests


def test_the_watches_end_with_the_last_build(site: Site) -> None:
    site.bench.build(site.plan())
    wait_until("no stream is open", lambda: not site.server.open_streams)


def test_a_context_is_uploaded_once(site: Site) -> None:
    first = site.plan(GOOD, build_args={"A": "1"})
    second = site.plan(GOOD, build_args={"A": "2"})
    site.bench.build(first)
    site.bench.build(second)
    assert sum("its context goes to" in line for line in site.bench.context.lines) == 1
    assert sum("is in pvc://contexts already" in line for line in site.bench.context.lines) == 1


# -- nowhere to push, nothing to build with ----------------------------------------------------------


def test_an_image_needs_somewhere_to_go(site: Site) -> None:
    error = refused(site, site.plan(repository=None))
    assert error.reason is Reason.CONFIG_ERROR
    assert error.hint


def test_several_platforms_are_refused(tmp_path: Path, server: ApiServer) -> None:
    site = Site(tmp_path, server, platform="linux/amd64,linux/arm64")
    assert "platform" in refused(site, site.plan()).detail


def test_options_that_do_not_suit_the_store_are_refused(tmp_path: Path, server: ApiServer) -> None:
    site = Site(tmp_path, server, store={"mount": str(tmp_path), "endpoint": "https://x"})
    error = refused(site, site.plan())
    assert (error.reason, error.fault) == (Reason.CONFIG_ERROR, Fault.INFRASTRUCTURE)


def test_a_certificate_that_is_not_there(tmp_path: Path, server: ApiServer) -> None:
    site = Site(tmp_path, server, registry_certificates={"registry.example.com": "/no/such/file"})
    assert "registry_certificates" in str(refused(site, site.plan()).hint)


def test_base_images_are_pinned_in_the_images_registry_only(tmp_path: Path, server: ApiServer) -> None:
    site = Site(tmp_path, server, pin_base=True)
    assert "`pin_base`" in refused(site, site.plan({"Dockerfile": "FROM python:3.12\n"})).detail
    site.bench.build(site.plan({"Dockerfile": "FROM registry.example.com/base:1\n"}))


@pytest.mark.parametrize("code", [401, 403, 422])
def test_a_cluster_that_refuses_the_job(site: Site, code: int) -> None:
    site.server.faults.add("POST", "/jobs", code=code, times=9)
    error = refused(site, site.plan())
    assert error.fault is not Fault.PLUGIN
    assert error.hint
    assert "queue" not in str(error.hint)


def test_a_cluster_that_refuses_the_secret(site: Site) -> None:
    """What was made until then is removed."""
    site.server.faults.add("POST", "/secrets", code=403, times=9)
    assert refused(site, site.plan()).reason is Reason.CONFIG_ERROR
    assert left(site.server) == []


@pytest.mark.parametrize("lost", ["/jobs", "/secrets"])
def test_a_lost_answer_builds_no_second_time(site: Site, lost: str) -> None:
    site.server.faults.add("POST", lost, swallow=True, times=1)
    site.bench.build(site.plan())
    assert len(site.registry.pushes) == 1
    assert left(site.server) == []


# -- one image, several who need it ------------------------------------------------------------------


def test_two_agents_build_it_once(site: Site) -> None:
    one, _ = site.begin(site.plan(slow(1.0)))
    site.running()
    elsewhere = site.bench.again(site.bench.elsewhere())
    other, told = site.begin(site.plan(slow(1.0)), builder=elsewhere)
    images = [one.result(60), other.result(60)]
    assert sorted(image.cached for image in images) == [False, True]
    assert images[0].ref == images[1].ref
    assert len(site.registry.pushes) == 1
    assert any("builds it already" in line for line in told.lines)
    assert "begun" in told.lines
    assert left(site.server) == []


def test_who_waits_begins_anew_when_the_first_gives_up(site: Site) -> None:
    one, context = site.begin(site.plan(slow(3.0)))
    site.running()
    other, told = site.begin(site.plan(slow(3.0)), builder=site.bench.again(site.bench.elsewhere()))
    wait_until("the other waits", lambda: any("builds it already" in line for line in told.lines))
    context.cancel()
    with pytest.raises(Cancelled):
        one.result(60)
    assert not other.result(60).cached
    assert left(site.server) == []


def test_who_waits_takes_nothing_along_when_it_gives_up(site: Site) -> None:
    one, _ = site.begin(site.plan(slow(2.0)))
    site.running()
    plan = site.plan(slow(2.0))
    other, told = site.begin(plan)
    wait_until("the other waits", lambda: any("builds it already" in line for line in told.lines))
    told.cancel()
    with pytest.raises(Cancelled):
        other.result(60)
    site.bench.again().cleanup(plan.attempt_id)
    assert not one.result(60).cached


def test_both_hear_of_a_failure(site: Site) -> None:
    files = {"Dockerfile": "FROM base\nRUN say begun\nRUN sleep 1\nRUN exit 4\n"}
    one, _ = site.begin(site.plan(files))
    site.running()
    other, _ = site.begin(site.plan(files))
    for future in (one, other):
        with pytest.raises(LaunchError, match=r"RUN exit 4: exit code 4") as caught:
            future.result(60)
        assert caught.value.reason is Reason.BUILD_FAILED
    assert left(site.server) == []


def test_the_next_attempt_of_a_run_takes_over(site: Site) -> None:
    """Its agent was killed in mid-build: what it has begun goes on, and belongs to the new attempt."""
    plan = site.plan(slow(2.0), run_id="r", attempt_id="r-1")
    _, first = site.begin(plan)
    site.running()
    again = site.plan(
        slow(2.0), run_id="r", attempt_id="r-2", labels={**plan.labels, "launchcore.run": plan.run_id}
    )
    future, told = site.begin(again)
    wait_until("it waits", lambda: any("builds it already" in line for line in told.lines))
    site.bench.again().cleanup("r-1")
    assert future.result(60).ref.digest
    assert len(site.registry.pushes) == 1
    del first


def test_a_job_of_a_stranger_is_left_alone(site: Site) -> None:
    plan = site.plan()
    name = _name(site, plan)
    stranger = {"metadata": {"name": job_name(name), "labels": {}}, "spec": {"suspend": True}}
    site.store.create("jobs", "default", stranger)
    error = refused(site, plan)
    assert "does not build" in error.detail
    assert left(site.server) == [f"jobs/{job_name(name)}"]


def test_an_image_that_was_removed_is_built_again(site: Site) -> None:
    """Although the Job that had built it is still there."""
    plan = site.plan()
    site.store.create("jobs", "default", _done(_name(site, plan), "Complete"))
    assert not site.bench.build(plan).cached
    assert left(site.server) == []


def test_an_old_failure_is_tried_again(site: Site) -> None:
    plan = site.plan()
    site.store.create("jobs", "default", _done(_name(site, plan), "Failed"))
    assert not site.bench.build(plan).cached


def test_a_held_job_is_let_go_by_who_comes_next(site: Site) -> None:
    """Whoever made it died before it had its Secret."""
    plan = site.plan()
    site.store.create("jobs", "default", _held(site, plan))
    assert site.bench.build(plan).ref.digest
    assert left(site.server) == []


def test_a_job_that_has_been_held_for_long_is_begun_anew(site: Site) -> None:
    """Its Secret may be as old."""
    plan = site.plan()
    job = _held(site, plan)
    site.store.create("jobs", "default", job)
    old = datetime.now(UTC) - timedelta(seconds=STALE + 60)
    key = ("jobs", "default", job["metadata"]["name"])
    site.store.things[key]["metadata"]["creationTimestamp"] = f"{old:%Y-%m-%dT%H:%M:%SZ}"
    uid = site.store.things[key]["metadata"]["uid"]
    changes = site.store.history
    assert not site.bench.build(plan).cached
    assert [each.what for each in changes if each.thing["metadata"].get("uid") == uid][-1] == "DELETED"


def test_a_build_that_everybody_deletes_is_given_up(site: Site) -> None:
    stop = threading.Event()

    def delete() -> None:
        while not stop.is_set():
            for job in site.jobs():
                site.store.delete("jobs", "default", job["metadata"]["name"])
            time.sleep(0.01)

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        error = refused(site, site.plan(slow(30.0)))
    finally:
        stop.set()
        thread.join()
    assert "removed 5 times" in error.detail
    assert error.retryable


# -- what goes wrong on the way ----------------------------------------------------------------------


def test_a_failure_names_the_step(site: Site) -> None:
    error = refused(site, site.plan({"Dockerfile": "FROM base\nRUN say oh no\nRUN exit 7\n"}))
    assert error.detail == "RUN exit 7: exit code 7"
    assert left(site.server) == []


def test_the_log_goes_on_where_a_stream_broke_off(site: Site) -> None:
    future, context = site.begin(site.plan(slow(2.0)))
    wait_until("it has begun", lambda: "begun" in context.lines)
    site.server.cut_streams()
    future.result(60)
    assert [line for line in context.lines if line in ("begun", "done")] == ["begun", "done"]


def test_a_log_that_cannot_be_read_changes_nothing(site: Site) -> None:
    site.server.denied.add(("get", "pods/log"))
    assert site.bench.build(site.plan()).ref.digest


def test_a_watch_that_is_silent_only_costs_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says nothing, and the Job is asked for."""
    monkeypatch.setattr("launch_kaniko.attempt.PATIENCE", 0.3)
    future, _ = site.begin(site.plan(slow(1.0)))
    site.running()
    site.server.silent = True
    wait_until("it is over", lambda: site.registry.pushes)
    site.server.silent = False
    site.server.cut_streams()
    assert future.result(60).ref.digest


def test_a_job_that_is_gone_while_the_watch_is_deaf(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_digest_that_nobody_has_seen_is_asked_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when another agent's Job is removed the moment it is done."""
    monkeypatch.setattr("launch_kaniko.attempt._DIGEST", re.compile("never"))
    built = site.bench.build(site.plan())
    assert built.ref.digest == site.registry.image(built.ref.name)["digest"]


def test_a_success_without_an_image_is_an_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch_kaniko.attempt._DIGEST", re.compile("never"))
    monkeypatch.setattr(site.registry, "digest", lambda _: None)
    error = refused(site, site.plan())
    assert "the registry has no such image" in error.detail
    assert error.hint


def test_a_cancel_stops_it_and_leaves_nothing(site: Site) -> None:
    future, context = site.begin(site.plan(slow()))
    site.running()
    context.cancel()
    with pytest.raises(Cancelled):
        future.result(30)
    assert left(site.server) == []


def test_a_cancel_while_it_waits_for_a_node(site: Site) -> None:
    site.server.machine.held = lambda _: True
    future, context = site.begin(site.plan())
    wait_until("there is a pod", site.pods)
    context.cancel()
    with pytest.raises(Cancelled):
        future.result(30)
    wait_until("nothing is left", lambda: not left(site.server))


def test_cleanup_after_a_killed_agent(site: Site) -> None:
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


def test_cleanup_of_what_was_never_there(site: Site) -> None:
    site.bench.again().cleanup("nobody-1")
    assert left(site.server) == []


def test_what_nobody_will_begin_is_swept(site: Site) -> None:
    job = _held(site, site.plan())
    site.store.create("jobs", "default", job)
    old = datetime.now(UTC) - timedelta(seconds=6 * STALE)
    key = ("jobs", "default", job["metadata"]["name"])
    site.store.things[key]["metadata"]["creationTimestamp"] = f"{old:%Y-%m-%dT%H:%M:%SZ}"
    builder: Any = site.bench.builder
    builder.tidy(site.bench.given())
    assert left(site.server) == []


def test_a_quota_is_told_while_it_waits(site: Site) -> None:
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


def test_a_build_secret_is_a_file_for_the_step(site: Site) -> None:
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
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


# -- parts -------------------------------------------------------------------------------------------


def _name(site: Site, plan: BuildPlan) -> str:
    from launchcore.recipes.recipe import read_recipe

    given = site.bench.given()
    recipe = read_recipe(plan, site.bench.settings, given)
    return recipe.name(plan, site.bench.settings, given, bases={}, check=lambda: None)


def _held(site: Site, plan: BuildPlan) -> dict[str, Any]:
    """The Job that the builder would make for this plan."""
    made: list[dict[str, Any]] = []
    builder: Any = site.bench.again()
    create: Callable[[dict[str, Any]], Any] = builder.cluster.create

    def keep(job: dict[str, Any]) -> Any:
        made.append(job)
        raise Cancelled

    builder.cluster.create = keep
    with pytest.raises(Cancelled):
        site.bench.build(plan, builder=builder)
    del create
    return made[0]


def _done(image: str, how: str) -> dict[str, Any]:
    """A Job of an earlier build."""
    return {
        "metadata": {
            "name": job_name(image),
            "labels": {"app.kubernetes.io/managed-by": MANAGER, "launchcore.io/run": "old"},
            "annotations": {"launchcore.io/image": image},
        },
        "spec": {"suspend": True},
        "status": {"conditions": [{"type": how, "status": "True"}]},
    }

"""Starting: one attempt makes one object, whatever happens on the way; and nothing is left of a failure."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import attrs
import pytest
from launch_k8s import starter
from launch_k8s.clusters import Clusters
from launch_k8s.runner import KubernetesRunner
from launch_k8s.settings import Cluster, ClusterSettings, RunConfig
from launch_k8s.testing.api_server import ApiServer
from launch_k8s.testing.scripted import Bench, wait_until

from launchcore.plugin import EnvVar, Fault, Given, LaunchError, Phase, Reason, Secret

SECRET = Given(env=(EnvVar(name="TOKEN", value=Secret("hunter2")),))


def jobs(bench: Bench) -> list[dict[str, Any]]:
    return bench.server.store.items("jobs", "")


def secrets(bench: Bench) -> list[dict[str, Any]]:
    return bench.server.store.items("secrets", "")


def test_an_answer_that_was_lost_is_asked_for_again(bench: Bench) -> None:
    bench.server.faults.add("POST", "/jobs", swallow=True)
    plan = bench.plan("true")
    handle = bench.runner.start(plan, Given())
    assert [job["metadata"]["uid"] for job in jobs(bench)] == [handle.data["uid"]]
    assert bench.end(handle).phase is Phase.SUCCEEDED


@pytest.mark.parametrize(
    "fault", [{"code": 429, "headers": {"Retry-After": "0"}}, {"code": 500}, {"drop": True}]
)
def test_a_storm_is_waited_out(bench: Bench, fault: dict[str, Any]) -> None:
    bench.server.faults.add("POST", "/", times=2, **fault)
    handle = bench.start("true", given=SECRET)
    assert bench.end(handle).phase is Phase.SUCCEEDED
    assert len(jobs(bench)) == 1


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_secrets_are_there_before_it_runs_and_go_with_it(bench: Bench, method: str) -> None:
    bench.server.faults.add(method, "/", swallow=True)
    handle = bench.start("sh", "-c", "echo $TOKEN", given=SECRET)
    assert bench.end(handle).phase is Phase.SUCCEEDED
    assert bench.log(handle)[0] == b"hunter2\n"
    [secret] = secrets(bench)
    assert secret["metadata"]["ownerReferences"][0]["uid"] == handle.data["uid"]
    bench.runner.cleanup(handle)
    assert (jobs(bench), secrets(bench)) == ([], [])


def test_a_run_with_a_secret_costs_at_most_five_requests(bench: Bench) -> None:
    with bench.watching():
        bench.wait_told(bench.start("true"), Phase.SUCCEEDED)
        marked = sum(bench.server.requests.values())
        handle = bench.start("sh", "-c", "echo hello", given=SECRET)
        bench.wait_told(handle, Phase.SUCCEEDED)
        bench.log(handle)
        bench.runner.cleanup(handle)
        assert sum(bench.server.requests.values()) - marked <= 5


def test_an_agent_that_dies_while_it_starts_leaves_nothing_that_runs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = bench.plan("true")

    class Died(BaseException):
        pass

    def die(*_: object) -> None:
        raise Died

    monkeypatch.setattr(starter, "let_go", die)
    with pytest.raises(Died):
        bench.runner.start(plan, SECRET)
    assert [job["spec"]["suspend"] for job in jobs(bench)] == [True]
    assert bench.again().find(plan.attempt_id) is None
    assert (jobs(bench), secrets(bench)) == ([], [])


@pytest.mark.slow
def test_a_start_whose_last_answer_was_lost_is_seen_to(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with bench.watching():
        away = bench.server.faults.add("PATCH", "/jobs", times=1000, drop=True)
        handle = bench.start("true", given=SECRET, start_before=time.time() + 1.5)
        assert bench.job(handle)["spec"]["suspend"] is True
        away.times = 0
        bench.wait_told(handle, Phase.SUCCEEDED)


def test_a_strangers_object_is_not_adopted(bench: Bench) -> None:
    plan = bench.plan("true")
    stranger = {"metadata": {"name": plan.name, "labels": {}}, "spec": {"suspend": True, "template": {}}}
    bench.server.store.create("jobs", "default", stranger)
    with pytest.raises(LaunchError, match="not this attempt's") as caught:
        bench.runner.start(plan, Given())
    assert "kubectl" in (caught.value.hint or "")
    assert len(jobs(bench)) == 1


@pytest.mark.parametrize(
    ("denied", "given"), [(("create", "jobs"), Given()), (("create", "secrets"), SECRET)]
)
def test_a_missing_permission_is_named_and_nothing_is_left(
    bench: Bench, denied: tuple[str, str], given: Given
) -> None:
    bench.server.denied.add(denied)
    with pytest.raises(LaunchError, match="cannot create") as caught:
        bench.start("true", given=given)
    assert (caught.value.reason, caught.value.fault) == (Reason.CONFIG_ERROR, Fault.INFRASTRUCTURE)
    assert (jobs(bench), secrets(bench)) == ([], [])


def test_a_start_that_comes_too_late_is_taken_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = bench.plan("sleep", "300")
    until = plan.start_before or 0.0
    create = bench.server.store.create

    def slow(*args: Any) -> Any:
        monkeypatch.setattr(time, "time", lambda: until + 1)
        return create(*args)

    monkeypatch.setattr(bench.server.store, "create", slow)
    with pytest.raises(LaunchError, match="within its lease"):
        bench.runner.start(plan, Given())
    monkeypatch.undo()
    wait_until("nothing to be left", lambda: not jobs(bench))


def test_credentials_that_have_changed_are_read_again(bench: Bench) -> None:
    first = bench.start("true")
    bench.end(first)
    bench.server.token = "another"
    bench.server.kubeconfig(bench.config)
    assert bench.end(bench.start("true")).phase is Phase.SUCCEEDED


def test_a_kind_that_the_cluster_does_not_know(bench: Bench) -> None:
    manifest = {"apiVersion": "batch.volcano.sh/v1alpha9", "kind": "Jobs", "spec": {"template": {"spec": {}}}}
    plan = bench.plan("true", config=RunConfig(manifest=manifest))
    with pytest.raises(LaunchError) as caught:
        bench.runner.prepare(plan, Given(), None)  # type: ignore[arg-type]
    assert caught.value.reason is Reason.CONFIG_ERROR


def test_a_custom_resource_is_found_by_discovery(bench: Bench) -> None:
    bench.server.store.kinds["example.com/v1"] = {"trainings": "Training"}
    spec = {"template": {"spec": {"containers": [{"name": "main"}]}}}
    manifest = {"apiVersion": "example.com/v1", "kind": "Training", "spec": spec}
    with bench.watching():
        handle = bench.start("true", config=RunConfig(manifest=manifest), given=SECRET)
        assert bench.again().find(handle.attempt_id) == handle
        store = bench.server.store
        store.set_status("trainings", "default", handle.data["name"], phase="Succeeded")
        bench.wait_told(handle, Phase.SUCCEEDED)
        bench.runner.cleanup(handle)
    assert store.items("trainings", "") == secrets(bench) == []


def test_a_custom_resource_without_its_secret_never_started(bench: Bench) -> None:
    bench.server.store.kinds["example.com/v1"] = {"trainings": "Training"}
    spec = {"template": {"spec": {"containers": [{"name": "main"}]}}}
    manifest = {"apiVersion": "example.com/v1", "kind": "Training", "spec": spec}
    plan = bench.plan("true", config=RunConfig(manifest=manifest))
    handle = bench.runner.start(plan, SECRET)
    bench.server.store.remove("secrets", "default", secrets(bench)[0]["metadata"]["name"])
    assert bench.again().find(handle.attempt_id) is None
    assert bench.server.store.items("trainings", "") == []


def test_several_clusters_from_one_agent(tmp_path: Path, server: ApiServer) -> None:
    bench = Bench(tmp_path, server)
    with ApiServer() as second:
        file = second.kubeconfig(tmp_path / "second", namespace="far")
        settings = attrs.evolve(bench.settings, clusters={"far": Cluster(kubeconfig=str(file))})
        bench.runner = KubernetesRunner(Clusters(settings, {}), bench.site)
        with bench.watching():
            here, there = bench.start("true"), bench.start("true", config=RunConfig(cluster="far"))
            for handle in (here, there):
                bench.wait_told(handle, Phase.SUCCEEDED)
        assert (len(server.store.items("jobs", "")), len(second.store.items("jobs", "far"))) == (1, 1)
        assert {handle.attempt_id for handle in bench.runner.owned()} == {here.attempt_id, there.attempt_id}
        assert bench.runner.find(there.attempt_id) == there
        for handle in (here, there):
            bench.runner.cleanup(handle)
        assert bench.runner.owned() == []


def test_no_credentials_is_an_error_that_says_where_they_were_looked_for(
    tmp_path: Path, server: ApiServer
) -> None:
    bench = Bench(tmp_path, server)
    settings = ClusterSettings(kubeconfig=str(tmp_path / "nowhere"))
    runner = KubernetesRunner(Clusters(settings, {}), bench.site)
    with pytest.raises(LaunchError, match="nowhere") as caught:
        runner.start(bench.plan("true"), Given())
    assert caught.value.reason is Reason.CONFIG_ERROR


def test_an_attempt_in_a_namespace_of_its_queue_is_found_by_a_restarted_agent(bench: Bench) -> None:
    bench.server.denied.add(("list", "everywhere"))
    handle = bench.start("true", config=RunConfig(namespace="team-a"))
    assert bench.again().find(handle.attempt_id) == handle
    assert [each.attempt_id for each in bench.again().owned()] == [handle.attempt_id]


@pytest.mark.slow
def test_a_cluster_that_is_away_cannot_say_that_there_is_nothing(bench: Bench) -> None:
    bench.server.faults.add("GET", "/jobs", times=100, drop=True)
    with pytest.raises(LaunchError, match="does not answer"):
        bench.runner.find(bench.plan("true").attempt_id)


def test_a_namespace_that_the_agent_may_not_see_is_none_of_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = bench.start("true", config=RunConfig(namespace="team-a"))
    for where in ("/v1/jobs", "/default/jobs"):
        bench.server.faults.add("GET", where, times=9, code=403)
    other = bench.again()
    assert other.find(handle.attempt_id) == handle
    assert other.find(bench.plan("true").attempt_id) is None
    assert [each.attempt_id for each in other.owned()] == [handle.attempt_id]


def test_pods_are_found_by_the_label_of_their_kind(bench: Bench) -> None:
    bench.server.store.kinds["example.com/v1"] = {"trainings": "Training"}
    spec = {"template": {"spec": {"containers": [{"name": "main"}]}}}
    config = RunConfig(
        manifest={"apiVersion": "example.com/v1", "kind": "Training", "spec": spec},
        pod_selector="app=training,training={name}",
    )
    with bench.watching():
        handle = bench.start("true", config=config)
        name = handle.data["name"]
        running = {
            "name": "main",
            "restartCount": 0,
            "state": {"running": {"startedAt": "2027-01-15T08:00:00Z"}},
        }
        pod = {
            "metadata": {"name": f"{name}-0", "labels": {"app": "training", "training": name}},
            "spec": {"containers": [{"name": "main"}]},
            "status": {"phase": "Running", "containerStatuses": [running]},
        }
        bench.server.machine.held = lambda _: True
        bench.server.store.create("pods", "default", pod)
        bench.wait_told(handle, Phase.RUNNING)
        assert bench.status(handle, bench.again()).phase is Phase.RUNNING

"""Each kind of object: what a run becomes in it, and when it has ended."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from launch_k8s.kinds import JOB, KindInfo, as_data, from_data, kind_for, kind_of, rules_text
from launch_k8s.manifest import Bundle
from launch_k8s.names import KIND_RULES, MAIN_CONTAINER, OWNER
from launch_k8s.paths import holds, problem
from launch_k8s.quantity import quantity
from launch_k8s.settings import RunConfig, StatusRules
from launch_k8s.testing.samples import NAME, environment, rendered
from launch_k8s.times import roughly, unix

from launchcore.plugin import EnvVar, Given, LaunchError, Limits, Login, Phase, Secret


def made(text: str, given: Given | None = None, **config: Any) -> Bundle:
    return rendered(
        RunConfig(manifest=yaml.safe_load(text), **config),
        given=given,
        limits=Limits(run_seconds=60, start_seconds=30),
    )


PYTORCH = """
apiVersion: kubeflow.org/v1
kind: PyTorchJob
spec:
  pytorchReplicaSpecs:
    Worker: {replicas: 3, template: {spec: {containers: [{name: pytorch}]}}}
    Master: {template: {spec: {containers: [{name: side, image: s}, {name: pytorch}]}}}
"""


def test_every_replica_of_a_pytorchjob_runs_the_command_and_none_again() -> None:
    bundle = made(PYTORCH, given=Given(env=(EnvVar(name="T", value=Secret("x")),)))
    spec = bundle.main["spec"]
    for role, at in (("Master", 1), ("Worker", 0)):
        replica = spec["pytorchReplicaSpecs"][role]
        container = replica["template"]["spec"]["containers"][at]
        assert container["image"] == "registry.example/train:1"
        assert container["args"] == ["python", "train.py"]
        assert "T" in environment(container)
        assert replica["restartPolicy"] == "Never"
        assert replica["template"]["metadata"]["labels"][OWNER] == "queue-service-1"
    assert spec["runPolicy"] == {
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": 86400,
        "activeDeadlineSeconds": 150,
    }
    assert bundle.main_container == "pytorch"
    assert bundle.main["metadata"]["annotations"][MAIN_CONTAINER] == "pytorch"
    assert bundle.kind.plural == "pytorchjobs"


def test_an_mpijob_s_workers_wait_for_its_launcher() -> None:
    bundle = made(
        """
        apiVersion: kubeflow.org/v2beta1
        kind: MPIJob
        spec:
          mpiReplicaSpecs:
            Launcher: {template: {spec: {containers: [{name: l}]}}}
            Worker: {template: {spec: {containers: [{name: w}]}}}
        """,
        gpus=4,
    )
    replicas = bundle.main["spec"]["mpiReplicaSpecs"]
    assert replicas["Launcher"]["template"]["spec"]["containers"][0]["args"] == ["python", "train.py"]
    worker = replicas["Worker"]["template"]["spec"]["containers"][0]
    assert "args" not in worker
    assert worker["resources"]["limits"] == {"nvidia.com/gpu": 4}
    assert "resources" not in replicas["Launcher"]["template"]["spec"]["containers"][0]
    assert bundle.kind.version == "v2beta1"
    assert bundle.main_container == "l"


def test_a_rayjob_s_entrypoint_is_the_command() -> None:
    text = """
    apiVersion: ray.io/v1
    kind: RayJob
    spec:
      entrypoint: %s
      rayClusterSpec:
        workerGroupSpecs: [{groupName: w, template: {spec: {containers: [{name: worker}]}}}]
        headGroupSpec: {template: {spec: {containers: [{name: head}]}}}
    """
    bundle = made(text % "null")
    assert bundle.main["spec"]["entrypoint"] == "python train.py"
    assert bundle.main["spec"]["shutdownAfterJobFinishes"] is True
    head = bundle.main["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert "args" not in head
    assert head["image"] == "registry.example/train:1"
    assert bundle.main_container == "head"
    assert made(text % "[python, 'a b.py']").main["spec"]["entrypoint"] == "python 'a b.py'"


def test_a_trainjob_s_trainer_is_filled() -> None:
    text = """
    apiVersion: trainer.kubeflow.org/v1alpha1
    kind: TrainJob
    spec: {runtimeRef: {name: torch}, trainer: {numNodes: 2}}
    """
    bundle = made(text, given=Given(env=(EnvVar(name="T", value=Secret("x")),)))
    trainer = bundle.main["spec"]["trainer"]
    assert (trainer["image"], trainer["args"]) == ("registry.example/train:1", ["python", "train.py"])
    assert "secretKeyRef" in environment(trainer)["T"]
    assert "T_FILE" not in environment(trainer)
    assert bundle.main["spec"]["labels"][OWNER] == "queue-service-1"
    assert bundle.kind.pod_selector("x") == "jobset.sigs.k8s.io/jobset-name=x"
    with pytest.raises(LaunchError, match="pull secret"):
        made(text, given=Given(logins=(Login(host="r", username="u", password=Secret("p")),)))


def test_a_jobset_s_jobs_try_nothing_again() -> None:
    bundle = made(
        """
        apiVersion: jobset.x-k8s.io/v1alpha2
        kind: JobSet
        spec:
          replicatedJobs:
            - {name: driver, template: {spec: {template: {spec: {containers: [{}]}}}}}
            - {name: w, template: {spec: {backoffLimit: 2, template: {spec: {containers: [{}]}}}}}
        """
    )
    driver, workers = bundle.main["spec"]["replicatedJobs"]
    assert driver["template"]["spec"]["backoffLimit"] == 0
    assert workers["template"]["spec"]["backoffLimit"] == 2
    assert driver["template"]["spec"]["template"]["metadata"]["labels"][OWNER] == "queue-service-1"


def test_a_bare_pod_and_a_volcano_job() -> None:
    pod = made("{apiVersion: v1, kind: Pod, spec: {containers: [{name: x}]}}")
    assert pod.main["spec"]["containers"][0]["args"] == ["python", "train.py"]
    assert pod.main["spec"]["activeDeadlineSeconds"] == 120
    assert pod.main["metadata"]["name"] == NAME
    job = made(
        """
        apiVersion: batch.volcano.sh/v1alpha1
        kind: Job
        spec: {tasks: [{name: t, replicas: 2, template: {spec: {containers: [{name: c}]}}}]}
        """
    )
    assert "backoffLimit" not in job.main["spec"]
    assert job.main["spec"]["ttlSecondsAfterFinished"] == 86400
    assert job.main["spec"]["tasks"][0]["name"] == "t"
    assert job.kind.plural == "jobs"


CONDITIONS: dict[str, tuple[str, str]] = {
    "batch/v1 Job": ("Complete", "Failed"),
    "kubeflow.org/v1 PyTorchJob": ("Succeeded", "Failed"),
    "kubeflow.org/v1 TFJob": ("Succeeded", "Failed"),
    "kubeflow.org/v2beta1 MPIJob": ("Succeeded", "Failed"),
    "trainer.kubeflow.org/v1alpha1 TrainJob": ("Complete", "Failed"),
    "jobset.x-k8s.io/v1alpha2 JobSet": ("Completed", "Failed"),
    "example.org/v3 Thing": ("Succeeded", "Failed"),
    "example.org/v3 Other": ("Complete", "Failed"),
}


def named(name: str) -> KindInfo:
    api_version, kind = name.split()
    return kind_for(api_version, kind)


def condition(kind: str, status: str = "True") -> dict[str, Any]:
    return {
        "status": {
            "startTime": "2026-01-01T00:00:00Z",
            "conditions": [
                {"type": "Created", "status": "True"},
                {
                    "type": kind,
                    "status": status,
                    "reason": "Because",
                    "message": "so it is",
                    "lastTransitionTime": "2026-01-01T00:01:00Z",
                },
            ],
        }
    }


@pytest.mark.parametrize("name", CONDITIONS)
def test_kinds_that_end_by_a_condition(name: str) -> None:
    kind = named(name)
    good, bad = CONDITIONS[name]
    seen = kind.status(condition(good))
    assert (seen.phase, seen.reason, seen.message) == (Phase.SUCCEEDED, "Because", "so it is")
    assert seen.started_at is not None
    assert seen.finished_at == seen.started_at + 60
    assert kind.status(condition(bad)).phase is Phase.FAILED
    assert kind.status(condition(good, "False")).phase is Phase.UNKNOWN
    assert kind.status({}).phase is Phase.UNKNOWN
    assert kind.status({"status": None}).phase is Phase.UNKNOWN


@pytest.mark.parametrize(
    ("name", "status", "phase"),
    [
        ("v1 Pod", {"phase": "Succeeded"}, Phase.SUCCEEDED),
        ("v1 Pod", {"phase": "Failed"}, Phase.FAILED),
        ("v1 Pod", {"phase": "Unknown"}, Phase.UNKNOWN),
        ("batch.volcano.sh/v1alpha1 Job", {"state": {"phase": "Completed"}}, Phase.SUCCEEDED),
        ("batch.volcano.sh/v1alpha1 Job", {"state": {"phase": "Aborted"}}, Phase.FAILED),
        ("batch.volcano.sh/v1alpha1 Job", {"state": {"phase": "Running"}}, Phase.RUNNING),
        ("batch.volcano.sh/v1alpha1 Job", {"state": {"phase": "Pending"}}, Phase.UNKNOWN),
        ("ray.io/v1 RayJob", {"jobStatus": "SUCCEEDED"}, Phase.SUCCEEDED),
        ("ray.io/v1 RayJob", {"jobStatus": "STOPPED"}, Phase.FAILED),
        ("ray.io/v1 RayJob", {"jobDeploymentStatus": "Failed"}, Phase.FAILED),
        ("ray.io/v1 RayJob", {"jobStatus": "RUNNING"}, Phase.RUNNING),
        ("example.org/v1 Thing", {"phase": "Succeeded"}, Phase.SUCCEEDED),
        ("example.org/v1 Thing", {"state": "FAILED"}, Phase.FAILED),
        ("example.org/v1 Thing", {"state": {"phase": "Running"}}, Phase.RUNNING),
        ("example.org/v1 Thing", {"phase": ["Succeeded"]}, Phase.UNKNOWN),
    ],
)
def test_kinds_that_end_by_a_state(name: str, status: dict[str, Any], phase: Phase) -> None:
    assert named(name).status({"status": status}).phase is phase


def test_the_queue_says_how_a_kind_ends_and_the_object_carries_it() -> None:
    bundle = made(
        "{apiVersion: example.org/v1, kind: Thing, spec: {template: {spec: {containers: [{}]}}}}",
        status=StatusRules(
            succeeded=("status.outcome=good,fine",),
            failed=("status.steps[name=train].code=1",),
            message=("status.why",),
        ),
        pod_selector="thing={name}",
    )
    kind = kind_of(bundle.main)
    assert kind == bundle.kind
    assert KIND_RULES in bundle.main["metadata"]["annotations"]
    assert kind.pod_selector("n") == "thing=n"
    assert kind.status({"status": {"outcome": "fine"}}).phase is Phase.SUCCEEDED
    failed = kind.status({"status": {"steps": [{"name": "x"}, {"name": "train", "code": 1}], "why": "oh"}})
    assert (failed.phase, failed.message) == (Phase.FAILED, "oh")
    assert kind.running  # what the queue does not say stays
    assert from_data(as_data(kind)) == kind


@pytest.mark.parametrize("text", ["not json", "[]", '{"group": 1}', '{"selector": null}', "{"])
def test_a_strange_annotation_does_no_harm(text: str) -> None:
    main = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"annotations": {KIND_RULES: text}}}
    assert kind_of(main).kind == "Job"
    assert rules_text(JOB) is None


@pytest.mark.parametrize("rule", ["", "a..b", "a[", "=x", ".a", "a b"])
def test_rules_that_are_no_paths_are_refused(rule: str) -> None:
    assert problem(rule)
    with pytest.raises(LaunchError, match="no path"):
        rendered(RunConfig(status=StatusRules(failed=(rule,))))


def test_paths() -> None:
    value = {"a": {"list": [{"t": "x", "on": True}, {"t": "y", "n": 3}]}}
    assert holds("a.list[t=x].on=true", value)
    assert holds("a.list[t=y].n=2,3", value)
    assert holds("a.list[*].n", value)
    assert not holds("a.list[t=z].n", value)
    assert not holds("a.list.n", value)
    assert not holds("a.missing", value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("0.5", 0.5), ("1e3", 1000), ("1Ki", 1024), ("2M", 2_000_000), ("100m", 0.1), (3, 3)],
)
def test_quantities(text: object, value: float) -> None:
    assert float(quantity(text)) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "x", "-1", "1 Gi", "1GiB", True, None, [], "1e999", "0x10"])
def test_what_is_no_quantity(text: object) -> None:
    with pytest.raises(ValueError, match=r"quantity|less than"):
        quantity(text)


def test_times() -> None:
    assert unix("2026-01-01T00:00:00.123456Z") == pytest.approx(1767225600.123456)
    assert unix("2026-13-01T00:00:00Z") is None
    assert unix("yesterday") is None
    assert [roughly(at) for at in (0.0, 29.0, 59.0, 61.0, 3599.0, 3700.0, 9000.0)] == [
        "",
        "",
        " for 30 s",
        " for 1 min",
        " for 30 min",
        " for 1 h",
        " for 2 h",
    ]

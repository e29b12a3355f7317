"""What a small cluster does not do on demand: lost nodes, pressure, registries that refuse.

A recorded pod with the status that Kubernetes' sources give it.
"""

from __future__ import annotations

import copy
from typing import Any

import attrs
import pytest
from launch_k8s.diagnosis import Observed, diagnose
from launch_k8s.kinds import kind_for
from launch_k8s.names import UNSCHEDULABLE_SECONDS
from launch_k8s.pods import trim_main, trim_pod
from launch_k8s.testing.sightings import (
    INFRA,
    STARTED,
    died,
    look,
    observed,
    recorded,
    target,
    waits,
    with_pod,
)
from launch_k8s.times import unix

from launchcore.plugin import Fault, Phase, Reason


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (
            {"conditions": target("PreemptionByScheduler", "default-scheduler: preempting")},
            Reason.PREEMPTED,
            "priority",
        ),
        (
            {"conditions": target("EvictionByEvictionAPI", "Eviction API: evicting")},
            Reason.EVICTED,
            "drained",
        ),
        (
            {"conditions": target("DeletionByTaintManager", "Taint manager: deleting")},
            Reason.LOST,
            "node was lost",
        ),
        (
            {"conditions": target("DeletionByPodGC", "PodGC: node no longer exists")},
            Reason.LOST,
            "node was lost",
        ),
        ({"conditions": target("SomethingNew", "well")}, Reason.EVICTED, "SomethingNew"),
        (
            {
                "reason": "Evicted",
                "message": "The node was low on resource: memory. Threshold: 100Mi, available: 90Mi.",
                "conditions": target("TerminationByKubelet"),
            },
            Reason.EVICTED,
            "low on resource: memory",
        ),
        (
            {
                "reason": "Preempting",
                "message": "Preempted in order to admit critical pod",
                "conditions": target("TerminationByKubelet"),
            },
            Reason.PREEMPTED,
            "critical pod",
        ),
        (
            {
                "reason": "Terminated",
                "message": "Pod was terminated in response to imminent node shutdown.",
            },
            Reason.EVICTED,
            "shut down",
        ),
        (
            {"reason": "NodeLost", "message": "Node x which was running pod is unresponsive"},
            Reason.LOST,
            "unresponsive",
        ),
    ],
)
def test_disruptions_are_nobody_s_code(status: dict[str, Any], reason: Reason, words: str) -> None:
    for code in (137, 143, 1):
        found = look(died(code, **status)).failure
        assert found is not None
        assert (found.reason, found.fault) == (reason, INFRA)
        assert words in found.detail


@pytest.mark.parametrize("reason", ["PreemptionByScheduler", "DeletionByTaintManager"])
def test_what_had_succeeded_before_its_pod_was_taken_has_succeeded(reason: str) -> None:
    seen = died(0, "Completed", conditions=target(reason))
    assert look(seen).phase is Phase.SUCCEEDED


@pytest.mark.parametrize(
    ("reason", "wanted"),
    [
        ("OutOfcpu", Reason.UNSCHEDULABLE),
        ("OutOfnvidia.com/gpu", Reason.UNSCHEDULABLE),
        ("UnexpectedAdmissionError", Reason.INFRASTRUCTURE),
        ("NodeAffinity", Reason.INFRASTRUCTURE),
        ("WhoKnows", Reason.INFRASTRUCTURE),
    ],
)
def test_a_node_that_does_not_take_its_pod(reason: str, wanted: Reason) -> None:
    seen = with_pod(
        {"phase": "Failed", "reason": reason, "message": "Node didn't have enough", "containerStatuses": []}
    )
    found = look(seen).failure
    assert found is not None
    assert found.reason is wanted


@pytest.mark.parametrize(
    ("message", "words", "reason"),
    [
        ('exec: "/x.sh": permission denied: unknown', "could not be executed", Reason.USER_ERROR),
        ('exec: "/x": no such file or directory: unknown', "not found", Reason.USER_ERROR),
        ("exec /x: exec format error", "another platform", Reason.USER_ERROR),
    ],
)
def test_commands_that_cannot_start(message: str, words: str, reason: Reason) -> None:
    seen = died(128, "StartError")
    seen["pods"][0]["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = message
    status = look(seen)
    assert status.failure is not None
    assert status.failure.reason is reason
    assert words in status.failure.detail
    assert status.exit_code is None  # it is the runtime's


def test_memory_of_a_node_without_a_limit() -> None:
    found = look(died(137, "OOMKilled")).failure
    assert found is not None
    assert (found.reason, found.fault) == (Reason.OUT_OF_MEMORY, INFRA)


def test_an_end_that_its_node_did_not_see() -> None:
    found = look(died(137, "ContainerStatusUnknown")).failure
    assert found is not None
    assert found.reason is Reason.LOST


NOT_THERE = (
    'Failed to pull image "r.example/x:1": rpc error: code = NotFound desc = failed to pull and unpack image '
    '"r.example/x:1": failed to resolve reference "r.example/x:1": r.example/x:1: not found'
)
NO_LOGIN = (
    'Failed to pull image "r.example/x:1": failed to authorize: failed to fetch anonymous token: unexpected '
    "status from GET request to https://r.example/token: 401 Unauthorized"
)
DENIED = (
    "pull access denied, repository does not exist or may require authorization: server message: "
    "insufficient_scope: authorization failed"
)
AWAY = 'Head "https://r.example/v2/x/manifests/1": dial tcp 10.0.0.1:443: connect: connection refused'
LIMITED = "429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (NOT_THERE, "not in the registry"),
        (NO_LOGIN, "does not let the node"),
        (DENIED, "does not let the node"),
        ("no match for platform in manifest: not found", "the node's platform"),
    ],
)
def test_images_that_will_never_come(message: str, words: str) -> None:
    for reason in ("ErrImagePull", "ImagePullBackOff"):
        status = waits(reason, message, 50)
        assert status.failure is not None
        assert (status.failure.reason, status.failure.fault) == (Reason.IMAGE_PULL, Fault.USER)
        assert words in status.failure.detail


@pytest.mark.parametrize("message", [NOT_THERE, NO_LOGIN])
def test_a_pull_secret_may_come_a_moment_late(message: str) -> None:
    assert waits("ErrImagePull", message, 4).phase is Phase.PENDING


@pytest.mark.parametrize("message", [NO_LOGIN, DENIED])
def test_a_node_that_is_refused_tries_once_more(message: str) -> None:
    """It may not have seen the pull secret the first time, and its second try may be 25 s later."""
    assert waits("ImagePullBackOff", message, 30).phase is Phase.PENDING


def test_an_image_that_is_not_there_is_given_up_soon() -> None:
    assert waits("ImagePullBackOff", NOT_THERE, 20).failure is not None


@pytest.mark.parametrize("message", [AWAY, LIMITED, "unexpected status code 503 Service Unavailable", ""])
def test_a_registry_may_be_away_for_a_while_and_not_for_ever(message: str) -> None:
    status = waits("ImagePullBackOff", message, 60)
    assert status.phase is Phase.PENDING
    assert "1 min" in (status.message or "")
    late = waits("ImagePullBackOff", message, 301).failure
    assert late is not None
    assert (late.reason, late.fault) == (Reason.IMAGE_PULL, INFRA)


def test_older_nodes_say_why_in_an_event_only() -> None:
    event = {"reason": "Failed", "message": NOT_THERE}
    found = waits("ImagePullBackOff", 'Back-off pulling image "r.example/x:1"', 20, [event]).failure
    assert found is not None
    assert "not in the registry" in found.detail


@pytest.mark.parametrize(
    ("reason", "message", "after", "words"),
    [
        (
            "CreateContainerConfigError",
            "container has runAsNonRoot and image will run as root (pod: x, container: main)",
            1,
            "run as root",
        ),
        ("CreateContainerConfigError", "couldn't find key a in Secret ns/s", 61, "a Secret"),
        ("CreateContainerError", "failed to generate container spec: no command specified", 1, "no command"),
        ("CreateContainerError", "context deadline exceeded", 121, "could not be created"),
        ("RunContainerError", 'exec: "x": executable file not found in $PATH', 1, "not found in the image"),
    ],
)
def test_containers_that_cannot_be_created(reason: str, message: str, after: float, words: str) -> None:
    found = waits(reason, message, after).failure
    assert found is not None
    assert words in found.detail
    if after > 1:
        assert waits(reason, message, 5).phase is Phase.PENDING


@pytest.mark.parametrize(
    "event",
    [
        {"reason": "FailedAttachVolume", "message": "Multi-Attach error for volume"},
        {"reason": "FailedCreatePodSandBox", "message": "plugin type=bridge failed: no addresses"},
    ],
)
def test_what_only_events_tell(event: dict[str, Any]) -> None:
    status = waits("ContainerCreating", "", 1000, [event])
    assert status.phase is Phase.PENDING
    assert event["message"] in (status.message or "")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
            "PodSecurity",
        ),
        ('admission webhook "v.example" denied the request: no', "denied the request"),
        (
            'pods "x" is forbidden: failed quota: q: must specify limits.cpu for: main',
            "wants requests or limits",
        ),
        ('pods "x" is forbidden: no PriorityClass with name urgent was found', "PriorityClass"),
    ],
)
def test_pods_that_the_cluster_does_not_admit(message: str, words: str) -> None:
    seen = recorded("quota")
    seen["events"] = [{**seen["events"][0], "message": f"Error creating: {message}"}]
    found = look(seen).failure
    assert found is not None
    assert (found.reason, found.fault) == (Reason.CONFIG_ERROR, INFRA)
    assert words in found.detail


def test_a_pod_that_does_not_go() -> None:
    seen = recorded("running")
    gone = unix(STARTED) or 0
    seen["pods"][0]["metadata"].update(deletionTimestamp=STARTED, finalizers=["example.org/hold"])
    assert look({**seen, "at": gone + 5}).message is None  # as it should be
    status = look({**seen, "at": gone + 400})
    assert status.phase is Phase.RUNNING  # nobody has seen its end
    assert (
        status.message
        == "its pod has been stuck in Terminating for 5 min: the finalizers example.org/hold hold it"
    )
    seen["pods"][0]["metadata"]["finalizers"] = ["batch.kubernetes.io/job-tracking"]
    assert "launchcore-node does not answer, perhaps" in (look({**seen, "at": gone + 400}).message or "")
    seen["pods"][0]["status"]["conditions"] = target("DeletionByTaintManager")
    assert str(look({**seen, "at": gone + 400}).message).endswith("launchcore-node does not answer")


def test_unschedulable_has_patience_only_where_the_queue_says_so() -> None:
    seen = recorded("unschedulable-memory")
    seen["at"] += 7200
    assert look(seen).phase is Phase.PENDING
    seen["main"]["metadata"]["annotations"][UNSCHEDULABLE_SECONDS] = "3600"
    found = look(seen).failure
    assert found is not None
    assert found.reason is Reason.UNSCHEDULABLE
    assert "3600 s" in found.detail


def test_a_claim_that_is_missing_for_long() -> None:
    seen = recorded("claim-missing")
    seen["at"] += 60
    found = look(seen).failure
    assert found is not None
    assert found.reason is Reason.CONFIG_ERROR


def test_a_job_whose_pod_vanished() -> None:
    seen = recorded("exit-3")
    seen["pods"] = []
    found = look(seen).failure
    assert found is not None
    assert found.reason is Reason.LOST


def test_a_deadline_before_it_ran() -> None:
    seen = with_pod({"phase": "Failed", "reason": "DeadlineExceeded", "containerStatuses": []})
    found = look(seen).failure
    assert found is not None
    assert (found.reason, found.fault) == (Reason.START_TIMEOUT, INFRA)


def test_the_result_of_a_job_that_was_deleted_after_its_end() -> None:
    assert look({**recorded("succeeded"), "main": None}).phase is Phase.SUCCEEDED
    assert look({**recorded("exit-3"), "main": None}).exit_code == 3
    assert look({**recorded("evicted-by-api"), "main": None}).phase is Phase.GONE


# -- other kinds ----------------------------------------------------------------------------------


def master_of(seen: dict[str, Any], status: dict[str, Any] | None = None) -> Observed:
    seen["pods"][0]["metadata"]["labels"]["training.kubeflow.org/job-role"] = "master"
    worker = copy.deepcopy(recorded("running")["pods"][0])
    worker["metadata"].update(name="worker-0", uid="w")
    found = observed({**seen, "pods": [*seen["pods"], worker]})
    main = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": {"name": "x"},
        "status": status or {},
    }
    return attrs.evolve(found, main=main, kind=kind_for("kubeflow.org/v1", "PyTorchJob"))


def test_the_master_of_several_pods_decides() -> None:
    assert diagnose(master_of(recorded("running"))).phase is Phase.RUNNING
    assert diagnose(master_of(recorded("succeeded"))).phase is Phase.SUCCEEDED
    failed = diagnose(master_of(recorded("exit-3")))
    assert (failed.phase, failed.exit_code) == (Phase.FAILED, 3)
    assert failed.failure is not None
    assert failed.failure.detail.startswith("pod ")


def test_a_custom_resource_s_own_status_decides_where_no_pod_does() -> None:
    kind = kind_for("example.org/v1", "Thing")
    seen = observed(recorded("exit-3"))
    main = {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {}, "status": {}}
    assert diagnose(attrs.evolve(seen, main=main, kind=kind)).phase is Phase.PENDING  # it may try again
    failed = diagnose(attrs.evolve(seen, main={**main, "status": {"phase": "Failed"}}, kind=kind))
    assert (failed.phase, failed.exit_code) == (Phase.FAILED, 3)
    alone = attrs.evolve(
        seen, main={**main, "status": {"phase": "Failed", "message": "m"}}, kind=kind, pods=()
    )
    assert diagnose(alone).failure is not None
    done = attrs.evolve(seen, main={**main, "status": {"phase": "Succeeded"}}, kind=kind)
    assert diagnose(done).phase is Phase.SUCCEEDED


def test_a_bare_pod() -> None:
    pod = recorded("exit-3")["pods"][0]
    main = trim_main({"apiVersion": "v1", "kind": "Pod", **pod})
    seen = Observed(main=main, pods=(trim_pod(pod),), at=0.0, kind=kind_for("v1", "Pod"))
    assert diagnose(seen).exit_code == 3

"""What a cluster says about a run, and what that means: recorded from a real one, the rest in its own words.

``data/*.json`` is written by ``recording.py``. What a small cluster does not do on demand (lost nodes,
pressure, registries that refuse) is a recorded pod with the status that Kubernetes' sources give it.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from launch_k8s.diagnosis import Observed, diagnose
from launch_k8s.kinds import JOB, kind_for, kind_of
from launch_k8s.names import MAIN_CONTAINER, UNSCHEDULABLE_SECONDS
from launch_k8s.pods import annotation, trim_event, trim_main, trim_pod
from launch_k8s.times import unix

from launchcore.plugin import Fault, Phase, Reason, RunStatus

DATA = Path(__file__).parent / "data"
STARTED = "2026-11-23T21:00:00Z"


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())
    return found


def observed(seen: dict[str, Any]) -> Observed:
    main = seen["main"]
    return Observed(
        main=trim_main(main) if main else None,
        pods=tuple(trim_pod(pod) for pod in seen["pods"]),
        events=tuple(trim_event(event) for event in seen["events"]),
        deleted=main is None,
        at=seen["at"],
        kind=kind_of(main) if main else JOB,
        main_container=annotation(main, MAIN_CONTAINER) or "main",
    )


def look(seen: dict[str, Any]) -> RunStatus:
    status = diagnose(observed(seen))
    assert_complete(status)
    return status


def assert_complete(status: RunStatus) -> None:
    """Whatever is said can be shown and acted on."""
    assert status.exit_code is None or status.signal is None
    assert (status.phase in (Phase.FAILED, Phase.GONE)) == (status.failure is not None)
    failure = [status.failure.detail, status.failure.hint] if status.failure else []
    for text in (status.message, *failure):
        if text is not None:
            assert text.strip()
            assert text.isprintable()
            assert len(text) <= 500


# -- recorded -------------------------------------------------------------------------------------


@attrs.frozen
class Failed:
    reason: Reason
    words: str
    fault: Fault = Fault.USER
    exit_code: int | None = None
    signal: int | None = None


INFRA = Fault.INFRASTRUCTURE
FAILED = {
    "exit-3": Failed(Reason.USER_ERROR, "exit code 3", exit_code=3),
    "exit-139": Failed(Reason.USER_ERROR, "SIGSEGV", signal=11),
    "oom": Failed(Reason.OUT_OF_MEMORY, "its limit of 24Mi", signal=9),
    "command-not-found": Failed(Reason.USER_ERROR, 'not found in the image: exec: "no-such-command"'),
    "image-never-pulled": Failed(Reason.IMAGE_PULL, "pull: never"),
    "image-name-invalid": Failed(Reason.IMAGE_PULL, "no name of an image"),
    "unschedulable-gpu": Failed(Reason.UNSCHEDULABLE, "Insufficient nvidia.com/gpu", INFRA),
    "secret-missing": Failed(Reason.CONFIG_ERROR, 'secret "none" not found', INFRA),
    "config-map-missing": Failed(Reason.CONFIG_ERROR, 'configmap "none" not found', INFRA),
    "service-account-missing": Failed(Reason.CONFIG_ERROR, 'serviceaccount "nobody" not found', INFRA),
    "limit-range": Failed(Reason.CONFIG_ERROR, "must be less than or equal to cpu limit", INFRA),
    "init-failed": Failed(Reason.CONFIG_ERROR, "init container 'init' failed with exit code 7", INFRA),
    "plain-sidecar-failed": Failed(Reason.USER_ERROR, "exit code 5", exit_code=5),
    "deadline-of-the-pod": Failed(Reason.RUN_TIMEOUT, "its limit of 3 s", signal=9),
    "deadline-of-the-job": Failed(Reason.RUN_TIMEOUT, "within 4 s"),
    "pod-deleted": Failed(Reason.INFRASTRUCTURE, "its pod was deleted", INFRA, signal=9),
    "evicted-by-api": Failed(Reason.EVICTED, "evicted", INFRA, signal=9),
    "preempted": Failed(Reason.PREEMPTED, "higher priority", INFRA, signal=9),
    "storage-exceeded": Failed(Reason.EVICTED, "more than it may", signal=9),
    "two-pods-one-failed": Failed(Reason.USER_ERROR, "exit code 9", exit_code=9),
}


@pytest.mark.parametrize("name", FAILED)
def test_failures(name: str) -> None:
    status, wanted = look(recorded(name)), FAILED[name]
    assert status.phase is Phase.FAILED
    assert status.failure is not None
    assert (status.failure.reason, status.failure.fault) == (wanted.reason, wanted.fault)
    assert wanted.words in status.failure.detail
    assert status.failure.hint
    assert (status.exit_code, status.signal) == (wanted.exit_code, wanted.signal)


WAITING = {
    "unschedulable-memory": "unschedulable for 10 s: 0/1 nodes are available: 1 Insufficient memory.",
    "unschedulable-selector": "didn't match Pod's node affinity/selector",
    "claim-missing": 'persistentvolumeclaim "none" not found',
    "gated": "to be admitted",
    "image-host-away": "has not been pulled for",
    "image-host-unknown": "lookup registry.invalid",
    "quota": "until the namespace's quota has room",
    "suspended": "has been suspended for",
    "crash-loop": "ends again and again, last with exit code 4",
}


@pytest.mark.parametrize("name", WAITING)
def test_what_people_are_told_while_a_run_waits(name: str) -> None:
    status = look(recorded(name))
    assert status.phase is Phase.PENDING
    assert WAITING[name] in (status.message or "")


@pytest.mark.parametrize("name", ["succeeded", "native-sidecar", "plain-sidecar"])
def test_the_main_container_decides(name: str) -> None:
    status = look(recorded(name))
    assert (status.phase, status.exit_code) == (Phase.SUCCEEDED, 0)
    assert status.started_at is not None
    assert status.finished_at is not None


def test_running_says_since_when_and_nothing_else() -> None:
    status = look(recorded("running"))
    assert (status.phase, status.message) == (Phase.RUNNING, None)
    assert status.started_at is not None


def test_a_job_that_somebody_deleted() -> None:
    status = look(recorded("job-deleted"))
    assert status.phase is Phase.GONE
    assert status.failure is not None
    assert status.failure.reason is Reason.LOST


def test_every_recording_is_tested() -> None:
    named = {*FAILED, *WAITING, "succeeded", "native-sidecar", "plain-sidecar", "running", "job-deleted"}
    assert {path.stem for path in DATA.glob("*.json")} == named


# -- in Kubernetes' own words --------------------------------------------------------------------


def with_pod(status: dict[str, Any], *, base: str = "running", **metadata: Any) -> dict[str, Any]:
    """A recording with one pod of this status."""
    seen = recorded(base)
    seen["pods"][0]["status"].update(copy.deepcopy(status))
    seen["pods"][0]["metadata"].update(metadata)
    return seen


def waits(reason: str, message: str, after: float, events: list[dict[str, Any]] | None = None) -> RunStatus:
    state = {"name": "main", "state": {"waiting": {"reason": reason, "message": message}}}
    seen = with_pod({"phase": "Pending", "startTime": STARTED, "containerStatuses": [state]})
    seen["at"] = (unix(STARTED) or 0) + after
    uid = seen["pods"][0]["metadata"]["uid"]
    seen["events"] = [{"type": "Warning", "involvedObject": {"uid": uid}, **each} for each in events or []]
    return look(seen)


def died(code: int, ended: str = "Error", **status: Any) -> dict[str, Any]:
    state = {"exitCode": code, "reason": ended, "startedAt": STARTED, "finishedAt": "2026-11-23T21:05:00Z"}
    return with_pod(
        {"phase": "Failed", "containerStatuses": [{"name": "main", "state": {"terminated": state}}], **status}
    )


def target(reason: str, message: str = "") -> list[dict[str, Any]]:
    return [{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}]


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
        status = waits(reason, message, 20)
        assert status.failure is not None
        assert (status.failure.reason, status.failure.fault) == (Reason.IMAGE_PULL, Fault.USER)
        assert words in status.failure.detail


@pytest.mark.parametrize("message", [NOT_THERE, NO_LOGIN])
def test_a_pull_secret_may_come_a_moment_late(message: str) -> None:
    assert waits("ErrImagePull", message, 4).phase is Phase.PENDING


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
    assert look({**seen, "at": gone + 5}).message == "its pod is being deleted"
    status = look({**seen, "at": gone + 400})
    assert status.phase is Phase.RUNNING  # nobody has seen its end
    assert (
        status.message
        == "its pod has been stuck in Terminating for 5 min: the finalizers example.org/hold hold it"
    )
    seen["pods"][0]["metadata"]["finalizers"] = ["batch.kubernetes.io/job-tracking"]
    assert "launchcore-node does not answer" in (look({**seen, "at": gone + 400}).message or "")


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


# -- robustness -----------------------------------------------------------------------------------


def size(value: Any, seen: set[int]) -> int:
    """Bytes in memory; what is shared counts once, as decoders share keys."""
    if id(value) in seen:
        return 0
    seen.add(id(value))
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return sys.getsizeof(value) + sum(size(part, seen) for part in parts)


@pytest.mark.parametrize("name", [*FAILED, *WAITING, "running"])
def test_what_is_kept_of_a_run_is_small_and_enough(name: str) -> None:
    seen = recorded(name)
    kept = [trim_main(seen["main"]), *map(trim_pod, seen["pods"]), *map(trim_event, seen["events"])]
    assert size(kept, set()) / max(len(seen["pods"]), 1) < 15_000  # of 20 KB for all of a run
    again = {
        **seen,
        "main": trim_main(seen["main"]),
        "pods": [*map(trim_pod, seen["pods"])],
        "events": [*map(trim_event, seen["events"])],
    }
    assert look(again) == look(seen)


JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 300), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    status=st.dictionaries(st.sampled_from(["phase", "state", "conditions", "message"]), JUNK),
    kind=st.booleans(),
)
def test_whatever_a_stranger_s_controller_writes_is_read(status: dict[str, Any], kind: bool) -> None:
    info = kind_for("example.org/v1", "Thing") if kind else JOB
    main = {"apiVersion": info.api_version, "kind": info.kind, "metadata": {"name": "x"}, "status": status}
    diagnose(Observed(main=trim_main(main), at=0.0, kind=info))


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=300))
def test_what_a_program_writes_into_its_status_is_one_printable_line(text: str) -> None:
    seen = died(3)
    seen["pods"][0]["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = text
    look(seen)
    waits("ImagePullBackOff", text, 400)

"""A pod whose main container has ended, or that can never run → exit code, signal, failure. Pure.

Reasons of pods and containers are the kubelet's (``pkg/kubelet``: eviction, preemption, nodeshutdown,
lifecycle), those of ``DisruptionTarget`` are Kubernetes' API (pod disruption conditions).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from launch_k8s.diagnosis_words import (
    exit_failure,
    failure,
    infrastructure,
    line,
    memory_failure,
)
from launch_k8s.pods import main_status, sidecars
from launch_k8s.times import unix
from launchcore.plugin import Failure, Fault, Reason

STOPPED: Final = frozenset({137, 143})
_AGAIN: Final = "`launch retry` runs it again"
_START_ERRORS: Final = frozenset({"StartError", "ContainerCannotRun", "RunContainerError"})
_DISRUPTIONS: Final = {
    "PreemptionByScheduler": (
        Reason.PREEMPTED,
        "a run with a higher priority took its place",
        "give the queue a `priority_class`, or let its retry policy run it again",
    ),
    "PreemptionByKubeScheduler": (Reason.PREEMPTED, "a run with a higher priority took its place", _AGAIN),
    "EvictionByEvictionAPI": (
        Reason.EVICTED,
        "it was evicted: the node was drained, or made smaller",
        _AGAIN,
    ),
    "DeletionByTaintManager": (
        Reason.LOST,
        "its node was lost: it got a taint that the run does not bear",
        _AGAIN,
    ),
    "DeletionByPodGC": (Reason.LOST, "its node was lost: it is not in the cluster any more", _AGAIN),
    "TerminationByKubelet": (Reason.EVICTED, "its node stopped it", _AGAIN),
}
_ADMISSION: Final = frozenset(
    {"UnexpectedAdmissionError", "NodeAffinity", "AppArmor", "TopologyAffinityError"}
)


@attrs.frozen(kw_only=True)
class Ended:
    """How one pod's main container ended. No failure: it succeeded. Times are UNIX seconds."""

    pod: str
    code: int | None
    failure: Failure | None
    started_at: float | None
    finished_at: float | None
    started: bool = True
    """Its process was started at all: otherwise the code is the runtime's, not its own."""


def ended(pod: Mapping[str, Any], main_container: str) -> Ended | None:
    """How it ended; ``None``: it has not.

    The main container decides: whether others beside it go on, or fail, does not matter.
    """
    status = pod.get("status") or {}
    phase = status.get("phase")
    main = main_status(pod, main_container) or {}
    terminated = (main.get("state") or {}).get("terminated")
    policy = (pod.get("spec") or {}).get("restartPolicy", "Always")
    code = int(terminated.get("exitCode") or 0) if terminated else None
    over = policy == "Never" or (policy == "OnFailure" and code == 0)
    if code is not None and not over and phase not in ("Failed", "Succeeded"):
        return None  # it is started again
    if code is None and phase not in ("Failed", "Succeeded"):
        return None
    state = terminated or {}
    found = Ended(
        pod=str((pod.get("metadata") or {}).get("name") or ""),
        code=code,
        failure=None,
        started_at=unix(state.get("startedAt")) or unix(status.get("startTime")),
        finished_at=unix(state.get("finishedAt")),
    )
    if code == 0 or (code is None and phase == "Succeeded"):
        # Whatever happened to its pod meanwhile: it had done its work.
        return attrs.evolve(found, code=0)
    started = str(state.get("reason")) not in _START_ERRORS
    return attrs.evolve(found, failure=_explain(pod, main, state, code), started=started)


def _explain(
    pod: Mapping[str, Any], main: Mapping[str, Any], state: Mapping[str, Any], code: int | None
) -> Failure:
    status = pod.get("status") or {}
    by_cluster = _disrupted(status) or _by_reason(pod, status, main)
    if by_cluster is not None:
        return by_cluster
    if str(state.get("reason")) == "OOMKilled":
        return memory_failure(_spec_of(pod, str(main.get("name"))))
    if code is None:
        return _never_ran(pod, status)
    return _by_state(pod, state, code)


def _by_state(pod: Mapping[str, Any], state: Mapping[str, Any], code: int) -> Failure:
    reason, message = str(state.get("reason") or ""), str(state.get("message") or "")
    if reason in _START_ERRORS:
        return start_failure(message)
    if reason == "ContainerStatusUnknown":
        return failure(Reason.LOST, "its node lost sight of it, and of how it ended", _AGAIN)
    if (pod.get("metadata") or {}).get("deletionTimestamp") and code in STOPPED:
        return infrastructure("its pod was deleted while it ran", f"somebody deleted it; {_AGAIN}")
    return exit_failure(code, message if reason == "Error" else "")


def start_failure(message: str) -> Failure:
    """The runtime could not start the process."""
    text = message.lower()
    said = line(message, 240)
    if "not found in $path" in text or "no such file or directory" in text:
        return failure(
            Reason.USER_ERROR,
            f"the command was not found in the image: {said}",
            "is it in the image, and on its PATH?",
        )
    if "permission denied" in text:
        return failure(
            Reason.USER_ERROR,
            f"the command could not be executed: {said}",
            "is it executable, and for the queue's user (`run_as_user`)?",
        )
    if "exec format error" in text:
        return failure(
            Reason.USER_ERROR,
            f"the image is for another platform: {said}",
            "build it for the cluster's nodes",
        )
    if "no command specified" in text:
        return failure(
            Reason.USER_ERROR,
            "the image has no command, and the run brings none",
            "put the command after `--` when you submit",
        )
    return failure(Reason.USER_ERROR, f"the container could not be started: {said}", None)


def _disrupted(status: Mapping[str, Any]) -> Failure | None:
    for condition in status.get("conditions") or ():
        if condition.get("type") != "DisruptionTarget" or condition.get("status") != "True":
            continue
        known = _DISRUPTIONS.get(str(condition.get("reason")))
        said = line(status.get("message") or condition.get("message"), 240)
        if known is None:
            return failure(
                Reason.EVICTED, f"the cluster stopped it ({condition.get('reason')}): {said}", _AGAIN
            )
        if known[0] is Reason.EVICTED and status.get("reason") == "Evicted":
            return _evicted(said)
        if status.get("reason") == "Preempting":
            return failure(Reason.PREEMPTED, f"its node made room for a critical pod: {said}", _AGAIN)
        return failure(known[0], f"{known[1]}: {said}" if said else known[1], known[2])
    return None


def _by_reason(pod: Mapping[str, Any], status: Mapping[str, Any], main: Mapping[str, Any]) -> Failure | None:
    """The reasons that a kubelet gives for a pod that it has failed."""
    reason, said = str(status.get("reason") or ""), line(status.get("message"), 240)
    if reason == "Evicted":
        return _evicted(said)
    if reason == "DeadlineExceeded":
        return deadline_failure((pod.get("spec") or {}).get("activeDeadlineSeconds"), ran=_ran(main))
    if reason in ("NodeShutdown", "Terminated", "Shutdown"):
        return failure(Reason.EVICTED, f"its node was shut down: {said}", _AGAIN)
    if reason == "NodeLost":
        return failure(Reason.LOST, f"its node was lost: {said}", _AGAIN)
    if reason == "Preempting":
        return failure(Reason.PREEMPTED, f"its node made room for a critical pod: {said}", _AGAIN)
    if reason.startswith("OutOf"):
        return failure(
            Reason.UNSCHEDULABLE,
            f"its node had no room for it after all: {said}",
            f"{_AGAIN}; if it happens again, something takes the node's place behind the scheduler's back",
        )
    if reason in _ADMISSION:
        return infrastructure(f"its node did not take it ({reason}): {said}", _AGAIN)
    return None


def _evicted(said: str) -> Failure:
    text = said.lower()
    if (
        "exceeds the limit" in text
        or "exceeds the total limit" in text
        or "local storage usage exceeds" in text
    ):
        return failure(
            Reason.EVICTED,
            f"it wrote more than it may: {said}",
            "write less to the container's disk, or raise the queue's limits of ephemeral-storage",
            Fault.USER,
        )
    hint = "memory" if "memory" in text else "disk" if "storage" in text or "disk" in text else "pids"
    request = {"memory": "memory", "disk": "ephemeral-storage", "pids": "memory"}[hint]
    return failure(
        Reason.EVICTED,
        f"its node was short of something and evicted it: {said}",
        f"{_AGAIN}; with `resources: {{requests: {{{request}: …}}}}` it is placed where there is enough",
    )


def deadline_failure(seconds: object, *, ran: bool) -> Failure:
    """The cluster's own deadline has passed."""
    within = f" within {seconds} s" if seconds else ""
    if not ran:
        return failure(
            Reason.START_TIMEOUT,
            f"it did not begin to run{within}",
            "a large image, or a cluster without room: see the run's warnings",
            Fault.INFRASTRUCTURE,
        )
    return failure(
        Reason.RUN_TIMEOUT,
        f"it did not end{within}, the cluster's deadline for it",
        "give the run a longer --timeout, within the queue's limit",
    )


def _never_ran(pod: Mapping[str, Any], status: Mapping[str, Any]) -> Failure:
    """The pod has failed, and its main container has not run: an init container, or something unknown."""
    beside = sidecars(pod)
    for each in status.get("initContainerStatuses") or ():
        state = (each.get("state") or {}).get("terminated") or {}
        code = int(state.get("exitCode") or 0)
        if not code or each.get("name") in beside:
            continue
        name = line(each.get("name"), 60)
        if state.get("reason") == "OOMKilled":
            return attrs.evolve(
                memory_failure(_spec_of(pod, str(each.get("name")))),
                detail=f"the init container {name!r} needed more memory than its limit",
            )
        said = line(state.get("message"), 160)
        return failure(
            Reason.CONFIG_ERROR,
            f"the init container {name!r} failed with exit code {code}{': ' if said else ''}{said}",
            "its log stands in the run's; it comes from the queue's configuration",
            Fault.INFRASTRUCTURE,
        )
    said = line(status.get("message"), 240) or "the cluster gives no reason"
    return infrastructure(
        f"its pod failed before it ran ({status.get('reason') or 'Failed'}): {said}", _AGAIN
    )


def _ran(main: Mapping[str, Any]) -> bool:
    state, last = main.get("state") or {}, main.get("lastState") or {}
    return bool(
        "running" in state or "terminated" in last or (state.get("terminated") or {}).get("startedAt")
    )


def _spec_of(pod: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    spec = pod.get("spec") or {}
    both = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return next((each for each in both if each.get("name") == name), None)

"""What the cluster says about an attempt → :class:`RunStatus`. Pure: no client, no clock.

When has a run ended? When its main container has, where one container decides: a Job whose pods are not
tried again, a bare pod, the master or launcher of a Kubeflow job. Sidecars, native or plain, keep no run
alive: the runner removes the object then. Everywhere else the object's own status decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from launch_k8s.diagnosis_ended import STOPPED, Ended, deadline_failure, ended
from launch_k8s.diagnosis_waiting import Trouble, object_trouble, pod_trouble
from launch_k8s.diagnosis_words import ending, failure, infrastructure, line
from launch_k8s.kinds import JOB, KindInfo, Seen
from launch_k8s.names import UNSCHEDULABLE_SECONDS
from launch_k8s.pods import annotation, main_status, run_seconds
from launch_k8s.times import roughly, unix
from launchcore.plugin import Failure, Fault, Phase, Reason, RunStatus

STUCK_AFTER: Final = 30.0
"""Seconds beyond its grace for which a pod may take to go."""


@attrs.frozen(kw_only=True)
class Observed:
    """All that is known of one attempt's objects, as the API gives them (trimmed by ``pods.trim_…``).

    ``main`` is ``None`` when the API server answers and has no such object. ``deleted``: it was there
    before. ``at``: when this was seen, UNIX seconds.
    """

    main: Mapping[str, Any] | None
    pods: tuple[Mapping[str, Any], ...] = ()
    events: tuple[Mapping[str, Any], ...] = ()
    deleted: bool = False
    at: float
    kind: KindInfo = JOB
    main_container: str = "main"


def diagnose(observed: Observed) -> RunStatus:
    """The status of an attempt. Warnings, while it waits or runs, are in ``message``."""
    main = observed.main
    ends = [each for pod in observed.pods if (each := ended(pod, observed.main_container)) is not None]
    if main is None:
        return _gone(observed, ends)
    seen = observed.kind.status(main)
    verdict = _by_main_container(observed, main, seen)
    if verdict is not None:
        return verdict
    if seen.phase is Phase.SUCCEEDED:
        return _succeeded(ends, seen)
    if seen.phase is Phase.FAILED:
        return _failed(observed, ends, seen)
    return _live(observed, main, seen)


def _by_main_container(observed: Observed, main: Mapping[str, Any], seen: Seen) -> RunStatus | None:
    """The end of the run where one container's end is; ``None``: the object has to say."""
    pods, wanted = _deciding(observed, main)
    ends = [each for pod in pods if (each := ended(pod, observed.main_container)) is not None]
    failed = [each for each in ends if each.failure is not None]
    if failed and wanted:
        return _failed(observed, failed, seen)
    if ends and wanted and len(ends) >= wanted:
        return _succeeded(ends, seen)
    return None


def _deciding(observed: Observed, main: Mapping[str, Any]) -> tuple[Sequence[Mapping[str, Any]], int]:
    """The pods whose main containers decide, and how many of them have to succeed; 0: they do not decide."""
    kind = observed.kind
    if kind.main_pods:
        label, _, value = kind.main_pods.partition("=")
        found = [
            pod
            for pod in observed.pods
            if ((pod.get("metadata") or {}).get("labels") or {}).get(label) == value
        ]
        return found, 1 if found else 0
    if (kind.group, kind.kind) == ("", "Pod"):
        return observed.pods, 1
    if (kind.group, kind.kind) == ("batch", "Job"):
        spec = main.get("spec") or {}
        if spec.get("backoffLimit", 6) == 0:
            return observed.pods, int(spec.get("completions") or spec.get("parallelism") or 1)
    return (), 0


def _succeeded(ends: Sequence[Ended], seen: Seen) -> RunStatus:
    starts = [each.started_at for each in ends if each.started_at is not None]
    finishes = [each.finished_at for each in ends if each.finished_at is not None]
    return RunStatus(
        phase=Phase.SUCCEEDED,
        exit_code=0,
        started_at=min(starts, default=seen.started_at),
        finished_at=max(finishes, default=seen.finished_at),
    )


def _failed(observed: Observed, ends: Sequence[Ended], seen: Seen) -> RunStatus:
    bad = sorted(
        (each for each in ends if each.failure is not None),
        key=lambda each: (each.finished_at is None, each.finished_at or 0.0, each.pod),
    )
    worst = bad[0] if bad else None
    code: dict[str, int] = {}
    if worst is not None and worst.code is not None and worst.started:
        code = ending(worst.code)
    why = worst.failure if worst is not None else None
    if _overdue(observed, worst, seen):
        limit = (_map(observed.main).get("spec") or {}).get("activeDeadlineSeconds")
        why = deadline_failure(limit, ran=_any_ran(observed))
    elif why is None:
        why = _without_pods(observed, seen)
    elif _map(_map(observed.main).get("metadata")).get("deletionTimestamp") and _stopped(worst):
        why = _deleted_while_running(observed)
    limited = run_seconds(observed.main)
    if why.reason is Reason.RUN_TIMEOUT and limited is not None:
        why = attrs.evolve(why, detail=f"it ran for longer than its limit of {limited:g} s")
    if len(observed.pods) > 1 and worst is not None and why is worst.failure:
        why = attrs.evolve(why, detail=f"pod {line(worst.pod, 63)}: {why.detail}")
    return RunStatus(
        phase=Phase.FAILED,
        failure=why,
        started_at=(worst.started_at if worst else None) or seen.started_at,
        finished_at=(worst.finished_at if worst else None) or seen.finished_at,
        exit_code=code.get("exit_code"),
        signal=code.get("signal"),
    )


def _overdue(observed: Observed, worst: Ended | None, seen: Seen) -> bool:
    """The object's own deadline has passed, which its controller tells a moment later than its pods do."""
    if seen.phase is Phase.FAILED and seen.reason == "DeadlineExceeded":
        return True
    limit = _map(_map(observed.main).get("spec")).get("activeDeadlineSeconds")
    if not isinstance(limit, int) or worst is None or worst.code not in STOPPED or seen.started_at is None:
        return False
    return (worst.finished_at or observed.at) - seen.started_at >= limit - 1


def _stopped(worst: Ended | None) -> bool:
    return worst is not None and (worst.code in STOPPED or worst.code is None)


def _deleted_while_running(observed: Observed) -> Failure:
    return infrastructure(
        f"the {observed.kind.kind} was deleted while it ran",
        "somebody deleted it; `launch retry` runs it again",
    )


def _without_pods(observed: Observed, seen: Seen) -> Failure:
    """The object has failed, and no pod of it says why."""
    kind = line(observed.kind.kind, 40)
    said = line(seen.message or seen.reason, 300)
    if observed.kind == JOB and seen.reason in ("BackoffLimitExceeded", ""):
        return failure(
            Reason.LOST,
            f"its pod is gone, and with it how it ended: {said}".rstrip(": "),
            "somebody or something deleted the pod; `launch retry` runs it again",
        )
    if seen.reason == "DeadlineExceeded":
        return deadline_failure(None, ran=_any_ran(observed))
    return failure(
        Reason.USER_ERROR,
        f"the {kind} has failed: {said or 'it does not say why'}",
        "`launch logs` shows more",
    )


def _gone(observed: Observed, ends: Sequence[Ended]) -> RunStatus:
    """The API server has no such object. A result that was seen before somebody removed it still counts."""
    if ends and all(each.failure is None for each in ends) and len(ends) == len(observed.pods):
        return _succeeded(ends, Seen(phase=Phase.UNKNOWN))
    told = [each for each in ends if each.failure is not None and each.code not in (*STOPPED, None)]
    if told and len(ends) == len(observed.pods):
        return _failed(observed, told, Seen(phase=Phase.UNKNOWN))
    kind = line(observed.kind.kind, 40)
    detail = f"the {kind} was deleted by somebody before it had a result"
    return RunStatus(
        phase=Phase.GONE,
        message=detail,
        failure=failure(
            Reason.LOST, detail, "`launch retry` runs it again, if it may run twice", Fault.INFRASTRUCTURE
        ),
    )


def _live(observed: Observed, main: Mapping[str, Any], seen: Seen) -> RunStatus:
    running = [pod for pod in observed.pods if _running(pod, observed.main_container)]
    started = min(
        (at for pod in running if (at := _started(pod, observed.main_container)) is not None),
        default=seen.started_at if running else None,
    )
    leaving = _leaving(observed, main)
    if leaving is not None:
        return RunStatus(phase=Phase.RUNNING, started_at=started, message=leaving or None)
    trouble = _trouble(observed, main)
    if trouble.failure is not None and not running:
        return RunStatus(phase=Phase.FAILED, failure=trouble.failure)
    message = trouble.message or (trouble.failure.detail if trouble.failure else None)
    waiting = len(observed.pods) - len(running)
    if running or seen.phase is Phase.RUNNING:
        if message and running and waiting:
            message = f"{len(running)} of {len(observed.pods)} pods run: {message}"
        return RunStatus(phase=Phase.RUNNING, started_at=started, message=message)
    return RunStatus(phase=Phase.PENDING, message=message)


def _trouble(observed: Observed, main: Mapping[str, Any]) -> Trouble:
    """The most telling of what is in the way of any pod, or of having one."""
    if not observed.pods:
        return object_trouble(main, observed.events, observed.at) or Trouble(
            message=line(_said(observed)) or None
        )
    patience = _seconds(annotation(main, UNSCHEDULABLE_SECONDS))
    found = [
        trouble
        for pod in observed.pods
        if ended(pod, observed.main_container) is None
        and not _running(pod, observed.main_container)
        and (trouble := pod_trouble(pod, observed.events, observed.at, patience)) is not None
    ]
    return next(
        (each for each in found if each.failure is not None),
        next((each for each in found if each.message), Trouble()),
    )


def _said(observed: Observed) -> str:
    return observed.kind.status(_map(observed.main)).message


def _leaving(observed: Observed, main: Mapping[str, Any]) -> str | None:
    """Words for what is being deleted, none while that is as it should be; ``None``: nothing is."""
    for pod in observed.pods:
        metadata = pod.get("metadata") or {}
        due = unix(metadata.get("deletionTimestamp"))
        if due is None or ended(pod, observed.main_container) is not None:
            continue
        # The API server adds the grace to the time of the deletion.
        late = observed.at - due
        if late < STUCK_AFTER:
            return ""
        node = line((pod.get("spec") or {}).get("nodeName") or "its node", 80)
        kept = ", ".join(
            line(each, 60) for each in metadata.get("finalizers") or () if "job-tracking" not in each
        )
        lost = any(
            each.get("type") == "DisruptionTarget" and each.get("reason") == "DeletionByTaintManager"
            for each in (pod.get("status") or {}).get("conditions") or ()
        )
        why = f"{node} does not answer" + ("" if lost else ", perhaps")
        why = f"the finalizers {kept} hold it" if kept else why
        return f"its pod has been stuck in Terminating{roughly(late)}: {why}"
    if (main.get("metadata") or {}).get("deletionTimestamp"):
        return ""
    return None


def _running(pod: Mapping[str, Any], main_container: str) -> bool:
    state = (main_status(pod, main_container) or {}).get("state") or {}
    return "running" in state


def _started(pod: Mapping[str, Any], main_container: str) -> float | None:
    state = (main_status(pod, main_container) or {}).get("state") or {}
    return unix((state.get("running") or {}).get("startedAt"))


def _any_ran(observed: Observed) -> bool:
    if not observed.pods:  # its controller counts those that it has removed
        status = _map(_map(observed.main).get("status"))
        return bool(status.get("failed") or status.get("succeeded") or not status)
    return any(
        _running(pod, observed.main_container)
        or "terminated" in ((main_status(pod, observed.main_container) or {}).get("state") or {})
        for pod in observed.pods
    )


def _seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

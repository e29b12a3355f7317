"""Why a pod, or an object without pods, does not run yet → a warning, or a failure when it never will. Pure.

Nothing is given up at once that a moment can mend: a Secret may come a second after its pod, a registry may
be away for a minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from launch_k8s.diagnosis_ended import start_failure
from launch_k8s.diagnosis_pull import PULL_STATES, pull_trouble
from launch_k8s.diagnosis_words import failure, infrastructure, line
from launch_k8s.pods import sidecars
from launch_k8s.times import roughly, unix
from launchcore.plugin import Failure, Fault, Reason

MISSING_PATIENCE: Final = 60.0
"""Seconds for which a Secret or config map may be missing."""
CREATE_PATIENCE: Final = 120.0
"""Seconds for which a container may fail to be created for other reasons."""
QUIET: Final = 3.0
"""Seconds for which waiting is nothing to speak of."""
_CREATE_STATES: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "PostStartHookError"}
)
_DENIED: Final = (
    "violates podsecurity",
    "denied the request",
    "error looking up service account",
    "is forbidden: unable to validate against any",
    "no priorityclass with name",
    "is invalid",
    "minimum memory usage",
    "maximum memory usage",
    "maximum cpu usage",
)


@attrs.frozen(kw_only=True)
class Trouble:
    """What is in the way: words for a warning, and a failure when waiting has no use."""

    message: str | None = None
    failure: Failure | None = None


def pod_trouble(
    pod: Mapping[str, Any], events: Sequence[Mapping[str, Any]], at: float, patience: float | None
) -> Trouble | None:
    """Why this pod does not run; ``None``: nothing is known to be wrong.

    :param events: all events of the attempt.
    :param at: now, UNIX seconds.
    :param patience: seconds for which it may be unschedulable; ``None``: for ever.
    """
    status = pod.get("status") or {}
    placed = _unplaced(pod, status, at, patience)
    if placed is not None:
        return placed
    about = (pod.get("metadata") or {}).get("uid"), (pod.get("metadata") or {}).get("name")
    mine = [
        event
        for event in events
        if (event.get("involvedObject") or {}).get("uid") == about[0]
        or (event.get("involvedObject") or {}).get("name") == about[1]
    ]
    since = unix(status.get("startTime"))
    waited = max(at - since, 0.0) if since is not None else 0.0
    statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    beside = sidecars(pod)
    for each in statuses:
        state = (each.get("state") or {}).get("waiting")
        if state:
            found = _waiting(each, state, mine, waited, sidecar=each.get("name") in beside)
            if found is not None:
                return found
    return _from_events(mine, waited)


def object_trouble(main: Mapping[str, Any], events: Sequence[Mapping[str, Any]], at: float) -> Trouble | None:
    """Why an object has no pods; ``None``: nothing is known to be wrong."""
    created = unix((main.get("metadata") or {}).get("creationTimestamp"))
    waited = max(at - created, 0.0) if created is not None else 0.0
    kind = line(main.get("kind"), 40)
    for event in reversed(events):
        text = str(event.get("message") or "")
        if event.get("type") == "Normal" or not text:
            continue
        return _denied(text) or Trouble(message=f"the {kind} has no pods yet: {line(text)}")
    if (main.get("spec") or {}).get("suspend") and waited > 10.0:
        return Trouble(
            message=f"the {kind} has been suspended{roughly(waited)}: it waits for admission, "
            "or somebody holds it"
        )
    if waited >= 30.0:
        return Trouble(message=f"the {kind} has had no pods{roughly(waited)}")
    return None


def missing(text: str) -> Failure | None:
    """The failure when a text says that a Secret, a config map, a key or a claim is not there."""
    low = text.lower()
    things = {
        "secret": "a Secret",
        "configmap": "a config map",
        "persistentvolumeclaim": "a volume claim",
        "serviceaccount": "a service account",
    }
    if "not found" in low or "couldn't find key" in low or "references non-existent" in low:
        for word, thing in things.items():
            if word in low:
                return failure(
                    Reason.CONFIG_ERROR,
                    f"{thing} that the queue names is missing: {line(text, 240)}",
                    "create it in the run's namespace, or mend the queue's configuration",
                    Fault.INFRASTRUCTURE,
                )
    return None


def _denied(text: str) -> Trouble | None:
    """An object's controller cannot make its pods."""
    low = text.lower()
    if "exceeded quota" in low:
        return Trouble(message=f"it waits until the namespace's quota has room: {line(text)}")
    if "must specify" in low and "quota" in low:
        return Trouble(
            failure=failure(
                Reason.CONFIG_ERROR,
                f"the namespace's quota wants requests or limits: {line(text, 300)}",
                "give the queue `resources`, or the namespace a LimitRange",
                Fault.INFRASTRUCTURE,
            )
        )
    gone = None
    if "serviceaccount" in low.replace(" ", "") and "not found" in low:
        gone = failure(
            Reason.CONFIG_ERROR,
            f"the service account that the queue names is missing: {line(text, 240)}",
            "create it in the run's namespace, or mend the queue's `service_account`",
            Fault.INFRASTRUCTURE,
        )
    if gone is None and any(word in low for word in _DENIED):
        gone = failure(
            Reason.CONFIG_ERROR,
            f"the cluster does not admit the run's pods: {line(text, 360)}",
            "change the queue's `security`, `resources` or labels to what the namespace wants",
            Fault.INFRASTRUCTURE,
        )
    return Trouble(failure=gone) if gone is not None else None


def _unplaced(
    pod: Mapping[str, Any], status: Mapping[str, Any], at: float, patience: float | None
) -> Trouble | None:
    """The scheduler has found no node."""
    for condition in status.get("conditions") or ():
        if condition.get("type") != "PodScheduled" or condition.get("status") != "False":
            continue
        created = unix((pod.get("metadata") or {}).get("creationTimestamp"))
        since = unix(condition.get("lastTransitionTime")) or created
        waited = max(at - since, 0.0) if since is not None else 0.0
        said = line(condition.get("message"))
        if condition.get("reason") == "SchedulingGated":
            if waited < QUIET:
                return Trouble()
            return Trouble(message=f"it waits to be admitted{roughly(waited)}: {said}")
        if patience is not None and waited >= patience:
            return Trouble(
                failure=failure(
                    Reason.UNSCHEDULABLE, f"no node could take it for {patience:g} s: {said}", _room(said)
                )
            )
        gone = missing(said)
        if gone is not None and waited >= MISSING_PATIENCE:
            return Trouble(failure=gone)
        if waited < QUIET:
            return Trouble()
        return Trouble(message=f"unschedulable{roughly(waited)}: {said}")
    return None


def _room(said: str) -> str:
    low = said.lower()
    if "persistentvolumeclaim" in low:
        return "look at the volume claim: `kubectl describe pvc`"
    if "insufficient" in low:
        return "ask for less, free some nodes, or add some"
    if "taint" in low:
        return "the queue's `tolerations`, or nodes without these taints"
    if "affinity" in low or "selector" in low:
        return "the queue's `node_selector` and `affinity` fit no node"
    return "`kubectl describe pod` and `kubectl get nodes` say more"


def _waiting(
    container: Mapping[str, Any],
    state: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    waited: float,
    *,
    sidecar: bool,
) -> Trouble | None:
    reason, text = str(state.get("reason") or ""), str(state.get("message") or "")
    name = line(container.get("name"), 60)
    if reason in PULL_STATES:
        return Trouble(**pull_trouble(reason, text, events, waited))
    if reason == "RunContainerError" and not sidecar:
        return Trouble(failure=start_failure(text))
    if reason in _CREATE_STATES:
        return _not_created(reason, text, waited)
    if reason == "CrashLoopBackOff":
        last = (container.get("lastState") or {}).get("terminated") or {}
        return Trouble(
            message=f"the container {name!r} ends again and again, last with exit code "
            f"{last.get('exitCode', '?')}; it is started again"
        )
    return None


def _not_created(reason: str, text: str, waited: float) -> Trouble:
    low = text.lower()
    if "runasnonroot" in low or "non-root" in low or "non-numeric user" in low:
        return Trouble(
            failure=failure(
                Reason.CONFIG_ERROR,
                f"the image wants to run as root, and the queue does not let it: {line(text, 200)}",
                "give the queue a `run_as_user`, the image a numeric USER, or allow it: `allow: [root]`",
                Fault.INFRASTRUCTURE,
            )
        )
    if "no command specified" in low:
        return Trouble(failure=start_failure(text))
    gone = missing(text)
    patience = MISSING_PATIENCE if gone is not None else CREATE_PATIENCE
    if waited >= patience:
        return Trouble(
            failure=gone
            or infrastructure(
                f"its container could not be created for {patience:g} s: {line(text, 240) or reason}",
                "`launch retry` runs it again; the node's container runtime may be ill",
            )
        )
    return Trouble(message=f"its container cannot be created yet: {line(text, 240) or reason}")


def _from_events(events: Sequence[Mapping[str, Any]], waited: float) -> Trouble | None:
    """What only events say: volumes that cannot be mounted, networks that cannot be made."""
    for event in reversed(events):
        reason, text = str(event.get("reason") or ""), str(event.get("message") or "")
        if reason in ("FailedMount", "FailedAttachVolume", "FailedMapVolume"):
            gone = missing(text)
            if gone is not None and waited >= MISSING_PATIENCE:
                return Trouble(failure=gone)
            return Trouble(message=f"a volume cannot be mounted yet: {line(text, 240)}")
        if reason in ("FailedCreatePodSandBox", "NetworkNotReady", "FailedCreatePodContainer"):
            return Trouble(message=f"its node cannot start the pod yet: {line(text, 240)}")
    return None

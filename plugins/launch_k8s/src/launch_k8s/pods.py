"""Objects of the API as plain dicts: what the diagnosis and the logs read of them, nothing else. Pure.

An agent keeps one pod and one object for each run, so what is left out here is what makes 1,000 runs cheap.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from launch_k8s.names import ATTEMPT, PREFIX, RUN, RUN_SECONDS

MAX_TEXT: Final = 1000
"""Messages are cut after so many characters: a stranger's image can print as much as it likes into one."""
SHARED: Final = 63
"""Characters up to which a text is kept once for all objects that say it: labels are no longer."""
_WORDS: Final = frozenset({"namespace", "reason", "type", "status"})
_OWN: Final = frozenset({ATTEMPT, RUN})
_META: Final = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "finalizers",
)
_STATE: Final = ("reason", "message", "exitCode", "signal", "startedAt", "finishedAt")
_CONDITION: Final = ("type", "status", "reason", "message", "lastTransitionTime")
_NOISE: Final = frozenset(
    {"lastProbeTime", "lastHeartbeatTime", "uncountedTerminatedPods", "observedGeneration"}
)
_JOB_SPEC: Final = ("parallelism", "completions", "backoffLimit", "suspend", "activeDeadlineSeconds")


def trim_pod(pod: Mapping[str, Any]) -> dict[str, Any]:
    """A pod with only the fields that the diagnosis and the logs read. Trimming twice changes nothing."""
    spec, status = _map(pod.get("spec")), _map(pod.get("status"))
    found: dict[str, Any] = {
        "metadata": _meta(pod, (PREFIX, "job-role", "replica-", "completion-index")),
        "spec": _some(
            {
                "nodeName": _word(spec.get("nodeName")),
                "restartPolicy": _word(spec.get("restartPolicy")),
                "activeDeadlineSeconds": spec.get("activeDeadlineSeconds"),
                "containers": [_container(each) for each in _list(spec.get("containers"))],
                "initContainers": [_container(each) for each in _list(spec.get("initContainers"))],
            }
        ),
        "status": _some(
            {
                "phase": _word(status.get("phase")),
                "reason": _word(status.get("reason")),
                "message": _cut(status.get("message")),
                "startTime": _cut(status.get("startTime")),
                "conditions": [
                    _fields(each, _CONDITION)
                    for each in _list(status.get("conditions"))
                    if each.get("type") == "DisruptionTarget"
                    or (each.get("type") == "PodScheduled" and each.get("status") != "True")
                ],
                "containerStatuses": [_status(each) for each in _list(status.get("containerStatuses"))],
                "initContainerStatuses": [
                    _status(each) for each in _list(status.get("initContainerStatuses"))
                ],
            }
        ),
    }
    return found


def trim_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event (``v1`` or ``events.k8s.io/v1``) with only the fields that the diagnosis reads."""
    about = _map(event.get("involvedObject") or event.get("regarding"))
    series = _map(event.get("series"))
    at = (
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("deprecatedLastTimestamp")
        or event.get("eventTime")
        or _map(event.get("metadata")).get("creationTimestamp")
    )
    return _some(
        {
            "type": event.get("type"),
            "reason": event.get("reason"),
            "message": _cut(event.get("message") or event.get("note")),
            "lastTimestamp": at,
            "involvedObject": _fields(about, ("name", "uid")),
        }
    )


def trim_main(main: Mapping[str, Any]) -> dict[str, Any]:
    """The main object with only what the diagnosis reads: its status, and little of the rest."""
    head = {"apiVersion": _word(main.get("apiVersion")), "kind": _word(main.get("kind"))}
    if head == {"apiVersion": "v1", "kind": "Pod"}:
        return {**head, **trim_pod(main)}
    status = _map(main.get("status"))
    return _some(
        {
            **head,
            "metadata": _meta(main, (PREFIX,)),
            "spec": _fields(_map(main.get("spec")), _JOB_SPEC),
            "status": _small(status),
        }
    )


def container_names(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of a pod's containers, in their order; init containers are none of them."""
    return tuple(str(each.get("name")) for each in _list(_map(pod.get("spec")).get("containers")))


def main_status(pod: Mapping[str, Any], main_container: str) -> Mapping[str, Any] | None:
    """The status of a pod's main container: the one of that name, else its first; ``None``: none yet."""
    names = container_names(pod)
    wanted = main_container if main_container in names else next(iter(names), "")
    statuses = _list(_map(pod.get("status")).get("containerStatuses"))
    return next((each for each in statuses if each.get("name") == wanted), None)


def sidecars(pod: Mapping[str, Any]) -> frozenset[str]:
    """The names of init containers that go on beside the others (``restartPolicy: Always``)."""
    found = _list(_map(pod.get("spec")).get("initContainers"))
    return frozenset(str(each.get("name")) for each in found if each.get("restartPolicy") == "Always")


def annotation(main: Mapping[str, Any] | None, name: str) -> str:
    """An annotation of an object; empty when it has none."""
    return str(_map(_map(_map(main).get("metadata")).get("annotations")).get(name) or "")


def run_seconds(main: Mapping[str, Any] | None) -> float | None:
    """The run's limit, as the object carries it."""
    try:
        return float(annotation(main, RUN_SECONDS))
    except ValueError:
        return None


def _meta(thing: Mapping[str, Any], kept: Sequence[str]) -> dict[str, Any]:
    meta = _map(thing.get("metadata"))
    own = {
        kind: {
            _word(key): _cut(value) if key in _OWN else _word(value)
            for key, value in _map(meta.get(kind)).items()
            if any(part in key for part in kept)
        }
        for kind in ("labels", "annotations")
    }
    return _some({**_fields(meta, _META), **own})


def _container(container: Mapping[str, Any]) -> dict[str, Any]:
    limits = _map(_map(container.get("resources")).get("limits"))
    memory = {"limits": {"memory": limits["memory"]}} if "memory" in limits else None
    return _some(
        {
            "name": _word(container.get("name")),
            "restartPolicy": _word(container.get("restartPolicy")),
            "resources": memory,
        }
    )


def _status(status: Mapping[str, Any]) -> dict[str, Any]:
    return _some(
        {
            "name": _word(status.get("name")),
            "restartCount": status.get("restartCount"),
            "state": _state(status.get("state")),
            "lastState": _state(status.get("lastState")),
        }
    )


def _state(state: Any) -> dict[str, Any]:
    return {_word(key): _fields(_map(inner), _STATE) for key, inner in _map(state).items()}


def _small(value: Any, depth: int = 0) -> Any:
    """A status of any shape, bounded: texts cut, long lists and deep trees left out."""
    if isinstance(value, Mapping):
        kept = [pair for pair in value.items() if pair[0] not in _NOISE][:40]
        return {_word(key): _small(inner, depth + 1) for key, inner in kept} if depth < 6 else {}
    if isinstance(value, list | tuple):
        return [_small(inner, depth + 1) for inner in value[:16]] if depth < 6 else []
    return _cut(value)


def _fields(value: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {
        name: _word(value[name]) if name in _WORDS else _cut(value[name])
        for name in names
        if value.get(name) is not None
    }


def _some(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, [], {})}


def _word(value: Any) -> Any:
    """A text that many objects say, once for all of them: a key, a phase, a namespace. Not for what each
    has of its own: the table of such texts has to grow for it."""
    return sys.intern(value) if type(value) is str and len(value) <= SHARED else _cut(value)


def _cut(value: Any) -> Any:
    return value[:MAX_TEXT] if isinstance(value, str) else value


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list | tuple) else []

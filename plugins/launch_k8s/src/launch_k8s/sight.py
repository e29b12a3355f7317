"""What reading logs needs to know of an attempt's pods. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from launch_k8s.cache import Entry
from launch_k8s.pods import container_names, main_status

INDEX: Final = "job-completion-index"


@attrs.frozen(kw_only=True)
class LogSource:
    """One pod's log: of its main container, or of the init container at which it failed."""

    pod: str
    container: str
    short: str
    """The pod, as it stands before each line when there are several."""
    starts: int
    """How often the container was started, less one."""
    started: bool
    ended: bool
    """Its latest start has ended."""
    over: bool
    """It will not be started again."""
    removed: bool


@attrs.frozen(kw_only=True)
class Sight:
    """All logs of an attempt. ``over``: the attempt has ended."""

    sources: tuple[LogSource, ...]
    several: bool
    over: bool


def sight_of(entry: Entry, *, over: bool) -> Sight:
    """What an entry says about its logs."""
    target = entry.target
    name = target.name if target else ""
    main_container = target.main_container if target else "main"
    spec = (entry.main or {}).get("spec") or {}
    many = max(spec.get("parallelism") or 1, spec.get("completions") or 1) > 1
    sources = tuple(
        _source(pod, main_container, name, removed=pod_name in entry.removed, over=over)
        for pod_name, pod in sorted(entry.pods.items())
    )
    return Sight(sources=sources, several=many or len(sources) > 1, over=over)


def _source(
    pod: Mapping[str, Any], main_container: str, name: str, *, removed: bool, over: bool
) -> LogSource:
    status = pod.get("status") or {}
    pod_over = over or removed or status.get("phase") in ("Succeeded", "Failed")
    found = main_status(pod, main_container)
    container, starts, started, ended = _state(found)
    if not started and pod_over:
        broken = next(filter(_failed, status.get("initContainerStatuses") or ()), None)
        if broken is not None:
            container, starts, started, ended = _state(broken)
    names = container_names(pod)
    fallback = main_container if main_container in names else next(iter(names), main_container)
    return LogSource(
        pod=str(pod["metadata"]["name"]),
        container=container or fallback,
        short=_short(pod, name),
        starts=starts,
        started=started,
        ended=ended or (pod_over and started),
        over=pod_over,
        removed=removed,
    )


def _state(status: Mapping[str, Any] | None) -> tuple[str, int, bool, bool]:
    """Name, starts less one, whether it was started, whether its latest start has ended."""
    if status is None:
        return "", 0, False, False
    state = status.get("state") or {}
    ended = "terminated" in state or (
        "running" not in state and "terminated" in (status.get("lastState") or {})
    )
    return str(status.get("name")), int(status.get("restartCount") or 0), ended or "running" in state, ended


def _failed(status: Mapping[str, Any]) -> bool:
    both = ((status.get(key) or {}).get("terminated") or {} for key in ("state", "lastState"))
    return any(each.get("exitCode") for each in both)


def _short(pod: Mapping[str, Any], name: str) -> str:
    meta = pod["metadata"]
    for where in (meta.get("labels") or {}, meta.get("annotations") or {}):
        for key, value in where.items():
            if key.endswith(INDEX):
                return str(value)
    own = str(meta["name"])
    return own.removeprefix(f"{name}-") or own

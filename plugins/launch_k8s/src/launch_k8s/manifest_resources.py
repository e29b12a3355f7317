"""What the main container asks for and may use: CPU, memory, GPUs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launch_k8s.quantity import quantity
from launch_k8s.refusal import refused
from launch_k8s.settings import RunConfig
from launchcore.plugin import RunPlan


def resources(main: dict[str, Any], plan: RunPlan, config: RunConfig, *, gpus: int) -> None:
    """Fill the container's resources, in place. The template's win, and a run's smaller memory limit.

    :raises LaunchError: ``config_error``: what is no quantity.
    """
    own = main.get("resources") or {}
    found: dict[str, Any] = {**config.resources, **own}
    if unknown := sorted(set(found) - {"requests", "limits", "claims"}):
        raise refused(
            f"the queue's resources have no {unknown[0][:60]!r}", "write {requests: {cpu: 2}, limits: {…}}"
        )
    for part in ("requests", "limits"):
        merged = {**_map(config.resources.get(part), part), **_map(own.get(part), part)}
        for name, value in merged.items():
            _check(name, value)
        found[part] = merged
    if gpus:
        found["limits"].setdefault(config.gpu_type, gpus)
    if plan.limits.memory_bytes:
        _limit_memory(found, plan.limits.memory_bytes)
    main["resources"] = {key: value for key, value in found.items() if value}
    if not main["resources"]:
        del main["resources"]


def gpu_requested(main: Mapping[str, Any], config: RunConfig) -> bool:
    """Whether the container is to have a GPU by any way that the cluster knows."""
    found = main.get("resources") or {}
    limits = {**(found.get("requests") or {}), **(found.get("limits") or {})}
    named = any(
        (name == config.gpu_type or "nvidia.com/" in name) and quantity(value) > 0
        for name, value in limits.items()
    )
    return named or bool(found.get("claims"))


def _limit_memory(found: dict[str, Any], limit: int) -> None:
    for part in ("requests", "limits"):
        value = found[part].get("memory")
        if (value is None and part == "limits") or (value is not None and quantity(value) > limit):
            found[part]["memory"] = str(limit)


def _map(value: Any, part: str) -> Mapping[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise refused(f"the queue's resources: `{part}` must be a mapping, like {{cpu: 2, memory: 4Gi}}")
    return value or {}


def _check(name: str, value: object) -> None:
    try:
        quantity(value)
    except ValueError as error:
        raise refused(f"the queue's resources: {name[:60]}: {error}") from None

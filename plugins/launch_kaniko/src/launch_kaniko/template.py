"""``kaniko-config``: the owner's Job manifest, or parts of one → what the build is put into. Pure.

It may say whatever a Job can. What a build stands on is ours: its name and labels, that it runs once, ends,
is removed, and what the executor is told.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Final

from launch_k8s.names import reserved

from launch_kaniko.order import CONTAINER
from launchcore.plugin import Fault, Json, LaunchError, Reason

_OURS_META: Final = ("name", "generateName", "namespace", "ownerReferences", "finalizers", "managedFields")
_OURS_SPEC: Final = (
    "completions",
    "parallelism",
    "completionMode",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
    "podFailurePolicy",
    "successPolicy",
    "selector",
    "manualSelector",
    "managedBy",
    "suspend",
)


def base(config: Mapping[str, Json]) -> dict[str, Any]:
    """A Job of what the owner says, without what is ours to say.

    :raises LaunchError: ``config_error``: it is no Job, or no manifest at all.
    """
    said = copy.deepcopy(dict(config))
    if said.get("kind", "Job") != "Job" or said.get("apiVersion", "batch/v1") != "batch/v1":
        raise refused("is not a Job of batch/v1")
    unknown = set(said) - {"apiVersion", "kind", "metadata", "spec"}
    if unknown:
        raise refused(f"has {min(unknown)!r} where a Job has metadata and spec")
    spec = mapping(said, "spec")
    template = mapping(spec, "template")
    for meta in (mapping(said, "metadata"), mapping(template, "metadata")):
        for key in _OURS_META:
            meta.pop(key, None)
        for kind in ("labels", "annotations"):
            values = mapping(meta, kind)
            for key in [key for key in values if reserved(str(key))]:
                del values[key]
    for key in _OURS_SPEC:
        spec.pop(key, None)
    mapping(template, "spec")
    return {**said, "apiVersion": "batch/v1", "kind": "Job"}


def container(pod: dict[str, Any]) -> dict[str, Any]:
    """The executor's container in a pod's spec: the one that is called so, else a new first one."""
    listed = items(pod, "containers")
    found: dict[str, Any] | None = next((each for each in listed if each.get("name") == CONTAINER), None)
    if found is not None:
        return found
    made: dict[str, Any] = {"name": CONTAINER}
    listed.insert(0, made)
    return made


def items(where: dict[str, Any], key: str) -> list[Any]:
    """The list at ``key``, made if it is not there."""
    found = where.setdefault(key, [])
    if not isinstance(found, list) or not all(isinstance(each, dict | str) for each in found):
        raise refused(f"has a {key!r} that is no list")
    return found


def mapping(where: dict[str, Any], key: str) -> dict[str, Any]:
    """The mapping at ``key``, made if it is not there."""
    found = where.setdefault(key, {})
    if not isinstance(found, dict):
        raise refused(f"has a {key!r} that is no mapping")
    return found


def named(theirs: list[Any], ours: Iterable[dict[str, Any]]) -> list[Any]:
    """Both lists; of two entries of one name ours holds."""
    mine = list(ours)
    names = {each.get("name") for each in mine}
    return [each for each in theirs if not (isinstance(each, dict) and each.get("name") in names)] + mine


def refused(what: str) -> LaunchError:
    """The owner's template cannot be used."""
    return LaunchError(
        f"the builder's `kaniko-config` {what}",
        reason=Reason.CONFIG_ERROR,
        fault=Fault.INFRASTRUCTURE,
        hint="it is a Job manifest or parts of one: {spec: {template: {spec: {nodeSelector: …}}}}",
    )

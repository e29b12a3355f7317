"""The queue's further objects (Service, ConfigMap, NetworkPolicy …) as this run's own. Pure."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from launch_k8s.names import ATTEMPT, label_value, object_name, part_name
from launch_k8s.refusal import refused

_CLUSTER_WIDE: Final = frozenset(
    {
        "APIService",
        "CSIDriver",
        "CertificateSigningRequest",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "IngressClass",
        "MutatingWebhookConfiguration",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PriorityClass",
        "RuntimeClass",
        "StorageClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
    }
)
_FIRST: Final = frozenset({"ConfigMap", "PersistentVolumeClaim", "Secret", "ServiceAccount"})
_NAMING: Final = frozenset({"secretName", "claimName", "serviceName", "serviceAccountName", "subdomain"})
"""Keys under which one object names another; ``name`` is one inside of those below, and of ``…Ref``."""
_NAMED_IN: Final = frozenset({"configMap", "secret", "service", "subjects"})


def further_objects(
    objects: Sequence[Mapping[str, Any]], attempt_id: str
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Copies with names of the run's own, and which name became which.

    :raises LaunchError: ``config_error``: one that cannot belong to a run.
    """
    found: list[dict[str, Any]] = []
    renamed: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    for at, given in enumerate(objects):
        one = copy.deepcopy(dict(given))
        kind, version = one.get("kind"), one.get("apiVersion")
        metadata = one.setdefault("metadata", {})
        if not isinstance(kind, str) or not isinstance(version, str) or not isinstance(metadata, dict):
            raise refused(f"objects[{at}] needs `apiVersion`, `kind` and `metadata`")
        if kind in _CLUSTER_WIDE:
            raise refused(f"objects[{at}]: a {kind} belongs to no namespace, so it cannot belong to a run")
        name = metadata.get("name", kind.lower())
        if not isinstance(name, str) or not name:
            raise refused(f"objects[{at}]: `metadata.name` must be text")
        own = name if name.startswith(f"{object_name(attempt_id)}-") else part_name(attempt_id, name)
        if own in (part_name(attempt_id, "given"), part_name(attempt_id, "pull")):
            raise refused(f"objects[{at}]: {name[:60]!r} is the name of an object of launchcore's own")
        if (kind, own) in seen:
            raise refused(f"objects[{at}]: two objects are called {kind} {name[:60]!r}")
        seen.add((kind, own))
        metadata["name"] = renamed[name] = own
        _narrow(one, attempt_id)
        found.append(one)
    return [rename(one, renamed) for one in found], renamed


def first(one: Mapping[str, Any]) -> bool:
    """Whether pods may need it to start."""
    return one["kind"] in _FIRST


def rename(value: Any, renamed: Mapping[str, str], *, inside: str = "") -> Any:
    """``value`` with the old names replaced wherever one object names another."""
    if isinstance(value, Mapping):
        named = inside in _NAMED_IN or inside.endswith("Ref")
        return {
            key: renamed.get(inner, inner)
            if isinstance(inner, str) and (key in _NAMING or (key == "name" and named))
            else rename(inner, renamed, inside=key)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [rename(inner, renamed, inside=inside) for inner in value]
    return value


def variables(renamed: Mapping[str, str]) -> dict[str, str]:
    """What a run can find its objects by: ``LAUNCH_OBJECT_<NAME>`` → the name in the cluster.

    >>> variables({"my-svc": "launch-r-1-my-svc"})
    {'LAUNCH_OBJECT_MY_SVC': 'launch-r-1-my-svc'}
    """
    return {"LAUNCH_OBJECT_" + re.sub(r"[^A-Z0-9]", "_", name.upper()): own for name, own in renamed.items()}


def _narrow(one: dict[str, Any], attempt_id: str) -> None:
    """A Service finds, and a NetworkPolicy bounds, pods of this attempt only, whatever else is there."""
    own = {ATTEMPT: label_value(attempt_id)}
    spec = one.get("spec")
    if not isinstance(spec, dict):
        return
    if one["kind"] == "Service" and spec.get("type") != "ExternalName":
        spec["selector"] = {**(spec.get("selector") or {}), **own}
    for kind, key in (("NetworkPolicy", "podSelector"), ("PodDisruptionBudget", "selector")):
        if one["kind"] == kind:
            chosen = spec.get(key) or {}
            spec[key] = {**chosen, "matchLabels": {**(chosen.get("matchLabels") or {}), **own}}

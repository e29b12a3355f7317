"""What ``launch doctor`` says about Kubernetes: which cluster, what the agent may do there, what is left."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import attrs

from launch_k8s.api import Api
from launch_k8s.clusters import Clusters
from launch_k8s.errors import ApiAway, ApiError
from launch_k8s.settings import ClusterSettings
from launchcore.plugin import Check, CheckResult, CheckVerdict, LaunchError

REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
SOON: Final = 5.0
"""Seconds for one question: a cluster that is away must not hold up the other checks."""
NEARLY: Final = Decimal("0.9")
"""The used part of a quota from which on it is worth a word."""


@attrs.frozen
class Rule:
    """A line of a Role, and what is not possible without it."""

    group: str
    things: str
    verbs: tuple[str, ...]
    why: str

    def line(self, verbs: Sequence[str]) -> str:
        """As it stands in a Role's ``rules``."""
        return f'{{apiGroups: ["{self.group}"], resources: ["{self.things}"], verbs: [{", ".join(verbs)}]}}'


RULES: Final = (
    Rule("batch", "jobs", ("get", "list", "watch", "create", "patch", "delete"), "runs are Jobs"),
    Rule("", "pods", ("list", "watch", "deletecollection"), "their pods are watched, and stopped"),
    Rule("", "pods/log", ("get",), "their logs are read"),
    Rule("", "secrets", ("create",), "secrets of runs, and logins to registries"),
    Rule("", "events", ("list",), "why a run waits"),
)
"""What every agent needs. Queues with further objects or custom resources need the same for those."""


def checks(settings: ClusterSettings) -> Iterable[Check]:
    """The clusters of an agent with these settings."""
    clusters = Clusters(settings, os.environ)
    return (
        Check(name="kubernetes", run=lambda: access(clusters)),
        Check(name="kubernetes permissions", run=lambda: permissions(clusters)),
        Check(name="kubernetes quota", run=lambda: quota(clusters)),
    )


def access(clusters: Clusters) -> CheckResult:
    """One line about each cluster."""
    said = []
    for name in clusters.names():
        label = f"{name}: " if name else ""
        try:
            api = clusters.api(name)
            version = api.request("GET", "/version", seconds=SOON, tries=1)
            where = api.connection.where
            host = api.connection.client().configuration.host
            said.append(
                f"{label}Kubernetes {version.get('gitVersion')} at {host}, namespace {api.namespace}, "
                f"with {where}"
            )
        except LaunchError as error:
            if name is None:
                return CheckResult(
                    verdict=CheckVerdict.SKIPPED,
                    detail=error.detail,
                    hint="needed only for queues of type kubernetes",
                )
            return CheckResult(verdict=CheckVerdict.FAILED, detail=label + error.detail, hint=error.hint)
        except ApiError as error:
            return CheckResult(
                verdict=CheckVerdict.FAILED,
                detail=f"{label}the cluster refuses: {error}",
                hint="renew the credentials (`kubectl auth whoami` shows whose they are)",
            )
        except ApiAway as error:
            return CheckResult(
                verdict=CheckVerdict.WARNING,
                detail=f"{label}no API server answers: {error}",
                hint="check the address in the kubeconfig; needed only for queues of type kubernetes",
            )
    return CheckResult(verdict=CheckVerdict.OK, detail="; ".join(said))


def permissions(clusters: Clusters) -> CheckResult:
    """Every verb that we need, asked by a SelfSubjectAccessReview."""
    missing: dict[str, list[str]] = {}
    asked = 0
    try:
        for name in clusters.names():
            api = clusters.api(name)
            for namespace in clusters.settings.namespaces or (api.namespace,):
                asked += 1
                lines = [
                    rule.line(refused)
                    for rule in RULES
                    if (refused := [verb for verb in rule.verbs if not _may(api, namespace, rule, verb)])
                ]
                if lines:
                    missing[f"{name}/{namespace}" if name else namespace] = lines
    except (LaunchError, ApiError, ApiAway):
        return CheckResult(verdict=CheckVerdict.SKIPPED, detail="the cluster does not answer")
    if not missing:
        detail = f"everything that runs need, in {asked} namespace{'s' if asked > 1 else ''}"
        return CheckResult(verdict=CheckVerdict.OK, detail=detail)
    where = "; ".join(f"{place}: {', '.join(lines)}" for place, lines in missing.items())
    return CheckResult(
        verdict=CheckVerdict.FAILED,
        detail=f"the agent may not do all that runs need, in {', '.join(missing)}",
        hint=f"add to the rules of its Role: {where}",
    )


def quota(clusters: Clusters) -> CheckResult:
    """What there is little left of."""
    tight, seen = [], 0
    try:
        for name in clusters.names():
            api = clusters.api(name)
            for namespace in clusters.settings.namespaces or (api.namespace,):
                for each in _quotas(api, namespace):
                    seen += 1
                    tight += [f"{namespace}: {words}" for words in nearly_used(each)]
    except ApiError as error:
        return CheckResult(verdict=CheckVerdict.SKIPPED, detail=f"quotas cannot be read: {error}")
    except (LaunchError, ApiAway):
        return CheckResult(verdict=CheckVerdict.SKIPPED, detail="the cluster does not answer")
    if tight:
        return CheckResult(
            verdict=CheckVerdict.WARNING,
            detail=", ".join(tight),
            hint="runs beyond a quota are refused: end what is not needed, or have it raised",
        )
    detail = f"{seen} quota{'s' if seen > 1 else ''}, none nearly used up" if seen else "no quotas"
    return CheckResult(verdict=CheckVerdict.OK, detail=detail)


def nearly_used(item: Mapping[str, Any]) -> list[str]:
    """Pure: the lines of a ResourceQuota of which little is left."""
    from launch_k8s.quantity import quantity

    status = item.get("status") or {}
    used = status.get("used") or {}
    found = []
    for key, hard in sorted((status.get("hard") or {}).items()):
        try:
            most, now = quantity(hard), quantity(used.get(key, "0"))
        except ValueError:
            continue
        if now >= most * NEARLY and (now or not most):
            found.append(f"{used.get(key, '0')} of {hard} {key} used")
    return found


def _quotas(api: Api, namespace: str) -> list[dict[str, Any]]:
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    answer = api.request("GET", path, seconds=SOON, tries=1)
    return list(answer.get("items") or ())


def _may(api: Api, namespace: str, rule: Rule, verb: str) -> bool:
    thing, _, part = rule.things.partition("/")
    attributes = {"namespace": namespace, "verb": verb, "group": rule.group, "resource": thing}
    if part:
        attributes["subresource"] = part
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = api.request("POST", REVIEWS, body=body, seconds=SOON, tries=2)
    return bool((answer.get("status") or {}).get("allowed"))

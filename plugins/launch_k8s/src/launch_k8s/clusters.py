"""The clusters of one agent, and which kinds of objects they know."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final

import attrs

from launch_k8s.api import Api
from launch_k8s.connect import Connection, choose
from launch_k8s.errors import ApiError
from launch_k8s.kinds import KindInfo
from launch_k8s.settings import ClusterSettings
from launchcore.plugin import Fault, LaunchError, Reason

POD_KIND: Final = KindInfo(group="", version="v1", kind="Pod", plural="pods")
EVENT_KIND: Final = KindInfo(group="", version="v1", kind="Event", plural="events")
_PLURALS: Final[Mapping[tuple[str, str], str]] = {
    ("v1", "Pod"): "pods",
    ("v1", "Secret"): "secrets",
    ("v1", "ConfigMap"): "configmaps",
    ("v1", "Service"): "services",
    ("v1", "PersistentVolumeClaim"): "persistentvolumeclaims",
    ("batch/v1", "Job"): "jobs",
    ("networking.k8s.io/v1", "NetworkPolicy"): "networkpolicies",
    ("networking.k8s.io/v1", "Ingress"): "ingresses",
}
"""Kinds that every cluster has: no need to ask."""


class Clusters:
    """The API servers by the names that queues use. Thread-safe; connects when something is asked."""

    def __init__(self, settings: ClusterSettings, environ: Mapping[str, str]) -> None:
        self.settings = settings
        self._environ = environ
        self._apis: dict[str | None, Api] = {}
        self._kinds: dict[tuple[str | None, str, str], tuple[str, bool]] = {}
        self._lock = threading.Lock()

    def api(self, name: str | None) -> Api:
        """:raises LaunchError: ``config_error``: there is no such cluster, or no credentials for it."""
        with self._lock:
            api = self._apis.get(name)
            if api is None:
                where = choose(self.settings, name, self._environ)
                connection = Connection(where, connections=self.settings.connections)
                api = self._apis[name] = Api(self.settings, connection)
            return api

    def names(self) -> tuple[str | None, ...]:
        """All configured clusters: the agent's own, and the further ones."""
        return (None, *sorted(self.settings.clusters))

    def known(self, cluster: str | None, kind: KindInfo) -> KindInfo:
        """``kind`` with its plural, asked from the cluster if need be (API conventions, "Discovery").

        :raises LaunchError: ``config_error``: the cluster has no such kind.
        :raises ApiError, ApiAway: it cannot be asked.
        """
        if kind.plural:
            return kind
        plural, namespaced = self.collection(cluster, kind.api_version, kind.kind)
        return attrs.evolve(kind, plural=plural, namespaced=namespaced)

    def collection(self, cluster: str | None, api_version: str, kind: str) -> tuple[str, bool]:
        """The plural of a kind, and whether its objects are in namespaces. Raises as :meth:`known` does."""
        builtin = _PLURALS.get((api_version, kind))
        if builtin is not None:
            return builtin, True
        key = (cluster, api_version, kind)
        found = self._kinds.get(key)
        if found is None:
            found = self._kinds[key] = self._discover(cluster, api_version, kind)
        return found

    def kind(self, cluster: str | None, manifest: Mapping[str, Any]) -> KindInfo:
        """The kind of any manifest, enough to post it. Raises as :meth:`known` does."""
        api_version, kind = str(manifest["apiVersion"]), str(manifest["kind"])
        plural, namespaced = self.collection(cluster, api_version, kind)
        group, _, version = api_version.rpartition("/")
        return KindInfo(group=group, version=version, kind=kind, plural=plural, namespaced=namespaced)

    def _discover(self, cluster: str | None, api_version: str, kind: str) -> tuple[str, bool]:
        path = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            answer = self.api(cluster).get(path)
        except ApiError as error:
            if not error.missing:
                raise
            answer = {}
        for each in answer.get("resources") or ():
            if each.get("kind") == kind and "/" not in str(each.get("name")):
                return str(each["name"]), bool(each.get("namespaced"))
        raise LaunchError(
            f"the cluster knows no {kind} of {api_version}",
            reason=Reason.CONFIG_ERROR,
            fault=Fault.INFRASTRUCTURE,
            hint="install the operator that brings this kind, or mend the queue's manifest",
        )

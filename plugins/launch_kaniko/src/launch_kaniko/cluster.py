"""All that is asked of the cluster that builds."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from launch_k8s.api import Api, path_of
from launch_k8s.clusters import EVENT_KIND, POD_KIND, Clusters
from launch_k8s.ender import await_gone
from launch_k8s.errors import ApiAway, ApiError, away, refused
from launch_k8s.kinds import JOB, KindInfo
from launch_k8s.manifest import owned_by
from launch_k8s.names import ATTEMPT, MANAGED_BY
from launch_k8s.starter import HELD, is_held, let_go
from launch_k8s.times import unix
from launch_k8s.watch import Watch

from launch_kaniko.board import Board, Collection
from launch_kaniko.manifest import IMAGE, MANAGER, attempt_selector, build_selector, owner_selector
from launch_kaniko.settings import BuilderSettings
from launchcore.plugin import LaunchError

SECRETS: Final = KindInfo(group="", version="v1", kind="Secret", plural="secrets")
MERGE: Final = "application/merge-patch+json"
STALE: Final = 120.0
"""Seconds after which nobody lets a held Job go any more: whoever held it has died."""
SOONEST: Final = 1

Thing = dict[str, Any]


class BuildCluster:
    """One namespace of one cluster. Thread-safe; connects when something is asked."""

    def __init__(self, settings: BuilderSettings, owner: str) -> None:
        self._clusters = Clusters(settings.cluster(), os.environ)
        self._settings = settings
        self._owner = owner
        self._lock = threading.Lock()
        self.board = Board(self._watch)

    @property
    def api(self) -> Api:
        """:raises LaunchError: ``config_error``: there are no credentials for it."""
        return self._clusters.api(None)

    @property
    def namespace(self) -> str:
        return self._settings.namespace or self.api.namespace

    def path(self, kind: KindInfo, name: str | None = None, part: str = "") -> str:
        return path_of(kind, self.namespace, name, part)

    # -- one build -------------------------------------------------------------------------------

    def find(self, name: str) -> Thing | None:
        """The Job of this name.

        :raises LaunchError: the cluster cannot be asked, or it is somebody else's.
        """
        try:
            job: Thing = self.api.get(self.path(JOB, name))
        except ApiError as error:
            if error.missing:
                return None
            raise self._refused(error, f"look for the Job {name}") from None
        except ApiAway as error:
            raise away(error) from None
        return {**job, "apiVersion": JOB.api_version, "kind": JOB.kind}

    def create(self, job: Thing) -> Thing | None:
        """Create a held Job; ``None``: there is one of this name already.

        :raises LaunchError: the cluster refuses it, or does not answer.
        """
        name = job["metadata"]["name"]
        try:
            made: Thing = self.api.request("POST", self.path(JOB), body=job)
        except ApiError as error:
            if error.conflict:
                return None
            raise self._refused(error, f"Job {name}") from None
        except ApiAway as error:
            raise away(error) from None
        return {**made, "apiVersion": JOB.api_version, "kind": JOB.kind}

    def release(self, job: Thing, secret: Thing) -> bool:
        """Give a held Job its Secret, and let it go. False: it has gone meanwhile.

        May be done by several at once: whoever comes first has made the Secret.

        :raises LaunchError: the cluster refuses it, or does not answer.
        """
        name = job["metadata"]["name"]
        try:
            try:
                self.api.request("POST", self.path(SECRETS), body=owned_by(secret, job))
            except ApiError as error:
                if not error.conflict:
                    raise
            let_go(self.api, self.path(JOB, name))
        except ApiError as error:
            if error.missing:
                return False
            raise self._refused(error, f"Secret of the build {name}") from None
        except ApiAway as error:
            raise away(error) from None
        return True

    def adopt(self, job: Thing, attempt: str) -> None:
        """It is this attempt's from now on: the one that began it was the same run's, and is over."""
        body = {"metadata": {"labels": {ATTEMPT: attempt}}}
        self._quietly("PATCH", self.path(JOB, job["metadata"]["name"]), body=body, content=MERGE)

    def remove(self, job: Thing, *, verify: bool = False) -> None:
        """Remove a Job, its pod and its Secret.

        :param verify: stop it at once, and come back when nothing of it runs any more.
        :raises LaunchError: the cluster does not answer, or does not do it.
        """
        meta = job["metadata"]
        way = "Foreground" if verify else "Background"
        try:
            there = self.api.delete(self.path(JOB, meta["name"]), propagation=way, uid=meta["uid"])
            if verify and there:
                selector = build_selector(meta["name"])
                self.api.delete(self.path(POD_KIND), grace=SOONEST, labelSelector=selector)
                await_gone(self.api, self.path(JOB, meta["name"]), meta["uid"], f"the build {meta['name']}")
        except ApiError as error:
            if not error.missing:
                raise self._refused(error, f"removal of the build {meta['name']}") from None
        except ApiAway as error:
            raise away(error) from None

    def events(self, uid: str) -> tuple[Thing, ...]:
        """What the cluster has to say about an object; nothing, where the agent may not ask."""
        try:
            return tuple(self.api.items(self.path(EVENT_KIND), fieldSelector=f"involvedObject.uid={uid}"))
        except (ApiAway, ApiError):
            return ()

    def pods(self, name: str, uid: str) -> tuple[Thing, ...]:
        """The pods of a Job, past the watch; nothing, where they cannot be seen now."""
        try:
            found = self.api.items(self.path(POD_KIND), labelSelector=build_selector(name))
        except (ApiAway, ApiError):
            return ()
        return tuple(
            pod
            for pod in found
            if any(each.get("uid") == uid for each in pod["metadata"].get("ownerReferences") or ())
        )

    def still_there(self, name: str, uid: str) -> bool:
        """Whether a Job is there, or may be: a look past the watch.

        :raises LaunchError: as :meth:`find`.
        """
        job = self.find(name)
        return job is not None and job["metadata"]["uid"] == uid

    # -- all builds ------------------------------------------------------------------------------

    def of_attempt(self, attempt_id: str) -> list[Thing]:
        """The Jobs that an attempt has begun.

        :raises LaunchError: the cluster cannot be asked.
        """
        return self._list(attempt_selector(attempt_id))

    def forsaken(self) -> list[Thing]:
        """Held Jobs that nobody will let go any more.

        :raises LaunchError: the cluster cannot be asked.
        """
        found = self._list(owner_selector(self._owner))
        return [job for job in found if is_held(job) and age(job) > 5 * STALE]

    def _list(self, selector: str) -> list[Thing]:
        try:
            return self.api.items(self.path(JOB), labelSelector=selector)
        except ApiError as error:
            if error.missing:
                return []
            raise self._refused(error, "list of builds") from None
        except ApiAway as error:
            raise away(error) from None

    def _watch(self, jobs: Collection, pods: Collection) -> tuple[Watch, Watch]:
        # Of all agents: a build that another queue service's agent has begun is waited for, too.
        selector = f"{MANAGED_BY}={MANAGER}"
        return (
            Watch(self.api, self.path(JOB), selector, jobs, name="builds"),
            Watch(self.api, self.path(POD_KIND), selector, pods, name="build-pods"),
        )

    def _quietly(self, method: str, path: str, **how: Any) -> None:
        try:
            self.api.request(method, path, **how)
        except (ApiAway, ApiError):
            return

    def _refused(self, error: ApiError, what: str) -> LaunchError:
        found = refused(error, what)
        if found.hint and ("queue" in found.hint or "plugins.kubernetes" in found.hint):
            found.hint = "look at the builder's settings: kubeconfig, namespace, kaniko-config"
        return found


def builds(job: Mapping[str, Any], image: str) -> bool:
    """Whether this Job builds ``image``, and is ours to wait for."""
    meta = job.get("metadata") or {}
    manager = (meta.get("labels") or {}).get(MANAGED_BY)
    return manager == MANAGER and (meta.get("annotations") or {}).get(IMAGE) == image


def age(job: Mapping[str, Any]) -> float:
    """Seconds since its creation, as far as the clocks agree."""
    created = unix((job.get("metadata") or {}).get("creationTimestamp"))
    return 0.0 if created is None else time.time() - created


def stale(job: Mapping[str, Any]) -> bool:
    """It was held and left by somebody who died."""
    return is_held(job) and age(job) > STALE


__all__ = ["HELD", "BuildCluster", "age", "builds", "is_held", "stale"]

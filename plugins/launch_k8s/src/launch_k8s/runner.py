"""The Kubernetes runner: one Job, or one custom resource, for each attempt."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence

from launch_k8s.clusters import Clusters
from launch_k8s.connect import load_sdk
from launch_k8s.ender import Ender
from launch_k8s.errors import ApiAway, ApiError, away
from launch_k8s.finder import Finder
from launch_k8s.observer import Observer
from launch_k8s.places import PlaceBook, target_of
from launch_k8s.settings import ClusterSettings
from launch_k8s.starter import Starter
from launch_k8s.tails import Tails
from launchcore.plugin import (
    Given,
    LaunchError,
    LogBatch,
    OnChange,
    Phase,
    RunHandle,
    RunPlan,
    RunStatus,
    Site,
    StageContext,
)


def make_runner(settings: ClusterSettings, site: Site) -> KubernetesRunner:
    """The runner on the clusters that settings and environment name. Connects to nothing yet."""
    load_sdk()
    return KubernetesRunner(Clusters(settings, os.environ), site)


class KubernetesRunner:
    """Implements :class:`launchcore.plugin.Runner`. Keeps nothing that another process would miss."""

    def __init__(self, clusters: Clusters, site: Site) -> None:
        self.clusters = clusters
        self.site = site
        book = PlaceBook(site.state / "kubernetes" / "places.json")
        self.observer = Observer(clusters, site.owner)
        self._ender = Ender(clusters)
        self._finder = Finder(clusters, book, self._ender, site.owner)
        self._starter = Starter(clusters, book, self._ender, self.observer.expect)
        self._tails = Tails(clusters, self.observer.sight, clusters.settings.log_streams)

    def __repr__(self) -> str:
        return f"KubernetesRunner(owner={self.site.owner})"

    # -- starting ------------------------------------------------------------------------------

    def prepare(self, plan: RunPlan, given: Given, context: StageContext) -> None:
        # What cannot be started is known now, before anything is. The cluster pulls the image itself.
        try:
            self._starter.bundle(plan, given)
        except (ApiAway, ApiError) as error:
            raise away(error) from None

    def start(self, plan: RunPlan, given: Given) -> RunHandle:
        try:
            handle, main = self._starter.start(plan, given)
        except BaseException:
            self.observer.forget(plan.attempt_id)
            raise
        self.observer.started(handle, main)
        return handle

    def find(self, attempt_id: str) -> RunHandle | None:
        try:
            return self._finder.find(attempt_id)
        except (ApiAway, ApiError) as error:
            raise away(error) from None

    # -- looking -------------------------------------------------------------------------------

    def poll(self, handles: Sequence[RunHandle]) -> Mapping[str, RunStatus]:
        return self.observer.look(handles) if handles else {}

    def watch(self, on_change: OnChange) -> contextlib.AbstractContextManager[None]:
        return self.observer.watching(on_change)

    def watch_ages(self) -> Mapping[str, float]:
        """Seconds since each watch has heard something, by cluster, namespace and kind."""
        return self.observer.watch_ages()

    def logs(self, handle: RunHandle, cursor: str | None, limit: int) -> LogBatch:
        target = target_of(handle)
        if target is None:
            raise LaunchError("there is no log: nothing was started under this name")
        return self._tails.read(handle, target, cursor, limit)

    def owned(self) -> Sequence[RunHandle]:
        if not self.clusters.settings.sweep:
            return ()
        try:
            return self._finder.owned()
        except (ApiAway, ApiError) as error:
            raise away(error) from None

    # -- ending --------------------------------------------------------------------------------

    def cancel(self, handle: RunHandle, grace: float) -> None:
        target = target_of(handle)
        if target is None:
            return
        status = self.observer.end_of(handle.attempt_id) or self.poll([handle])[handle.key]
        if status.phase in (Phase.SUCCEEDED, Phase.FAILED, Phase.GONE):
            return
        try:
            self._ender.stop(handle.attempt_id, target, grace)
        except (ApiAway, ApiError) as error:
            raise away(error) from None

    def cleanup(self, handle: RunHandle) -> None:
        ended = self.observer.end_of(handle.attempt_id) is not None
        self.observer.forget(handle.attempt_id)
        self._tails.forget(handle.attempt_id)
        target = target_of(handle)
        try:
            if target is not None:
                self._ender.remove(target.place, target.name, target.uid, pods_first=not ended)
            else:
                self._finder.remove(handle.attempt_id)
        except (ApiAway, ApiError) as error:
            raise away(error) from None
        self._ender.forget(handle.attempt_id)

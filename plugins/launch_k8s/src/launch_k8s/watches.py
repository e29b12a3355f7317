"""The watches that are needed: one for each kind at a place, one for the pods of a namespace."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from launch_k8s.api import path_of
from launch_k8s.cache import Cache, Entry
from launch_k8s.clusters import POD_KIND, Clusters
from launch_k8s.places import Place, pod_label
from launch_k8s.watch import Watch


@attrs.frozen
class Mains:
    """Tells the cache of main objects."""

    cache: Cache
    place: Place

    def replace(self, objects: Iterable[Mapping[str, Any]], began: float) -> None:
        self.cache.replace_mains(self.place, objects, began)

    def change(self, what: str, thing: Mapping[str, Any]) -> None:
        self.cache.put_main(self.place, what, thing)


@attrs.frozen
class Pods:
    """Tells the cache of pods."""

    cache: Cache
    covers: Callable[[Entry], bool]

    def replace(self, objects: Iterable[Mapping[str, Any]], began: float) -> None:
        self.cache.replace_pods(self.covers, objects, began)

    def change(self, what: str, thing: Mapping[str, Any]) -> None:
        self.cache.put_pod(what, thing)


class Watches:
    """Opened when a place is first needed, closed all together. Thread-safe."""

    def __init__(self, clusters: Clusters, owned: str, cache: Cache) -> None:
        """:param owned: the label selector of everything that is ours."""
        self._clusters = clusters
        self._owned = owned
        self._cache = cache
        self._open: dict[tuple[Any, ...], Watch] = {}
        self._lock = threading.Lock()

    def all(self) -> list[Watch]:
        with self._lock:
            return list(self._open.values())

    def need(self, place: Place, *, anew: bool = False) -> None:
        """Follow this place. ``anew``: look at everything there once more, too.

        :raises LaunchError: ``config_error``: the agent has no such cluster.
        """
        api = self._clusters.api(place.cluster)
        with self._lock:
            for key, path, selector in self._wanted(place):
                watch = self._open.get(key)
                if watch is not None:
                    if anew:
                        watch.relist()
                    continue
                mains = key[2] == "main"
                sink = Mains(self._cache, place) if mains else Pods(self._cache, _covers(place))
                name = "/".join(filter(None, (place.cluster, place.namespace, path.rpartition("/")[2])))
                self._open[key] = Watch(api, path, selector, sink, name=name)

    def sighted(self, place: Place) -> bool:
        """What is known of a place is how it is."""
        return all(watch is not None and watch.sighted for watch in self._of(place))

    def problem(self, place: Place) -> str | None:
        """Why a place cannot be seen now, if anybody has said."""
        return next((watch.error for watch in self._of(place) if watch is not None and watch.error), None)

    def close(self) -> None:
        with self._lock:
            watches, self._open = list(self._open.values()), {}
        for watch in watches:
            watch.close(wait=False)
        for watch in watches:
            watch.close()

    def _of(self, place: Place) -> list[Watch | None]:
        with self._lock:
            return [self._open.get(key) for key, _, _ in self._wanted(place)]

    def _wanted(self, place: Place) -> list[tuple[tuple[Any, ...], str, str]]:
        """What has to be watched: key, path, label selector."""
        label = pod_label(place.kind.selector)
        where = (place.cluster, place.namespace)
        return [
            ((*where, "main", place.kind.group, place.kind.plural), place.path(), self._owned),
            ((*where, "pods", label), path_of(POD_KIND, place.namespace), label or self._owned),
        ]


def _covers(place: Place) -> Callable[[Entry], bool]:
    label = pod_label(place.kind.selector)
    where = (place.cluster, place.namespace)

    def covers(entry: Entry) -> bool:
        mine = (entry.place.cluster, entry.place.namespace)
        return mine == where and pod_label(entry.place.kind.selector) == label

    return covers

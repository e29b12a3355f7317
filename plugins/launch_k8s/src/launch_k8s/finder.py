"""What there is of ours in the clusters: one attempt by its name, all by the owner's label."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any, Final

import attrs

from launch_k8s.clusters import Clusters
from launch_k8s.ender import Ender
from launch_k8s.errors import ApiError
from launch_k8s.names import attempt_selector, object_name, selector
from launch_k8s.places import Place, PlaceBook, attempt_of, handle_of
from launch_k8s.pods import annotation
from launch_k8s.starter import COMPANIONS, is_held
from launchcore.plugin import LaunchError, RunHandle

log = logging.getLogger("launchcore.kubernetes")

METADATA: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
"""Only labels and annotations are needed; a list of whole objects is ten times as large."""
ASK_AGAIN: Final = 600.0
"""Seconds after which a namespace-wide agent asks again whether it may look at all namespaces."""


class Finder:
    """Looks in every place that this agent knows of, and in all namespaces where it may."""

    def __init__(self, clusters: Clusters, book: PlaceBook, ender: Ender, owner: str) -> None:
        self._clusters = clusters
        self._book = book
        self._ender = ender
        self._owner = owner
        self._forbidden: dict[tuple[str | None, str, str], float] = {}

    def find(self, attempt_id: str) -> RunHandle | None:
        """The handle of an attempt; ``None``: there is nothing, and what was begun has been removed.

        :raises LaunchError, ApiError, ApiAway: it cannot be said.
        """
        for place, main in self._all(attempt_selector(attempt_id)):
            if attempt_of(main) != attempt_id:
                continue
            meta = main["metadata"]
            if is_held(main) or not self._complete(place, main):
                # Its agent died while it was made: nothing has run, and so nothing will.
                self._ender.remove(place, str(meta["name"]), str(meta["uid"]), verify=True)
                continue
            return handle_of(place, main)
        return None

    def owned(self) -> list[RunHandle]:
        """Handles of everything with our owner's label.

        :raises LaunchError, ApiError, ApiAway: it cannot be said.
        """
        found: dict[str, RunHandle] = {}
        for place, main in self._all(selector(self._owner)):
            attempt = attempt_of(main)
            if attempt:
                found.setdefault(attempt, handle_of(place, main))
        return list(found.values())

    def remove(self, attempt_id: str) -> None:
        """Remove whatever there is of an attempt of which nothing is known but its id.

        :raises LaunchError, ApiError, ApiAway: it cannot be done.
        """
        name = object_name(attempt_id)
        for place in self._places():
            try:
                main = self._clusters.api(place.cluster).get(place.path(name))
            except ApiError as error:
                if error.missing:
                    continue
                raise
            if attempt_of(main) == attempt_id:
                self._ender.remove(place, name, str(main["metadata"]["uid"]))

    def _complete(self, place: Place, main: dict[str, Any]) -> bool:
        api = self._clusters.api(place.cluster)
        for path in annotation(main, COMPANIONS).split():
            try:
                api.get(path)
            except ApiError as error:
                if error.missing:
                    return False
                raise
        return True

    def _all(self, wanted: str) -> Iterator[tuple[Place, dict[str, Any]]]:
        """Main objects with these labels, wherever they are."""
        wide: set[tuple[str | None, str, str]] = set()
        for place in self._places():
            key = (place.cluster, place.kind.group, place.kind.plural)
            if key not in wide and self._may_look_everywhere(key):
                everywhere = attrs.evolve(place, namespace="")
                try:
                    found = self._list(everywhere, wanted)
                except ApiError as error:
                    if error.code != 403:
                        raise
                    self._forbidden[key] = time.monotonic() + ASK_AGAIN
                else:
                    wide.add(key)
                    for main in found:
                        yield attrs.evolve(place, namespace=str(main["metadata"]["namespace"])), main
            if key not in wide:
                try:
                    found = self._list(place, wanted)
                except ApiError as error:
                    if error.code == 403 and not self._book.has(place):
                        continue  # nor could this agent have made anything there
                    raise
                for main in found:
                    yield place, main

    def _may_look_everywhere(self, key: tuple[str | None, str, str]) -> bool:
        return self._clusters.settings.namespaces is None and time.monotonic() >= self._forbidden.get(
            key, float("-inf")
        )

    def _list(self, place: Place, wanted: str) -> list[dict[str, Any]]:
        api = self._clusters.api(place.cluster)
        found: list[dict[str, Any]] = []
        try:
            for page in api.pages(place.path(), accept=METADATA, labelSelector=wanted):
                found = [] if page["first"] else found
                found += page.get("items") or []
        except ApiError as error:
            if error.missing and place.namespace:
                return []  # the kind is not installed any more: there can be none of it
            raise
        return found

    def _places(self) -> list[Place]:
        """Where this agent has made something, and where agents make things by default."""
        usual: list[tuple[str | None, str]] = []
        for cluster in self._clusters.names():
            try:
                api = self._clusters.api(cluster)
                namespaces = self._clusters.settings.namespaces or (api.namespace,)
            except LaunchError:
                if cluster is None and self._clusters.settings.clusters:
                    continue  # an agent may have further clusters only
                raise
            usual += [(cluster, name) for name in namespaces]
        # A cluster that was taken out of the configuration cannot be asked for ever.
        names = self._clusters.names()
        return [place for place in self._book.all(usual) if place.cluster in names]

"""Events of the API server, asked for only where something waits and nothing says why."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from launch_k8s.api import path_of
from launch_k8s.cache import Entry
from launch_k8s.clusters import EVENT_KIND, Clusters
from launch_k8s.errors import ApiAway, ApiError
from launch_k8s.pods import trim_event
from launchcore.plugin import LaunchError

PATIENCE: Final = 5.0
"""Seconds that a run may wait before anybody asks why."""
AGAIN: Final = 10.0
MOST_AGAIN: Final = 60.0
"""Seconds between two questions about the same attempt: at first, and the most."""
FEW: Final = 3
"""Up to so many attempts of a namespace are asked about one by one; for more, all its warnings are read."""
KEPT: Final = 8
"""Events kept of an attempt."""


class Events:
    """Gives entries the warnings about their objects."""

    def __init__(self, clusters: Clusters) -> None:
        self._clusters = clusters

    def refresh(self, waiting: Sequence[Entry]) -> None:
        """Ask about those that have waited in silence for long. Never raises for a cluster's sake."""
        now = time.monotonic()
        due: dict[tuple[str | None, str], list[Entry]] = {}
        for entry in waiting:
            said = entry.told is not None and entry.told.message
            if now - entry.known_at < PATIENCE or now < entry.events_due or (said and not entry.events):
                continue
            waited = now - entry.known_at
            entry.events_due = now + min(max(AGAIN, waited / 4), MOST_AGAIN)
            due.setdefault((entry.place.cluster, entry.place.namespace), []).append(entry)
        for (cluster, namespace), entries in due.items():
            try:
                self._ask(cluster, namespace, entries)
            except (ApiAway, ApiError, LaunchError):
                continue  # what waits is still seen to wait; only the reason is missing

    def _ask(self, cluster: str | None, namespace: str, entries: list[Entry]) -> None:
        api, path = self._clusters.api(cluster), path_of(EVENT_KIND, namespace)
        if len(entries) <= FEW:
            for entry in entries:
                found: list[dict[str, Any]] = []
                for uid in sorted(_uids(entry)):
                    found += api.items(path, fieldSelector=f"involvedObject.uid={uid}")
                _keep(entry, found)
            return
        about: dict[str, list[dict[str, Any]]] = {}
        wanted = {uid for entry in entries for uid in _uids(entry)}
        for page in api.pages(path, fieldSelector="type=Warning"):
            for event in page.get("items") or ():
                uid = str((event.get("involvedObject") or {}).get("uid") or "")
                if uid in wanted:
                    about.setdefault(uid, []).append(trim_event(event))
        for entry in entries:
            _keep(entry, [event for uid in _uids(entry) for event in about.get(uid, ())])


def _uids(entry: Entry) -> set[str]:
    """Whose events may say why it waits: its pods', or its own while it has none."""
    live = [entry.pods[name] for name in entry.live_pods()]
    things = live[:FEW] or [entry.main or {}]
    return {str(uid) for thing in things if (uid := (thing.get("metadata") or {}).get("uid"))}


def _keep(entry: Entry, events: list[dict[str, Any]]) -> None:
    trimmed = [trim_event(event) for event in events if event.get("type") != "Normal"]
    trimmed.sort(key=lambda event: str(event.get("lastTimestamp") or ""))
    entry.events = tuple(trimmed[-KEPT:])

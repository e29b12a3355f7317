"""What is known of the attempts that this agent follows: one main object and its pods each, trimmed.

Objects of attempts that are not followed are dropped as they come, so that memory depends on this agent's
runs alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from launch_k8s.diagnosis import Observed
from launch_k8s.names import ATTEMPT
from launch_k8s.places import Place, Target, attempt_of, pod_label
from launch_k8s.pods import main_status, trim_main, trim_pod
from launch_k8s.times import unix
from launchcore.plugin import RunHandle, RunStatus

LIVE = ("Pending", "Running", "Unknown")
COLLECTED = 60.0
"""Seconds in which the cluster has removed what belonged to a removed object."""


@attrs.define
class Entry:
    """One attempt. ``known_at``: since when it is followed, or was created; monotonic seconds."""

    attempt: str
    place: Place
    known_at: float
    handle: RunHandle | None = None
    target: Target | None = None
    expected: bool = False
    """It is being created here and now: that it is not there says nothing."""
    main: dict[str, Any] | None = None
    gone: bool = False
    """The main object is not there, and the API server said so."""
    pods: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    """By name. What was removed stays, marked, as it was last."""
    removed: frozenset[str] = frozenset()
    pods_seen: bool = False
    confirmed: bool = False
    """Its pods were looked at after its object had come to an end."""
    doubted_at: float | None = None
    """Since when they are to be, monotonic seconds."""
    events: tuple[dict[str, Any], ...] = ()
    events_due: float = 0.0
    told: RunStatus | None = None
    final: RunStatus | None = None

    @property
    def clear(self) -> bool:
        """Enough has been seen to say how it is."""
        return self.pods_seen and (self.main is not None or self.gone)

    def live_pods(self) -> list[str]:
        """The names of pods that have not ended, as far as is known."""
        return [name for name, pod in self.pods.items() if name not in self.removed and _lives(pod)]

    def remnants(self, at: float) -> bool:
        """Whether there are pods that the cluster will remove by itself, now that their owner is gone.

        :param at: UNIX seconds. Pods that have long ended, and are not being removed, were left on purpose.
        """
        for name, pod in self.pods.items():
            if name in self.removed:
                continue
            meta, status = pod.get("metadata") or {}, pod.get("status") or {}
            states = [each.get("state") or {} for each in status.get("containerStatuses") or ()]
            ends = [unix((state.get("terminated") or {}).get("finishedAt")) or at for state in states]
            if meta.get("deletionTimestamp") or at - max(ends, default=at) < COLLECTED:
                return True
        return False

    def has_ended_pod(self) -> bool:
        """Whether the end of a main container was seen."""
        name = self.target.main_container if self.target else "main"
        found = (main_status(pod, name) for pod in self.pods.values())
        return any("terminated" in (each.get("state") or {}) for each in found if each is not None)

    def observed(self, at: float) -> Observed:
        """For the diagnosis."""
        target = self.target
        return Observed(
            main=None if self.gone else self.main,
            pods=tuple(self.pods[name] for name in sorted(self.pods)),
            events=self.events,
            deleted=self.gone and self.main is not None,
            at=at,
            kind=target.place.kind if target else self.place.kind,
            main_container=target.main_container if target else "main",
        )


class Cache:
    """All followed attempts. Thread-safe: entries are changed under its lock only."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        """:param changed: told of the attempts of which something has changed, without the lock."""
        self.lock = threading.RLock()
        self.entries: dict[str, Entry] = {}
        self._changed = changed
        self._places: dict[Place, Place] = {}
        """Each place once, however many attempts are there."""
        self._selected: dict[tuple[str, str], str] = {}
        """``(label, value)`` → attempt, for pods without our labels."""

    def follow(self, attempt: str, place: Place, *, expected: bool = False) -> Entry:
        """The attempt's entry, made if need be."""
        with self.lock:
            entry = self.entries.get(attempt)
            if entry is None:
                place = self._places.setdefault(place, place)
                entry = Entry(attempt=attempt, place=place, known_at=time.monotonic(), expected=expected)
                self.entries[attempt] = entry
            return entry

    def know(self, attempt: str, handle: RunHandle, target: Target, main: Mapping[str, Any] | None) -> None:
        """It has a handle; ``main`` is what creating it has returned."""
        with self.lock:
            entry = self.follow(attempt, target.place)
            target = attrs.evolve(target, place=self._places.setdefault(target.place, target.place))
            entry.handle, entry.target, entry.expected = handle, target, False
            selector = target.place.kind.pod_selector(target.name)
            label = pod_label(target.place.kind.selector)
            for part in (selector or "").split(","):
                key, _, value = part.partition("=")
                if label and key.strip() == label:
                    self._selected[label, value.strip()] = attempt
            if main is not None:
                entry.known_at = time.monotonic()
                entry.pods_seen = True  # there were none before it
                if entry.main is None:
                    entry.main = trim_main(main)

    def forget(self, attempt: str) -> None:
        with self.lock:
            self.entries.pop(attempt, None)
            for key in [key for key, value in self._selected.items() if value == attempt]:
                del self._selected[key]

    # -- what the watches say --------------------------------------------------------------------

    def put_main(self, place: Place, what: str, thing: Mapping[str, Any]) -> None:
        attempt = attempt_of(thing)
        with self.lock:
            entry = self.entries.get(attempt)
            if entry is None or not _same(entry, thing):
                return
            entry.main = trim_main({**thing, "apiVersion": place.kind.api_version, "kind": place.kind.kind})
            entry.gone = what == "DELETED"
        self._changed(attempt)

    def put_pod(self, what: str, thing: Mapping[str, Any]) -> None:
        with self.lock:
            attempt = self.attempt_of_pod(thing)
            entry = self.entries.get(attempt)
            if entry is None:
                return
            self._pod(entry, what, thing)
        self._changed(attempt)

    def attempt_of_pod(self, thing: Mapping[str, Any]) -> str:
        labels = thing["metadata"].get("labels") or {}
        own = str(labels.get(ATTEMPT) or "")
        if own or not self._selected:
            return own
        for pair in labels.items():
            if pair in self._selected:
                return self._selected[pair]
        return ""

    def replace_mains(self, place: Place, pages: Iterable[Mapping[str, Any]], began: float) -> None:
        """All main objects at a place, as they were after ``began``."""
        there: dict[str, dict[str, Any]] = {}
        for page in pages:
            if page["first"]:
                there = {}
            for thing in page.get("items") or ():
                attempt = attempt_of(thing)
                if attempt in self.entries:
                    full = {**thing, "apiVersion": place.kind.api_version, "kind": place.kind.kind}
                    there[attempt] = trim_main(full)
        changed = []
        with self.lock:
            for entry in self.entries.values():
                if entry.place.key != place.key:
                    continue
                found = there.get(entry.attempt)
                if found is not None and _same(entry, found):
                    entry.main, entry.gone = found, False
                elif entry.known_at <= began and not entry.expected:
                    entry.gone = True
                else:
                    continue
                changed.append(entry.attempt)
        for attempt in changed:
            self._changed(attempt)

    def replace_pods(
        self, covers: Callable[[Entry], bool], pages: Iterable[Mapping[str, Any]], began: float
    ) -> None:
        """All pods of the attempts that ``covers`` says, as they were after ``began``."""
        there: dict[str, list[dict[str, Any]]] = {}
        for page in pages:
            if page["first"]:
                there = {}
            for thing in page.get("items") or ():
                attempt = self.attempt_of_pod(thing)
                if attempt in self.entries:
                    there.setdefault(attempt, []).append(trim_pod(thing))
        changed = []
        with self.lock:
            for entry in self.entries.values():
                if not covers(entry):
                    continue
                pods = there.get(entry.attempt, [])
                if entry.known_at <= began:
                    names = {pod["metadata"]["name"] for pod in pods}
                    entry.removed = frozenset(entry.removed | (entry.pods.keys() - names))
                    entry.pods_seen = True
                for pod in pods:
                    self._pod(entry, "ADDED", pod)
                changed.append(entry.attempt)
        for attempt in changed:
            self._changed(attempt)

    def _pod(self, entry: Entry, what: str, thing: Mapping[str, Any]) -> None:
        name = str(thing["metadata"]["name"])
        entry.pods[name] = trim_pod(thing)
        if (what == "DELETED") != (name in entry.removed):
            entry.removed ^= {name}


def _lives(pod: Mapping[str, Any]) -> bool:
    status = pod.get("status") or {}
    states = [each.get("state") or {} for each in status.get("containerStatuses") or ()]
    # The node says so of the containers first, and of the pod when it has cleared up.
    ended = bool(states) and all("terminated" in state for state in states)
    return status.get("phase", "Pending") in LIVE and not ended


def _same(entry: Entry, thing: Mapping[str, Any]) -> bool:
    """It is the very object that the handle names, not a later one of its name."""
    return entry.target is None or entry.target.uid == thing["metadata"].get("uid")

"""Where runs are: a cluster, a namespace, a kind. And what an agent remembers of it."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from launch_k8s.api import path_of
from launch_k8s.kinds import JOB, KindInfo, as_data, from_data, kind_for, kind_of, rules_text
from launch_k8s.names import ATTEMPT, MAIN_CONTAINER
from launch_k8s.pods import annotation
from launchcore.plugin import RunHandle

RUNNER = "kubernetes"


@attrs.frozen(kw_only=True)
class Place:
    """Objects of one kind in one namespace of one cluster. ``cluster`` ``None``: the agent's own."""

    cluster: str | None
    namespace: str
    kind: KindInfo

    @property
    def key(self) -> tuple[str | None, str, str, str]:
        """What tells places apart: kinds are the same whatever their rules are."""
        return (self.cluster, self.namespace, self.kind.group, self.kind.plural)

    def path(self, name: str | None = None) -> str:
        return path_of(self.kind, self.namespace, name)


@attrs.frozen(kw_only=True)
class Target:
    """What a handle names: one object at a place."""

    place: Place
    name: str
    uid: str
    main_container: str

    @property
    def path(self) -> str:
        return self.place.path(self.name)


def pod_label(selector: str) -> str:
    """The label by which the pods of a kind name their object: of ``a=b,job={name}`` it is ``job``.

    ``""`` for kinds whose pods have our own labels.
    """
    parts = selector.split(",")
    named = next((part for part in parts if "{name}" in part), parts[0])
    return named.partition("=")[0].strip()


def handle_of(place: Place, main: Mapping[str, Any]) -> RunHandle:
    """The handle of a main object: from what it carries itself, so that whoever finds it makes the same."""
    meta = main["metadata"]
    full = {**main, "apiVersion": place.kind.api_version, "kind": place.kind.kind}
    kind = attrs.evolve(kind_of(full), plural=place.kind.plural)
    data = {
        "cluster": place.cluster,
        "namespace": str(meta.get("namespace") or place.namespace),
        "name": str(meta["name"]),
        "uid": str(meta["uid"]),
        "kind": kind_data(kind),
        "main": annotation(main, MAIN_CONTAINER) or "main",
    }
    return RunHandle(runner=RUNNER, attempt_id=attempt_of(main), data=data)


def attempt_of(main: Mapping[str, Any]) -> str:
    """The attempt that an object is of; empty: none that we know."""
    return str((main["metadata"].get("labels") or {}).get(ATTEMPT) or "")


def target_of(handle: RunHandle) -> Target | None:
    """What a handle names; ``None``: nothing that this runner made."""
    data = handle.data
    try:
        kind = data["kind"]
        known = as_data(kind_for("/".join(filter(None, (kind["group"], kind["version"]))), kind["kind"]))
        place = Place(cluster=data["cluster"], namespace=data["namespace"], kind=from_data({**known, **kind}))
        return Target(
            place=place, name=str(data["name"]), uid=str(data["uid"]), main_container=str(data["main"])
        )
    except (KeyError, TypeError):
        return None


def kind_data(kind: KindInfo) -> dict[str, Any]:
    """A kind as short as it can be stored."""
    rules = rules_text(kind)
    data = {"group": kind.group, "version": kind.version, "kind": kind.kind, "plural": kind.plural}
    return {**(json.loads(rules) if rules else {}), **data}


class PlaceBook:
    """The places where this agent has made something, kept over its restarts. Thread-safe.

    Attempts are looked for by name (``Runner.find``), and orphans by label (``Runner.owned``): here.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._places: dict[tuple[str | None, str, str, str], Place] | None = None

    def all(self, usual: Iterable[tuple[str | None, str]] = ()) -> list[Place]:
        """All places, with the ``usual`` clusters and namespaces, where Jobs are looked for in any case."""
        found = {
            place.key: place
            for place in (Place(cluster=cluster, namespace=name, kind=JOB) for cluster, name in usual)
        }
        with self._lock:
            return list({**found, **self._known()}.values())

    def has(self, place: Place) -> bool:
        """Whether something was made there."""
        with self._lock:
            return place.key in self._known()

    def add(self, place: Place) -> None:
        """Remember a place, before anything is made there."""
        with self._lock:
            places = self._known()
            if place.key in places:
                return
            places[place.key] = place
            known = [
                {"cluster": each.cluster, "namespace": each.namespace, "kind": kind_data(each.kind)}
                for each in places.values()
            ]
            self._file.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._file.with_name(f"{self._file.name}.{os.getpid()}.{threading.get_ident()}")
            fresh.write_text(json.dumps(known))
            fresh.replace(self._file)

    def _known(self) -> dict[tuple[str | None, str, str, str], Place]:
        if self._places is None:
            self._places = {place.key: place for place in self._read()}
        return self._places

    def _read(self) -> list[Place]:
        found = []
        with contextlib.suppress(OSError, ValueError):
            for each in json.loads(self._file.read_text()):
                handle = RunHandle(
                    runner=RUNNER, attempt_id="", data={**each, "name": "", "uid": "", "main": ""}
                )
                target = target_of(handle)
                if target is not None:
                    found.append(target.place)
        return found

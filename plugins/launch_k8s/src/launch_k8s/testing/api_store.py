"""The objects of the scripted API server: versions, a history to watch, owners, graceful deletion."""

from __future__ import annotations

import copy
import json
import threading
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

Thing = dict[str, Any]


class Refused(Exception):
    """An answer that says no."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.body = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": message,
        }


@attrs.frozen
class Change:
    """One entry of the history: what happened to an object, and how it was then."""

    number: int
    """Where it is in the history; this one never goes back."""
    version: int
    what: str
    plural: str
    thing: Thing
    before: Mapping[str, str]
    """Its labels before: what no longer matches a selector is deleted for who selects by it."""


def now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def matches(labels: Mapping[str, str], selector: str) -> bool:
    """Whether labels fit a selector of equalities and existences."""
    for part in filter(None, selector.split(",")):
        key, equal, value = part.partition("=")
        if key not in labels or (equal and labels[key] != value):
            return False
    return True


class Store:
    """All objects. Every change wakes whoever waits on :attr:`changed`."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.things: dict[tuple[str, str, str], Thing] = {}
        """By plural, namespace and name."""
        self.history: list[Change] = []
        self.version = 1000
        self.number = 0
        self.oldest = 1000
        self.kinds: dict[str, dict[str, str]] = {
            "v1": {"pods": "Pod", "secrets": "Secret", "configmaps": "ConfigMap", "services": "Service"},
            "batch/v1": {"jobs": "Job"},
        }
        self.holds: Callable[[str, Thing], bool] = lambda _plural, _thing: False
        """Whether an object that is to be deleted goes on for its grace."""

    def items(self, plural: str, namespace: str, selector: str = "") -> list[Thing]:
        with self.changed:
            return [
                copy.deepcopy(thing)
                for (kind, where, _), thing in sorted(self.things.items())
                if kind == plural
                and namespace in ("", where)
                and matches(thing["metadata"].get("labels") or {}, selector)
            ]

    def get(self, plural: str, namespace: str, name: str) -> Thing:
        with self.changed:
            thing = self.things.get((plural, namespace, name))
            if thing is None:
                raise Refused(404, "NotFound", f'{plural} "{name}" not found')
            return copy.deepcopy(thing)

    def create(self, plural: str, namespace: str, thing: Thing) -> Thing:
        with self.changed:
            name = thing["metadata"]["name"]
            if (plural, namespace, name) in self.things:
                raise Refused(409, "AlreadyExists", f'{plural} "{name}" already exists')
            made = copy.deepcopy(thing)
            meta = made["metadata"]
            meta |= {"namespace": namespace, "uid": str(uuid.uuid4()), "creationTimestamp": now()}
            made.setdefault("status", {})
            self._put("ADDED", plural, made)
            return copy.deepcopy(made)

    def patch(self, plural: str, namespace: str, name: str, change: Mapping[str, Any]) -> Thing:
        """A merge patch (RFC 7396)."""
        with self.changed:
            self.get(plural, namespace, name)
            thing = self.things[plural, namespace, name]
            before = dict(thing["metadata"].get("labels") or {})
            merged = _merge(thing, change)
            self._put("MODIFIED", plural, merged, before)
            return copy.deepcopy(merged)

    def set_status(self, plural: str, namespace: str, name: str, **status: Any) -> None:
        """Change parts of an object's status, if it is there."""
        with self.changed:
            if (plural, namespace, name) in self.things:
                self.patch(plural, namespace, name, {"status": status})

    def delete(
        self, plural: str, namespace: str, name: str, options: Mapping[str, Any] | None = None
    ) -> None:
        """As DELETE does: by and by, if it has dependents that go first, or a grace."""
        options = options or {}
        with self.changed:
            thing = self.get(plural, namespace, name)
            uid = (options.get("preconditions") or {}).get("uid")
            if uid not in (None, thing["metadata"]["uid"]):
                raise Refused(409, "Conflict", "the UID in the precondition does not match")
            foreground = options.get("propagationPolicy") == "Foreground"
            dependents = self.dependents(thing)
            grace = options.get("gracePeriodSeconds")
            if foreground and dependents:
                self._mark(plural, namespace, name, finalizers=["foregroundDeletion"])
            elif self.holds(plural, thing) and grace != 0:
                spec_grace = (thing.get("spec") or {}).get("terminationGracePeriodSeconds", 30)
                self._mark(plural, namespace, name, grace=spec_grace if grace is None else grace)
            else:
                self.remove(plural, namespace, name)
            for kind, where, who in dependents:
                if (kind, where, who) in self.things:
                    self.delete(kind, where, who)

    def remove(self, plural: str, namespace: str, name: str) -> None:
        """It is gone now, and so are owners that waited for it."""
        with self.changed:
            thing = self.things.pop((plural, namespace, name), None)
            if thing is None:
                return
            self._note("DELETED", plural, thing)
            for owner in thing["metadata"].get("ownerReferences") or ():
                for (kind, where, who), other in list(self.things.items()):
                    waits = "foregroundDeletion" in (other["metadata"].get("finalizers") or ())
                    mine = other["metadata"]["uid"] == owner["uid"]
                    if mine and waits and not self.dependents(other):
                        self.remove(kind, where, who)

    def dependents(self, thing: Thing) -> list[tuple[str, str, str]]:
        """Keys of what it owns."""
        uid = thing["metadata"]["uid"]
        return [
            key
            for key, other in self.things.items()
            if any(each["uid"] == uid for each in other["metadata"].get("ownerReferences") or ())
        ]

    def begin(self, version: int) -> int:
        """The number in the history after which a watch from this version begins.

        :raises Refused: 410: it has been forgotten.
        """
        with self.changed:
            if version < self.oldest:
                raise Refused(410, "Expired", f"too old resource version: {version} ({self.oldest})")
            numbers = [each.number for each in self.history if each.version > version]
            return numbers[0] - 1 if numbers else self.number

    def since(self, number: int, plural: str, namespace: str) -> list[Change]:
        """The history of a collection after a number."""
        with self.changed:
            return [
                each
                for each in self.history
                if each.number > number
                and each.plural == plural
                and namespace in ("", each.thing["metadata"]["namespace"])
            ]

    def compact(self) -> None:
        """Forget the history: who asks for what came after an earlier version gets 410."""
        with self.changed:
            self.version += 1
            self.oldest = self.version
            self.history.clear()
            self.changed.notify_all()

    def rewind(self, by: int) -> None:
        """Versions go back, as after a restored backup. The objects stay."""
        with self.changed:
            self.version -= by
            self.oldest = min(self.oldest, self.version)

    # -- parts -----------------------------------------------------------------------------------

    def _mark(
        self,
        plural: str,
        namespace: str,
        name: str,
        *,
        grace: int | None = None,
        finalizers: list[str] | None = None,
    ) -> None:
        thing = copy.deepcopy(self.things[plural, namespace, name])
        meta = thing["metadata"]
        meta.setdefault("deletionTimestamp", now())
        if grace is not None:
            meta["deletionGracePeriodSeconds"] = min(grace, meta.get("deletionGracePeriodSeconds", grace))
        if finalizers:
            meta["finalizers"] = finalizers
        self._put("MODIFIED", plural, thing)

    def _put(self, what: str, plural: str, thing: Thing, before: Mapping[str, str] | None = None) -> None:
        self.things[plural, thing["metadata"]["namespace"], thing["metadata"]["name"]] = thing
        self._note(what, plural, thing, before)

    def _note(self, what: str, plural: str, thing: Thing, before: Mapping[str, str] | None = None) -> None:
        self.version += 1
        self.number += 1
        thing["metadata"]["resourceVersion"] = str(self.version)
        labels = thing["metadata"].get("labels") or {}
        frozen = json.loads(json.dumps(thing))
        self.history.append(Change(self.number, self.version, what, plural, frozen, before or labels))
        self.changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Until something changes, or for so long."""
        with self.changed:
            self.changed.wait(seconds)


def _merge(old: Any, change: Any) -> Any:
    if not isinstance(change, Mapping):
        return copy.deepcopy(change)
    found = dict(old) if isinstance(old, Mapping) else {}
    for key, value in change.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = _merge(found.get(key), value)
    return copy.deepcopy(found)

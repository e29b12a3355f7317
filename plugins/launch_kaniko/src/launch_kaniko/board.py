"""What the cluster says of the builds that somebody waits for: two watches, while there are any."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs
from launch_k8s.watch import Watch

Thing = Mapping[str, Any]
Open = Callable[["Collection", "Collection"], tuple[Watch, Watch]]


@attrs.frozen(kw_only=True)
class Look:
    """One build as it was heard of last. ``deleted``: its Job was there, and is not any more."""

    job: Thing | None
    pods: tuple[Thing, ...]
    deleted: bool


class Collection:
    """Objects of one kind by uid, as a watch tells them. What is deleted is kept, as it was last."""

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self.there: dict[str, Thing] = {}
        self.gone: dict[str, Thing] = {}

    def replace(self, objects: Iterable[Thing], began: float) -> None:
        """These are all that there are."""
        found: dict[str, Thing] = {}
        for page in objects:
            found |= {_uid(each): each for each in page.get("items") or ()}
        with self._changed:
            self.gone |= {uid: each for uid, each in self.there.items() if uid not in found}
            self.there = found
            self._changed.notify_all()

    def change(self, what: str, thing: Thing) -> None:
        """One of them was added, modified, deleted."""
        with self._changed:
            if what == "DELETED":
                self.there.pop(_uid(thing), None)
                self.gone[_uid(thing)] = thing
            else:
                self.there[_uid(thing)] = thing
            self._changed.notify_all()

    def forget(self) -> None:
        self.there, self.gone = {}, {}


class Board:
    """Who builds looks here. Thread-safe."""

    def __init__(self, follow: Open) -> None:
        """:param follow: opens the watches of Jobs and of pods, which tell these two collections."""
        self._follow = follow
        self._changed = threading.Condition()
        self._jobs = Collection(self._changed)
        self._pods = Collection(self._changed)
        self._watches: tuple[Watch, ...] = ()
        self._readers = 0
        self._opening = threading.Lock()

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """While in the block, the cluster is watched."""
        with self._opening:
            if not self._readers:
                self._watches = self._follow(self._jobs, self._pods)
            self._readers += 1
        try:
            yield
        finally:
            with self._opening:
                self._readers -= 1
                if not self._readers:
                    for watch in self._watches:
                        watch.close(wait=False)
                    self._watches = ()
                    with self._changed:
                        self._jobs.forget()
                        self._pods.forget()

    def look(self, uid: str) -> Look:
        """The Job of this uid and its pods."""
        with self._changed:
            job = self._jobs.there.get(uid)
            pods = [*self._pods.there.values(), *self._pods.gone.values()]
            mine = {_uid(pod): pod for pod in reversed(pods) if uid in _owners(pod)}
            gone = self._jobs.gone.get(uid)
            return Look(job=job or gone, pods=tuple(mine.values()), deleted=job is None and gone is not None)

    def wait(self, seconds: float, until: Callable[[], bool]) -> None:
        """Until ``until`` holds, asked at every change; at most so long."""
        with self._changed:
            self._changed.wait_for(until, seconds)

    def wake(self) -> None:
        """Have those who wait look again."""
        with self._changed:
            self._changed.notify_all()

    def lost(self, uid: str) -> None:
        """Somebody has asked, and there is no such Job."""
        with self._changed:
            self._jobs.gone[uid] = self._jobs.there.pop(uid, {})
            self._changed.notify_all()


def _uid(thing: Thing) -> str:
    return str((thing.get("metadata") or {}).get("uid"))


def _owners(pod: Thing) -> list[str]:
    return [str(each.get("uid")) for each in (pod.get("metadata") or {}).get("ownerReferences") or ()]

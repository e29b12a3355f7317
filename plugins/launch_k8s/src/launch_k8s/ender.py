"""Stopping and removing: the main object goes first, so that nobody makes new pods; then they go."""

from __future__ import annotations

import math
import threading
import time
from typing import Final

from launch_k8s.api import Api, path_of
from launch_k8s.clusters import POD_KIND, Clusters
from launch_k8s.errors import ApiAway, ApiError
from launch_k8s.names import attempt_selector
from launch_k8s.places import Place, Target

SOONEST: Final = 1
"""Seconds of grace of a forced end. With 0 the API forgets a pod that may still run: nobody would know."""
VERIFY: Final = 20.0
SLACK: Final = 5.0
REMEMBERED: Final = 4096


class Ender:
    """Stops and removes what was started. Thread-safe; everything may be repeated."""

    def __init__(self, clusters: Clusters) -> None:
        self._clusters = clusters
        self._asked: dict[str, float] = {}
        self._lock = threading.Lock()

    def stop(self, attempt_id: str, target: Target, grace: float) -> None:
        """End it, and everything that it made, with ``grace`` seconds for its processes.

        The object stays, marked as being deleted, until its pods have ended and are gone: so when it is
        gone, nothing of it runs.

        :raises ApiError, ApiAway: the cluster cannot be asked.
        """
        with self._lock:
            first = self._asked.setdefault(attempt_id, time.monotonic())
            while len(self._asked) > REMEMBERED:
                self._asked.pop(next(iter(self._asked)))
        if time.monotonic() - first > grace + SLACK:
            grace = 0.0
        api = self._clusters.api(target.place.cluster)
        api.delete(target.path, propagation="Foreground", uid=target.uid)
        pods = path_of(POD_KIND, target.place.namespace)
        selector = target.place.kind.pod_selector(target.name) or attempt_selector(attempt_id)
        api.delete(pods, grace=max(SOONEST, math.ceil(grace)), labelSelector=selector)

    def remove(
        self, place: Place, name: str, uid: str | None, *, pods_first: bool = False, verify: bool = False
    ) -> None:
        """Remove an object and all that it owns: one request, the rest is the cluster's.

        :param pods_first: the object stays until its pods have ended: what is there can be seen.
        :param verify: come back then.
        :raises ApiError, ApiAway: the cluster cannot be asked, or does not do it.
        """
        api = self._clusters.api(place.cluster)
        way = "Foreground" if verify or pods_first else "Background"
        if not api.delete(place.path(name), propagation=way, uid=uid) or not verify:
            return
        await_gone(api, place.path(name), uid, name)

    def forget(self, attempt_id: str) -> None:
        """It is over for us."""
        with self._lock:
            self._asked.pop(attempt_id, None)


def await_gone(api: Api, path: str, uid: str | None, what: str) -> None:
    """Wait until the object is gone, or another has taken its name.

    :param uid: of the object; ``None``: whatever has the name.
    :raises ApiAway: it is still there after :data:`VERIFY` seconds.
    """
    until = time.monotonic() + VERIFY
    while True:
        try:
            there = api.get(path)["metadata"]["uid"]
            if uid is not None and there != uid:
                return
        except ApiError as error:
            if error.missing:
                return
            raise
        if time.monotonic() > until:
            raise ApiAway(f"{what} does not end", sent=True)
        time.sleep(0.1)

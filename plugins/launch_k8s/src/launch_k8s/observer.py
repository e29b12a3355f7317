"""How attempts are: asked for once, or followed by watches while somebody listens."""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from launch_k8s.api import Api, path_of
from launch_k8s.cache import Cache, Entry
from launch_k8s.clusters import POD_KIND, Clusters
from launch_k8s.diagnosis import diagnose
from launch_k8s.errors import ApiAway, ApiError, one_line
from launch_k8s.events import Events
from launch_k8s.names import attempt_selector, selector
from launch_k8s.places import Place, Target, pod_label, target_of
from launch_k8s.sight import Sight, sight_of
from launch_k8s.starter import is_held, let_go
from launch_k8s.watches import Watches
from launchcore.plugin import LaunchError, OnChange, Phase, RunHandle, RunStatus

log = logging.getLogger("launchcore.kubernetes")

TICK: Final = 2.0
"""Seconds between two looks at what waits, for what only time brings about."""
IN_STEP: Final = 1.0
"""Seconds in which the watches of objects and of pods come to the same point."""
REMEMBERED: Final = 4096
GLIMPSE: Final = 0.5
"""Seconds for which a look is good enough to read a log by."""
GLIMPSES: Final = 64
STOPPING: Final = "it is being stopped"


class Observer:
    """Looks at the attempts of one owner. Thread-safe."""

    def __init__(self, clusters: Clusters, owner: str) -> None:
        self._clusters = clusters
        self._owner = owner
        self._ended: collections.OrderedDict[str, RunStatus] = collections.OrderedDict()
        """By attempt: the ends do not change, and need not be asked for again."""
        self.cache = Cache(self._changed)
        self._watches = Watches(clusters, selector(owner), self.cache)
        self._events = Events(clusters)
        self._lock = threading.Lock()
        self._sights: dict[str, tuple[float, Sight | None]] = {}
        self._on_change: OnChange | None = None
        self._nudge = threading.Event()
        self._ticked = 0.0

    # -- what is followed ------------------------------------------------------------------------

    def expect(self, attempt: str, place: Place) -> None:
        """This attempt is created here and now: nothing of it is to be missed."""
        if self._on_change is not None:
            self.cache.follow(attempt, place, expected=True)
            self._watches.need(place)

    def started(self, handle: RunHandle, main: Mapping[str, Any]) -> None:
        """It was: ``main`` is the object that the API server has returned."""
        target = target_of(handle)
        if self._on_change is not None and target is not None:
            self.cache.know(handle.attempt_id, handle, target, main)
            self._changed(handle.attempt_id)

    def forget(self, attempt: str) -> None:
        """It is over for us."""
        self.cache.forget(attempt)
        self._sights.pop(attempt, None)

    def end_of(self, attempt: str) -> RunStatus | None:
        """Its end, if that is known here."""
        with self._lock:
            return self._ended.get(attempt)

    def watch_ages(self) -> dict[str, float]:
        """Seconds since each watch has heard something: an event, a bookmark, a list."""
        return {each.name: each.last_event_age for each in self._watches.all()}

    # -- asked -----------------------------------------------------------------------------------

    def look(self, handles: Sequence[RunHandle]) -> dict[str, RunStatus]:
        """The status of each handle, by its key."""
        found: dict[str, RunStatus] = {}
        asked: dict[tuple[Any, ...], list[tuple[RunHandle, Target]]] = {}
        fresh: dict[tuple[Any, ...], Place] = {}
        for handle in handles:
            known, target = self.end_of(handle.attempt_id), target_of(handle)
            if known is not None:
                found[handle.key] = known
            elif target is None:
                found[handle.key] = RunStatus(phase=Phase.GONE, message="nothing was started under this name")
            elif self._on_change is None:
                asked.setdefault(target.place.key, []).append((handle, target))
            elif (status := self._followed(handle, target)) is not None:
                found[handle.key] = status
            else:
                # The watches look at it, and it is told of then.
                self.cache.know(handle.attempt_id, handle, target, None)
                fresh[(*target.place.key, target.place.kind.selector)] = target.place
                found[handle.key] = _unseen(None)
        for place in fresh.values():
            with contextlib.suppress(LaunchError):
                self._watches.need(place, anew=True)
        for group in asked.values():
            found.update(self._ask(group))
        return found

    def _followed(self, handle: RunHandle, target: Target) -> RunStatus | None:
        """As the watches have it; ``None``: it is not followed yet."""
        entry = self.cache.entries.get(handle.attempt_id)
        if entry is None or entry.target is None:
            return None
        if not self._watches.sighted(target.place):
            problem = self._watches.problem(target.place)
            return _unseen(problem and f"the cluster cannot be asked: {problem}")
        with self.cache.lock:
            return self._status(entry)

    def sight(self, handle: RunHandle, target: Target) -> Sight:
        """What its log is read by: as the watches have it, else asked now and then.

        :raises LaunchError, ApiError, ApiAway: it cannot be said.
        """
        with self.cache.lock:
            entry = self.cache.entries.get(handle.attempt_id)
            if entry is not None and entry.clear:
                return sight_of(entry, over=self._status(entry).phase.final)
            if entry is not None and self._on_change is not None:
                return Sight(sources=(), several=False, over=False)  # the watches are about to look at it
        at, known = self._sights.get(handle.attempt_id, (0.0, None))
        if known is not None and (known.over or time.monotonic() - at < GLIMPSE):
            return known
        cache, group = Cache(lambda _: None), [(handle, target)]
        cache.know(handle.attempt_id, handle, target, None)
        self._read(self._clusters.api(target.place.cluster), target.place, group, cache)
        entry = cache.entries[handle.attempt_id]
        found = sight_of(entry, over=self._status(entry).phase.final)
        self._sights[handle.attempt_id] = (time.monotonic(), found)
        while len(self._sights) > GLIMPSES:
            self._sights.pop(next(iter(self._sights)), None)
        return found

    def _ask(self, group: list[tuple[RunHandle, Target]]) -> dict[str, RunStatus]:
        """Handles of one place, from the API server itself."""
        place = group[0][1].place
        cache = Cache(lambda _: None)
        try:
            api = self._clusters.api(place.cluster)
            for handle, target in group:
                cache.know(handle.attempt_id, handle, target, None)
            self._read(api, place, group, cache)
        except LaunchError as error:
            return {handle.key: _unseen(error.detail) for handle, _ in group}
        except (ApiAway, ApiError) as error:
            words = one_line(f"the cluster cannot be asked: {error}", 160)
            return {handle.key: _unseen(words) for handle, _ in group}
        return {handle.key: self._status(cache.entries[handle.attempt_id]) for handle, _ in group}

    def _read(self, api: Api, place: Place, group: list[tuple[RunHandle, Target]], cache: Cache) -> None:
        alone = group[0] if len(group) == 1 else None
        began = time.monotonic()
        ours = attempt_selector(alone[0].attempt_id) if alone else selector(self._owner)
        mains = api.pages(place.path(), labelSelector=ours)
        cache.replace_mains(place, mains, began)
        self._read_pods(api, place, group, cache)
        for handle, _ in group:
            cache.entries[handle.attempt_id].confirmed = True

    def _read_pods(
        self, api: Api, place: Place, group: Sequence[tuple[RunHandle, Target]], cache: Cache
    ) -> None:
        """The pods of these attempts, as they are now."""
        alone, began = group[0] if len(group) == 1 else None, time.monotonic()
        ours = attempt_selector(alone[0].attempt_id) if alone else selector(self._owner)
        wanted = {handle.attempt_id for handle, _ in group}
        for each in sorted({target.place.kind.selector for _, target in group}):
            theirs = alone[1].place.kind.pod_selector(alone[1].name) if alone else pod_label(each)
            listed = api.pages(
                path_of(POD_KIND, place.namespace), labelSelector=theirs if each and theirs else ours
            )
            cache.replace_pods(_having(each, wanted), listed, began)

    def _status(self, entry: Entry) -> RunStatus:
        """Under the cache's lock. An end is said once and for all."""
        if entry.final is not None:
            return entry.final
        if not entry.clear:
            return _unseen(None)
        if entry.gone and entry.live_pods():
            return RunStatus(phase=Phase.RUNNING, message=STOPPING)
        if entry.gone and entry.main is None and entry.remnants(time.time()):
            # Removed before anybody here saw it: its pods are on their way out, too.
            return _unseen(None)
        status = diagnose(entry.observed(time.time()))
        if status.phase.final and not (entry.confirmed or entry.has_ended_pod()):
            # The watches of objects and of pods are not in step: perhaps the pods' one is behind.
            if entry.doubted_at is None:
                entry.doubted_at = time.monotonic()
                self._nudge.set()
            return entry.told or _unseen(None)
        if status.phase.final:
            entry.final = status
            with self._lock:
                self._ended[entry.attempt] = status
                while len(self._ended) > REMEMBERED:
                    self._ended.popitem(last=False)
        return status

    # -- heard -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def watching(self, on_change: OnChange) -> Iterator[None]:
        """While in the block, tell of changes of what was started or polled here."""
        stop = threading.Event()
        self._on_change = on_change
        ticker = threading.Thread(target=self._tick_on, args=(stop,), name="kubernetes-tick", daemon=True)
        ticker.start()
        try:
            yield
        finally:
            stop.set()
            self._nudge.set()
            self._on_change = None
            self._watches.close()
            ticker.join(timeout=5)
            with self.cache.lock:
                self.cache.entries.clear()

    def _changed(self, attempt: str) -> None:
        """Something about an attempt has changed: tell, if that changes its status."""
        tell = self._on_change
        with self.cache.lock:
            entry = self.cache.entries.get(attempt)
            if entry is None or tell is None or entry.handle is None or not entry.clear:
                return
            status, handle = self._status(entry), entry.handle
            if status == entry.told or status.phase is Phase.UNKNOWN:
                return
            entry.told = status
        tell(handle, status)

    def _tick_on(self, stop: threading.Event) -> None:
        doubts = False
        while not stop.is_set():
            self._nudge.wait(IN_STEP / 4 if doubts else TICK)
            self._nudge.clear()
            try:
                doubts = self._confirm()
                self._tick()
            except Exception:
                log.exception("a look at what waits failed")

    def _confirm(self) -> bool:
        """Look at the pods of what seems to have ended without a word of theirs. True: there is more."""
        groups: dict[tuple[Any, ...], list[Entry]] = {}
        with self.cache.lock:
            doubted = [
                each
                for each in self.cache.entries.values()
                if each.doubted_at is not None and not each.confirmed and each.final is None
            ]
        for entry in doubted:
            if time.monotonic() - (entry.doubted_at or 0.0) >= IN_STEP:
                groups.setdefault((*entry.place.key, entry.place.kind.selector), []).append(entry)
        for entries in groups.values():
            place = entries[0].place
            group = [(each.handle, each.target) for each in entries if each.handle and each.target]
            try:
                self._read_pods(self._clusters.api(place.cluster), place, group, self.cache)
            except (ApiAway, ApiError, LaunchError):
                continue  # at the next tick
            for entry in entries:
                entry.confirmed = True
                self._changed(entry.attempt)
        return bool(doubted)

    def _tick(self) -> None:
        """What waits: reasons that only time or events tell."""
        now = time.monotonic()
        if now - self._ticked < TICK / 2:
            return
        self._ticked = now
        with self.cache.lock:
            waiting = [
                entry
                for entry in self.cache.entries.values()
                if entry.final is None and entry.handle is not None and entry.clear and _waits(entry)
            ]
        seeing = [entry for entry in waiting if self._watches.sighted(entry.place)]
        self._events.refresh(seeing)
        for entry in seeing:
            main, target = entry.main, entry.target
            if main is not None and target is not None and not entry.gone and is_held(main):
                # Its start was answered to nobody; that there is a handle says that it was wanted.
                with contextlib.suppress(ApiAway, ApiError):
                    let_go(self._clusters.api(target.place.cluster), target.path)
            self._changed(entry.attempt)


def _having(pod_selector: str, attempts: set[str]) -> Callable[[Entry], bool]:
    return lambda entry: entry.attempt in attempts and entry.place.kind.selector == pod_selector


def _waits(entry: Entry) -> bool:
    """Whether time alone may change what is said of it."""
    told = entry.told
    if told is None or told.phase is not Phase.RUNNING or told.message:
        return True
    things = [entry.main or {}, *entry.pods.values()]
    return any((thing.get("metadata") or {}).get("deletionTimestamp") for thing in things)


def _unseen(message: str | None) -> RunStatus:
    return RunStatus(phase=Phase.UNKNOWN, message=message)

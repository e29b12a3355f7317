"""How containers are: asked for many at once, or heard from the event stream."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from launch_docker.diagnosis import STOPPING, Circumstances, diagnose, gone, moment, run_seconds
from launch_docker.engine import Engine
from launch_docker.errors import EngineAway, EngineError, one_line
from launch_docker.images import Images
from launch_docker.manifest import TTY_LABEL
from launch_docker.marks import CANCELLED, REFUSED, Marks
from launch_docker.watch import Watch
from launchcore.plugin import (
    ATTEMPT_LABEL,
    OWNER_LABEL,
    OnChange,
    Phase,
    RunHandle,
    RunStatus,
    Site,
)

SLACK = 15.0
"""Seconds that a run may be over its deadline before an agent that merely sees it stops it."""
CLOSER = 15.0
"""Seconds after which one that is listed as running is looked at by itself. An engine that cannot write an
end to its full disk tells no event of it, and lists it as running for ever; `inspect` knows better."""
DIED_OF_IT = 60.0
"""Seconds within which a container that was told to stop from outside counts as stopped by that."""
REMEMBERED = 4096


class Observer:
    """Looks at the containers of one owner. Thread-safe."""

    def __init__(
        self,
        engine: Engine,
        site: Site,
        marks: Marks,
        images: Images,
        cancel: Callable[[RunHandle, float], None],
    ) -> None:
        self._engine = engine
        self._site = site
        self._marks = marks
        self._images = images
        self._cancel = cancel
        self._lock = threading.Lock()
        self._followed: dict[str, RunStatus | None] = {}
        """What was started or polled here, and what was told of it last."""
        self._ended: collections.OrderedDict[str, RunStatus] = collections.OrderedDict()
        """By container: the ends do not change, and need not be asked for again."""
        self._kills: collections.OrderedDict[str, tuple[int, float]] = collections.OrderedDict()
        self._looked: dict[str, float] = {}
        """When each attempt that runs was looked at by itself, monotonic seconds."""
        self._oom: collections.OrderedDict[str, bool] = collections.OrderedDict()
        self._heard_since: float | None = None
        """Since when no event was missed, UNIX seconds."""
        self._on_change: OnChange | None = None

    def expect(self, attempt_id: str) -> None:
        """This attempt is started here: its changes are told."""
        with self._lock:
            self._followed.setdefault(attempt_id, None)

    def forget(self, attempt_id: str) -> None:
        """It is over for us."""
        with self._lock:
            self._followed.pop(attempt_id, None)
            self._looked.pop(attempt_id, None)

    def has_ended(self, container: str, ask: bool) -> bool:
        """Has it ended? Without ``ask``, as far as is known. One that is not there has.

        :raises EngineAway: it cannot be said.
        """
        if container in self._ended:
            return True
        if not ask:
            return False
        try:
            return diagnose(self._engine.get(f"/containers/{container}/json")).phase.final
        except EngineError as error:
            if error.missing:
                return True
            raise EngineAway(str(error)) from None

    # -- asked ---------------------------------------------------------------------------------

    def look(self, handles: Sequence[RunHandle]) -> dict[str, RunStatus]:
        """The status of each handle: one list for all, and a closer look at those that have ended."""
        try:
            listed = {str((each.get("Labels") or {}).get(ATTEMPT_LABEL)): each for each in self._list_owned()}
        except (EngineAway, EngineError) as error:
            unseen = RunStatus(
                phase=Phase.UNKNOWN, message=f"the Docker engine cannot be asked: {one_line(str(error), 120)}"
            )
            return {handle.key: unseen for handle in handles}
        found = {}
        for handle in handles:
            status = self._one(handle, listed.get(handle.attempt_id))
            found[handle.key] = status
            if handle.data.get("id"):
                with self._lock:
                    self._followed[handle.attempt_id] = status
        return found

    def _list_owned(self) -> list[dict[str, Any]]:
        filters = {"label": [f"{OWNER_LABEL}={self._site.owner}"]}
        return list(self._engine.get("/containers/json", all=True, filters=filters))

    def _one(self, handle: RunHandle, listed: Mapping[str, Any] | None) -> RunStatus:
        state = str(listed.get("State")) if listed else ""
        if listed is not None and state == "running":
            said = str(listed.get("Status") or "")
            known = self._ended.get(str(listed["Id"]))
            if known is not None:
                return known
            now = time.monotonic()
            if now - self._looked.setdefault(handle.attempt_id, now) >= CLOSER:
                self._looked[handle.attempt_id] = now
                status = self._closely(str(listed["Id"]), handle.attempt_id)
                if status.phase.final:
                    return status
            message = "the container is unhealthy" if "(unhealthy)" in said else None
            return RunStatus(phase=Phase.RUNNING, message=message)
        container = str(listed["Id"]) if listed else handle.data.get("id")
        if not container:
            return gone(Circumstances())
        return self._closely(str(container), handle.attempt_id)

    def _closely(self, container: str, attempt_id: str) -> RunStatus:
        """From the container's own ``inspect``."""
        known = self._ended.get(container)
        if known is not None:
            return known
        try:
            inspected = self._engine.get(f"/containers/{container}/json")
            status = diagnose(inspected, self._around(container, attempt_id, inspected))
        except EngineAway as error:
            return RunStatus(phase=Phase.UNKNOWN, message=f"the Docker engine cannot be asked: {error}")
        except EngineError as error:
            if error.missing:
                return gone(Circumstances())
            return RunStatus(phase=Phase.UNKNOWN, message=f"the Docker engine does not say: {error}")
        if status.phase.final:
            with self._lock:
                _put(self._ended, container, status)
        return status

    def _around(self, container: str, attempt_id: str, inspected: Mapping[str, Any]) -> Circumstances:
        state = inspected.get("State") or {}
        finished = moment(state.get("FinishedAt"))
        if finished is None:
            return Circumstances()
        started = moment(state.get("StartedAt")) or 0.0
        if self._heard_since is None or started < self._heard_since:
            self._ask_history(container, started)
        outside = None
        with self._lock:
            kill, oom = self._kills.get(container), self._oom.get(container, False)
        if kill is not None and not self._marks.has(CANCELLED, attempt_id):
            number, at = kill
            # A little before the kill, too: the two times are taken at different places.
            outside = number if -2.0 < finished - at < DIED_OF_IT else None
        return Circumstances(outside=outside, oom=oom, booted_at=self._booted_at())

    def _ask_history(self, container: str, started: float) -> None:
        """What the engine still remembers of a container that nobody here has listened to."""
        filters = {"type": ["container"], "container": [container], "event": ["kill", "oom"]}
        params = {"filters": filters, "since": f"{started:.3f}", "until": f"{time.time():.3f}"}
        with (
            contextlib.suppress(EngineError),
            self._engine.request("GET", "/events", params=params, stream=True) as response,
        ):
            for event in self._engine.lines(response):
                self._note(event)

    def _booted_at(self) -> float | None:
        if self._engine.endpoint.socket is None:
            return None
        with contextlib.suppress(OSError, ValueError, IndexError):
            return float(Path("/proc/stat").read_text().split("btime ")[1].split()[0])
        return None

    # -- heard ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def watching(self, on_change: OnChange) -> Iterator[None]:
        """While in the block, tell of changes of what was started or polled here."""
        self._on_change = on_change
        watch = Watch(self._engine, self._site.owner, self._event, self._relist)
        try:
            yield
        finally:
            watch.close()
            self._on_change = None
            self._heard_since = None

    def _event(self, event: Mapping[str, Any]) -> None:
        self._note(event)
        actor = event.get("Actor") or {}
        labels = actor.get("Attributes") or {}
        container, attempt = str(actor.get("ID") or ""), str(labels.get(ATTEMPT_LABEL) or "")
        if not container or attempt not in self._followed:
            return
        action = str(event.get("Action") or "").split(":")[0]
        if action in ("die", "health_status", "pause", "unpause"):
            self._tell(attempt, container, labels, self._closely(container, attempt))
        elif action in ("destroy", "remove") and not self._marks.has(REFUSED, attempt):
            before = self._ended.get(container)
            self._tell(attempt, container, labels, before or gone(Circumstances(outside=9)))

    def _note(self, event: Mapping[str, Any]) -> None:
        """Remember what an end will be explained with."""
        actor = event.get("Actor") or {}
        container = str(actor.get("ID") or "")
        action = str(event.get("Action") or "")
        with self._lock:
            if action == "oom":
                _put(self._oom, container, True)
            elif action == "kill":
                # Podman does not say by which; a run that kills itself is no event.
                text = str((actor.get("Attributes") or {}).get("signal") or 9)
                number = int(text) if text.isdigit() else 0
                if number in STOPPING:
                    _put(self._kills, container, (number, float(event.get("timeNano") or 0) / 1e9))

    def _tell(self, attempt: str, container: str, labels: Mapping[str, str], status: RunStatus) -> None:
        with self._lock:
            if attempt not in self._followed or self._followed[attempt] == status:
                return
            self._followed[attempt] = status
            tell = self._on_change
        if tell is not None and status.phase is not Phase.UNKNOWN:
            data = {"id": container, "tty": labels.get(TTY_LABEL) == "1"}
            tell(RunHandle(runner="docker", attempt_id=attempt, data=data), status)

    def _relist(self, missed: bool) -> None:
        """The stream has just been opened: what happened before that."""
        if missed:
            self._heard_since = time.time()
        listed = self._list_owned()
        with self._lock:
            followed = dict(self._followed)
        there = set()
        for each in listed:
            labels = each.get("Labels") or {}
            attempt = str(labels.get(ATTEMPT_LABEL) or "")
            there.add(attempt)
            if each.get("State") == "running":
                self._keep_deadline(each, labels, attempt)
            elif attempt in followed and each.get("State") not in ("created", "removing"):
                container = str(each["Id"])
                self._tell(attempt, container, labels, self._closely(container, attempt))
        if self._images.prune_is_due():
            threading.Thread(target=self._prune, name="docker-prune", daemon=True).start()

    def _keep_deadline(self, each: Mapping[str, Any], labels: Mapping[str, str], attempt: str) -> None:
        """The engine has no deadlines: whoever sees a run that is far over its own stops it."""
        limit = run_seconds(labels)
        if limit is None or time.time() - float(each.get("Created") or 0) < limit + SLACK:
            return
        with contextlib.suppress(EngineError):
            started = moment(self._engine.get(f"/containers/{each['Id']}/json")["State"].get("StartedAt"))
            if started is not None and time.time() - started > limit + SLACK:
                self._cancel(
                    RunHandle(runner="docker", attempt_id=attempt, data={"id": str(each["Id"])}), 10.0
                )

    def _prune(self) -> None:
        with contextlib.suppress(EngineAway, EngineError):
            self._images.prune()


def _put(table: collections.OrderedDict[str, Any], key: str, value: Any) -> None:
    table[key] = value
    while len(table) > REMEMBERED:
        table.popitem(last=False)

"""One image, built by one Job: ours, or one that somebody else has begun."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from typing import Any, Final

import attrs
from launch_k8s.clusters import POD_KIND
from launch_k8s.diagnosis import Observed
from launch_k8s.diagnosis import diagnose as read_status
from launch_k8s.names import RUN, label_value
from launch_k8s.pods import main_status

from launch_kaniko.board import Look
from launch_kaniko.cluster import BuildCluster, Thing, builds, is_held, stale
from launch_kaniko.diagnosis import Evidence, diagnose
from launch_kaniko.following import Following
from launch_kaniko.manifest import build_labels, manifests
from launch_kaniko.order import CONTAINER, Order
from launch_kaniko.progress import Progress
from launchcore.plugin import LaunchError, Phase, Reason, RunStatus, StageContext

PATIENCE: Final = 15.0
"""Seconds without news after which the cluster is asked past its watch."""
PENDING: Final = 3.0
"""Seconds between two looks at what waits: time passes without news. After them somebody asks why there is no
pod."""
SETTLED: Final = 5.0
"""Seconds within which a Job tells why its pod was stopped."""
REOPEN: Final = 1.0
"""Seconds between two tries to read a log."""
CONFIRM: Final = 1.0
"""Seconds after which a Job's end is believed although its pod has not told it."""
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@attrs.frozen(kw_only=True)
class Built:
    """``digest`` as the executor has written it; ``ours``: the Job was begun by this attempt."""

    digest: str | None
    ours: bool


class Gone(Exception):
    """The Job has gone, and had no result for us: look whether the image is there, and begin again."""


class Building:
    """One wait for one image."""

    def __init__(
        self,
        cluster: BuildCluster,
        order: Order,
        context: StageContext,
        *,
        store: str,
        there: Callable[[], str | None],
    ) -> None:
        """:param store: where the context is, for people.
        :param there: the digest of the image, if the registry has it.
        """
        self._cluster = cluster
        self._order = order
        self._store = store
        self._context = context
        self._there = there
        self._progress = Progress()
        self._told: str | None = None
        self._stopped = False
        self._log: Following | None = None
        self._log_over = False

    def run(self) -> Built:
        """Build it, or wait for who does; nothing of ours is left, whatever happens.

        :raises LaunchError: the build failed, or the cluster cannot be asked.
        :raises Gone: see there.
        """
        with self._cluster.board.open():
            job, ours = self._job()
            try:
                with self._context.on_cancel(self._stop):
                    status, look = self._wait(job)
                digest = self._result(status, look)
            except Gone:
                raise
            except BaseException:
                if ours:
                    with contextlib.suppress(LaunchError):  # the core calls cleanup, which says what is wrong
                        self._cluster.remove(job, verify=True)
                raise
            self._cluster.remove(job)
            return Built(digest=digest, ours=ours)

    # -- the Job ---------------------------------------------------------------------------------

    def _job(self) -> tuple[Thing, bool]:
        """The Job, let go, and whether this attempt began it."""
        manifest, secret = manifests(self._order)
        while True:
            self._context.check()
            made = self._cluster.create(manifest)
            if made is not None:
                try:
                    self._context.check()
                    self._not_there()
                    if self._cluster.release(made, secret):
                        self._context.log(f"the Job {self._order.job} builds it")
                        return made, True
                except BaseException:
                    with contextlib.suppress(LaunchError):
                        self._cluster.remove(made, verify=True)
                    raise
                continue
            found = self._cluster.find(self._order.job)
            if found is not None and (job := self._join(found, secret)) is not None:
                return job

    def _not_there(self) -> None:
        """:raises Gone: somebody has built it and cleaned up since we asked."""
        if self._there() is not None:
            raise Gone

    def _join(self, job: Thing, secret: Thing) -> tuple[Thing, bool] | None:
        """A Job that is there already; ``None``: it is in the way no longer."""
        name = job["metadata"]["name"]
        if not builds(job, self._order.name):
            raise LaunchError(
                f"a Job called {name} is there, and it does not build {self._order.name}",
                hint=f"see what it is, and remove it: `kubectl get jobs {name}`",
            )
        if job["metadata"].get("deletionTimestamp"):
            self._await(lambda: not self._cluster.still_there(name, job["metadata"]["uid"]))
            return None
        if _finished(job):
            # Just now, or left by who has died, or of an image that has been removed from the registry since.
            self._cluster.remove(job)
            raise Gone
        if stale(job):
            self._cluster.remove(job, verify=True)
            return None
        mine = build_labels(self._order)
        ours = job["metadata"]["labels"].get(RUN) == mine[RUN] == label_value(self._order.run_id)
        if ours:
            self._cluster.adopt(job, self._order.attempt_id)
        if is_held(job) and not self._cluster.release(job, secret):
            return None
        self._context.log(f"the Job {name} builds it already: waiting for it")
        return job, ours

    def _await(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._context.check()
            time.sleep(0.2)

    # -- its end ---------------------------------------------------------------------------------

    def _wait(self, job: Thing) -> tuple[RunStatus, Look]:
        board, name, uid = self._cluster.board, job["metadata"]["name"], job["metadata"]["uid"]
        pending_since, heard = time.monotonic(), time.monotonic()
        look = board.look(uid)
        while True:
            self._context.check()
            status = self._status(look, job, time.monotonic() - pending_since)
            if _taken_away(status, look):
                raise Gone
            if status.phase.final:
                status, look = self._confirmed(status, look, job)
                self._rest(look)
                if status.phase is Phase.FAILED and self._progress.last is None:
                    status, look = self._settled(look, job)
                return status, look
            self._tell(status)
            if self._follow(look):
                heard = time.monotonic()
            before = look
            pause = REOPEN if self._reading(look) else PENDING
            board.wait(pause, lambda seen=before: self._stopped or board.look(uid) != seen)  # type: ignore[misc]
            look = board.look(uid)
            if look != before:
                heard = time.monotonic()
            elif time.monotonic() - heard > PATIENCE:
                heard = time.monotonic()
                if not self._cluster.still_there(name, uid):
                    board.lost(uid)
                    look = board.look(uid)

    def _confirmed(self, status: RunStatus, look: Look, job: Thing) -> tuple[RunStatus, Look]:
        """The two watches are not in step: an end that no container has told is looked at once more."""
        for pause in (0.0, CONFIRM):
            if _terminated(look) is not None or look.deleted:
                break
            time.sleep(pause)
            pods = self._cluster.pods(job["metadata"]["name"], job["metadata"]["uid"])
            look = attrs.evolve(look, pods=pods or look.pods)
            status = self._status(look, job, 0.0)
        return status, look

    def _settled(self, look: Look, job: Thing) -> tuple[RunStatus, Look]:
        """The executor has ended without a word: somebody has stopped it, and the Job will say who.

        It ends with any exit code when it is asked to stop.

        :raises Gone: the Job is being removed, or has been.
        """
        until = time.monotonic() + SETTLED
        while look.job is None or not _finished(look.job):
            found = self._cluster.find(job["metadata"]["name"])
            if found is None or found["metadata"]["uid"] != job["metadata"]["uid"]:
                raise Gone
            look = attrs.evolve(look, job=found)
            if not _finished(found) and found["metadata"].get("deletionTimestamp"):
                raise Gone
            if time.monotonic() > until:
                break
            self._context.check()
            time.sleep(0.2)
        return self._status(look, job, 0.0), look

    def _status(self, look: Look, job: Thing, waited: float) -> RunStatus:
        events = self._cluster.events(job["metadata"]["uid"]) if not look.pods and waited > PENDING else ()
        main = look.job or job
        observed = Observed(
            main=None
            if look.deleted and not _finished(main)
            else {**main, "kind": "Job", "apiVersion": "batch/v1"},
            pods=look.pods,
            events=events,
            deleted=look.deleted,
            at=time.time(),
            main_container=CONTAINER,
        )
        return read_status(observed)

    def _result(self, status: RunStatus, look: Look) -> str | None:
        if status.phase is Phase.SUCCEEDED:
            ended = _terminated(look)
            found = _DIGEST.search(str((ended or {}).get("message") or ""))
            return found[0] if found else None
        raise diagnose(
            Evidence(
                progress=self._progress,
                failure=status.failure,
                exit_code=status.exit_code,
                store=self._store,
                image=self._order.name,
                deadline_seconds=self._order.settings.deadline_seconds,
            )
        )

    # -- its log ---------------------------------------------------------------------------------

    def _reading(self, look: Look) -> bool:
        return not self._log_over and _started(look) is not None

    def _follow(self, look: Look) -> bool:
        """Read the log to the end of its stream. False: there is none now."""
        if not self._reading(look):
            return False
        self._open(look).read(follow=True)
        self._log_over = _terminated(look) is not None
        return True

    def _rest(self, look: Look) -> None:
        """What the streams have left out, when the build is over: tried a few times, never insisted upon."""
        if _started(look) is None or look.deleted:
            return
        for _ in range(3):
            if self._open(look).read(follow=False):
                return
            time.sleep(REOPEN)

    def _open(self, look: Look) -> Following:
        if self._log is None:
            pod = str(_started(look))
            path = self._cluster.path(POD_KIND, pod, "/log")
            self._log = Following(self._cluster.api, path, CONTAINER, self._write)
            if self._stopped:
                self._log.stop()
        return self._log

    def _write(self, line: str) -> None:
        said = self._progress.read(line)
        if said is not None:
            self._context.log(said)

    def _tell(self, status: RunStatus) -> None:
        if status.message and status.message != self._told:
            self._told = status.message
            self._context.log(f"the build waits: {status.message}")

    def _stop(self) -> None:
        self._stopped = True
        if self._log is not None:
            self._log.stop()
        self._cluster.board.wake()


def _taken_away(status: RunStatus, look: Look) -> bool:
    """Somebody removes the Job before it has a result, or has done so."""
    if status.phase is Phase.GONE or (look.deleted and not status.phase.final):
        return True
    leaving = ((look.job or {}).get("metadata") or {}).get("deletionTimestamp") and not _finished(look.job)
    reason = status.failure.reason if status.failure else None
    return bool(leaving) and reason in (Reason.INFRASTRUCTURE, Reason.LOST)


def _finished(job: Any) -> bool:
    conditions = ((job or {}).get("status") or {}).get("conditions") or ()
    return any(
        each.get("type") in ("Complete", "Failed") and each.get("status") == "True" for each in conditions
    )


def _pod(look: Look) -> Any:
    return next(iter(sorted(look.pods, key=lambda pod: str(pod["metadata"]["name"]))), None)


def _started(look: Look) -> str | None:
    """The name of the pod whose executor has been started."""
    pod = _pod(look)
    state = ((main_status(pod, CONTAINER) or {}).get("state") or {}) if pod else {}
    return str(pod["metadata"]["name"]) if "running" in state or "terminated" in state else None


def _terminated(look: Look) -> Any:
    pod = _pod(look)
    state = ((main_status(pod, CONTAINER) or {}).get("state") or {}) if pod else {}
    return state.get("terminated")

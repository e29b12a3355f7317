"""The keeper's parent, which notes how runs end while there is no keeper. Standard library only."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from launchcore.builtin.process import procfs
from launchcore.builtin.process.records import Place, Wait, all_places

LONGEST_PAUSE = 5.0
"""Seconds before a keeper that keeps ending is started yet again."""
CALM_SECONDS = 30.0
"""A keeper that lived this long has made good for those before it."""


def usage_of(used: object) -> dict[str, float]:
    """From getrusage(2): the memory of the largest process, and the processor time of all of them."""
    return {
        "max_memory_bytes": float(used.ru_maxrss * 1024),  # type: ignore[attr-defined]
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 3),  # type: ignore[attr-defined]
    }


class Nanny:
    """``fork_keeper(tell)`` makes the keeper, as a child of this process."""

    def __init__(self, root: Path, fork_keeper: Callable[[int], int]) -> None:
        self._root = root
        self._fork_keeper = fork_keeper
        self._keeper = 0
        self._crashes = 0
        self._started_at = 0.0
        self._start_at: float | None = None
        self._places: dict[tuple[int, int], Place] = {}

    def start(self, tell: int = -1) -> None:
        """``tell``: where the first keeper says that it is ready."""
        self._start_at, self._started_at = None, time.monotonic()
        self._keeper = self._fork_keeper(tell)
        self._places = {}

    def watch(self) -> None:
        """Until there is no child any more: neither keeper nor run."""
        # Blocked, it can be waited for with a time limit. Keepers, which are forked from here, unblock it.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            except ChildProcessError:
                return
            if ended is None:
                self._wait_for_child()
            elif ended.si_pid == self._keeper:
                self._keeper_ended()
            else:
                self._note(ended.si_pid)

    def _wait_for_child(self) -> None:
        if self._start_at is None:
            signal.sigwait([signal.SIGCHLD])
            return
        left = self._start_at - time.monotonic()
        if left <= 0:
            self.start()
        else:
            signal.sigtimedwait([signal.SIGCHLD], left)

    def _keeper_ended(self) -> None:
        _, status = os.waitpid(self._keeper, 0)
        self._keeper = 0
        # 0: it had nothing more to do; an exit status of its own: it cannot work, or another one does.
        # Only a violent end leaves runs without a keeper that would have kept them.
        if not os.WIFSIGNALED(status) or not procfs.children(os.getpid()):
            return
        now = time.monotonic()
        self._crashes = 1 if now - self._started_at > CALM_SECONDS else self._crashes + 1
        pause = 0.0 if self._crashes <= 3 else min(0.05 * 2.0**self._crashes, LONGEST_PAUSE)
        self._start_at = now + pause

    def _note(self, pid: int) -> None:
        """A run's first process, or what it left, has ended: look while it still has its number."""
        proc = procfs.look(pid)
        place = self._find(pid, proc.start) if proc is not None else None
        _, status, used = os.wait4(pid, 0)
        if place is not None:
            try:
                place.append(wait=Wait(status=status, finished_at=time.time(), usage=usage_of(used)))
            except OSError as problem:
                print(f"cannot note the end of {pid}: {problem}", flush=True)

    def _find(self, pid: int, start: int) -> Place | None:
        if not self._places:
            self._places = {
                (record["started"]["pid"], record["started"]["start"]): place
                for place, record in all_places(self._root)
                if record is not None and record["started"]["boot"] == procfs.boot_id()
            }
        return self._places.get((pid, start))

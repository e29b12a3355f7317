"""One attempt in the keeper's hands: from its process to its last record. Standard library only.

Its end has an order that everything else relies on: the first process ends; whatever it left behind
is asked to end, and forced; only then ``exit`` is written down, which means that
nothing of the attempt runs any more and that its log is complete.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

from launchcore.builtin.process import cgroups, oom, procfs, secret_files
from launchcore.builtin.process.loop import Loop, Timer
from launchcore.builtin.process.records import Exit, Place, Record, Wait

FIRST_LOOK, LAST_LOOK = 0.005, 1.0
"""Seconds between two looks at processes that are to end: shortest, and longest."""
GIVE_UP = 15.0
"""Seconds after forcing: what is there then hangs in the kernel and cannot be waited for."""
NANNY_SECONDS = 1.0
"""How long the nanny may take to write down how a process ended."""


class Ward(Protocol):
    """What a life needs of its keeper."""

    loop: Loop
    root: Path
    reapers: frozenset[int]
    kills_seen: int

    def strays(self) -> Collection[int]:
        """Children of the keeper that are no attempt's first process: what ended runs have left."""

    def ended(self, life: Life) -> None:
        """Its last record is written."""


class Life:
    """``child``: the process is the keeper's own child; otherwise an earlier keeper made it."""

    def __init__(self, ward: Ward, place: Place, record: Record, *, child: bool) -> None:
        self.place = place
        self.started = record["started"]
        self.child = child
        self.exit: Exit | None = record.get("exit")
        self.on_end: list[Callable[[], None]] = []
        self.peak_rss = 0
        self._ward = ward
        self._pidfd = -1
        self._deadline: Timer | None = None
        self._next: Timer | None = None
        self._stopped = record.get("stop")
        self._kill_at: float | None = None
        self._asked = False
        self._wait: Wait | None = None
        self._lost: str | None = None
        self._over_limit = self._stopped == "memory"
        self._pace = FIRST_LOOK

    @property
    def pid(self) -> int:
        return self.started["pid"]

    @property
    def running(self) -> bool:
        """The first process has not ended, as far as is known."""
        return self._wait is None and self._lost is None and self.exit is None

    # -- beginning -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Arm the deadline."""
        if self.started["run_seconds"] is not None:
            left = self.started["clock"] + self.started["run_seconds"] - time.monotonic()
            self._deadline = self._ward.loop.after(
                max(0.0, left), lambda: self.stop("timeout", self.started["grace"])
            )

    def adopt(self, tries: int = 5) -> None:
        """Watch a process that an earlier keeper has made, or find out how it ended."""
        if self.started["boot"] != procfs.boot_id():
            self._lose("the machine was restarted while it ran")
            return
        if not self.pid and not self._find_first():
            if tries > 0:
                self._ward.loop.after(0.02, lambda: self.adopt(tries - 1))
            else:
                self._lose("its keeper was killed while it was starting it: whether it ran is not known")
            return
        self.begin()
        self._watch()
        if self._stopped is not None:
            self.stop(self._stopped, self.started["grace"])

    def _watch(self) -> None:
        """Wait for the end of a process that is not the keeper's child."""
        proc = procfs.look(self.pid)
        if proc is None or proc.start != self.started["start"] or proc.dead:
            self._await_nanny()
            return
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except OSError:  # a kernel before 5.3, or just gone: look again
            self._ward.loop.after(0.2, self._watch)
            return
        self._ward.loop.watch(self._pidfd, self._await_nanny)

    def _find_first(self) -> bool:
        """The process of a keeper that was killed before it could write down the pid.

        The keeper's lock stays taken until the new process executes, so it carries its marks by now.
        """
        leaders = [proc for proc in procfs.snapshot().values() if proc.session == proc.pid and not proc.dead]
        marks = self.marks()
        found = [
            proc
            for proc in leaders
            if procfs.is_marked(proc.pid, marks) or procfs.writes_to(proc.pid, self.place.log)
        ]
        if not found:
            return False
        first = min(found, key=lambda proc: proc.start)
        self.started["pid"], self.started["start"] = first.pid, first.start
        with contextlib.suppress(OSError):
            self.place.append(pid=first.pid, start=first.start)
        return True

    def _await_nanny(self, until: float | None = None) -> None:
        """An adopted process has ended; the nanny, if there is one, writes down how."""
        self._close_pidfd()
        until = until or time.monotonic() + NANNY_SECONDS
        if "wait" in (record := self.place.read() or {}):
            self.first_ended(record["wait"])
        elif time.monotonic() < until:
            self._ward.loop.after(0.02, lambda: self._await_nanny(until))
        else:
            self._lose("its keeper was killed, and nobody saw how it ended")

    # -- stopping ------------------------------------------------------------------------------

    def stop(self, why: str, grace: float) -> None:
        """Ask it to end; force it after ``grace`` seconds. The first reason and the shortest grace count."""
        if self.exit is not None:
            return
        if self.running and self._stopped is None:
            self._stopped = why
            with contextlib.suppress(OSError):  # a full disk does not keep it alive
                self.place.append(stop=why)
        kill_at = time.monotonic() + grace
        if self._kill_at is not None and self._kill_at <= kill_at:
            return
        self._kill_at = kill_at
        if grace > 0 and not self._asked:
            self._ask()
        self._again(max(0.0, grace) if self.running else 0.0)

    def _ask(self) -> None:
        """SIGTERM to its process group; SIGCONT, since a stopped process would not hear it."""
        self._asked = True
        for number in (signal.SIGTERM, signal.SIGCONT):
            if self.child and self.running:  # not reaped yet, so the number is its own
                with contextlib.suppress(OSError):
                    os.killpg(self.pid, number)
            else:
                for proc in self._members():
                    if proc.group == self.pid or not self.running:
                        procfs.send(proc, number)

    def _force(self) -> None:
        if self.child and self.running:
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
        for proc in self._members():
            procfs.send(proc, signal.SIGKILL)

    def _again(self, seconds: float) -> None:
        if self._next is not None:
            self._next.cancel()
        self._next = self._ward.loop.after(seconds, self._press)

    def _press(self) -> None:
        """What is to end has not ended yet."""
        self._next = None
        if self.exit is not None:
            return
        now = time.monotonic()
        if not self.running and not self._members():
            self._finish(0)
            return
        if self._kill_at is not None and now >= self._kill_at:
            self._force()
            if now >= self._kill_at + GIVE_UP and not self.running:
                self._finish(len(self._members()))
                return
        self._pace = min(self._pace * 2, LAST_LOOK)
        self._again(self._pace)

    def _members(self) -> list[procfs.Proc]:
        if self.started["boot"] != procfs.boot_id():
            return []
        return procfs.members(self.pid, self.started["start"], self.marks(), reapers=self._ward.reapers)

    def marks(self) -> tuple[bytes, bytes]:
        return (
            procfs.mark(procfs.ATTEMPT_MARK, self.started["attempt"]),
            procfs.mark(procfs.KEEPER_MARK, str(self._ward.root)),
        )

    # -- memory --------------------------------------------------------------------------------

    def check_memory(self, procs: dict[int, procfs.Proc]) -> None:
        """Where there is no group to do it: end a run whose processes together hold too much memory."""
        limit = self.started["memory_bytes"]
        if limit is None or not self.running:
            return
        found = procfs.members(
            self.pid, self.started["start"], self.marks(), reapers=self._ward.reapers, procs=procs
        )
        used = sum(proc.rss_bytes for proc in found)
        if used > limit:  # shared pages count more than once in it: look closer before killing
            used = sum(procfs.proportional_bytes(proc) for proc in found)
        self.peak_rss = max(self.peak_rss, used)
        if used > limit:
            self._over_limit = True
            self.stop("memory", 0.0)

    # -- ending --------------------------------------------------------------------------------

    def first_ended(self, wait: Wait) -> None:
        """Its first process has ended, and has been reaped."""
        if not self.running:
            return
        self._wait = wait
        self._end_rest()

    def _lose(self, why: str) -> None:
        self._close_pidfd()
        self._lost = why
        self._end_rest()

    def _end_rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if not self._left_something() or not self._members():
            self._finish(0)
            return
        limit = time.monotonic() + self.started["grace"]
        self._kill_at = limit if self._kill_at is None else min(limit, self._kill_at)
        if time.monotonic() < self._kill_at:
            self._ask()
        self._again(0.0 if time.monotonic() >= self._kill_at else 0.01)

    def _left_something(self) -> bool:
        """False only if that is certain; cheap, since it is asked at the end of every run.

        The keeper is the reaper of its children's orphans: what a run leaves has become its child.
        """
        if not self.child:
            return True
        attempts = [
            procfs.value_of(procfs.environment(pid), procfs.ATTEMPT_MARK) for pid in self._ward.strays()
        ]
        return any(found is None or found == self.started["attempt"] for found in attempts)

    def _finish(self, leftovers: int) -> None:
        if self._next is not None:
            self._next.cancel()
        status = self._wait["status"] if self._wait else 0
        number = os.WTERMSIG(status) if self._wait and os.WIFSIGNALED(status) else None
        usage = dict(self._wait["usage"]) if self._wait else {}
        if self.peak_rss:
            usage["max_memory_bytes"] = max(self.peak_rss, usage.get("max_memory_bytes", 0.0))
        code = os.waitstatus_to_exitcode(status) if self._wait and number is None else None
        self.exit = Exit(
            exit_code=code,
            signal=number,
            lost=self._lost,
            stopped=self._stopped,
            oom=self._out_of_memory(number) if code != 0 else None,
            finished_at=self._wait["finished_at"] if self._wait else time.time(),
            usage=usage,
            leftovers=leftovers,
        )
        if self.started["secrets"]:
            secret_files.remove(Path(self.started["secrets"]))
        self._remove_group()
        self._record()
        self._ward.ended(self)
        waiting, self.on_end = self.on_end, []
        for call in waiting:
            call()

    def _out_of_memory(self, number: int | None) -> str | None:
        if self._over_limit or (
            self.started["cgroup"] and cgroups.oom_kills(Path(self.started["cgroup"])) > 0
        ):
            return "limit"
        if number != signal.SIGKILL or self._stopped is not None:
            return None
        before, now = self._ward.kills_seen, oom.kill_count()
        self._ward.kills_seen = now
        if now == before and self.child:
            return None
        named = oom.was_named(self.pid, self.started["clock"])
        return "machine" if named or (named is None and now > before) else None

    def _record(self) -> None:
        """Write the last record: again and again while the disk is full; the keeper knows it meanwhile."""
        if self.exit is None or not self.place.record.exists():
            return
        try:
            self.place.append(exit=self.exit)
        except OSError:
            self._ward.loop.after(1.0, self._record)

    def _remove_group(self) -> None:
        if self.started["cgroup"] and not cgroups.remove(Path(self.started["cgroup"])):
            self._ward.loop.after(0.2, self._remove_group)

    def _close_pidfd(self) -> None:
        if self._pidfd >= 0:
            self._ward.loop.forget(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

"""All attempts of a keeper, what runners ask of it, and when it may end. Standard library only."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from launchcore.builtin.process import cgroups, oom, procfs, secret_files
from launchcore.builtin.process.desk import Desk
from launchcore.builtin.process.life import Life
from launchcore.builtin.process.loop import Loop
from launchcore.builtin.process.nanny import usage_of
from launchcore.builtin.process.records import Place, Record, Started, Tombstones, Wait, all_places, safe_name
from launchcore.builtin.process.spawn import NotExecuted, spawn
from launchcore.builtin.process.wire import Order

SAMPLE_SECONDS = 0.2
"""How often memory is looked at, for limits that no control group enforces."""
CHORES_SECONDS = 10.0
FIRST_CLIENT_SECONDS = 5.0
"""How long whoever wanted a keeper may take to come."""

Answer = Callable[[dict[str, Any]], None]


class Station:
    """Implements :class:`launchcore.builtin.process.life.Ward`."""

    def __init__(self, root: Path, *, idle: float) -> None:
        self.root = root
        self.loop = Loop(self._children_ended)
        self.reapers = frozenset({os.getpid(), os.getppid()}) - {1}
        self.kills_seen = oom.kill_count()
        self._idle = idle
        self._busy_until = time.monotonic() + max(idle, FIRST_CLIENT_SECONDS)
        self._lives: dict[str, Life] = {}
        self._by_pid: dict[int, Life] = {}
        self._sampled: set[str] = set()
        self._tombstones = Tombstones(root)
        self._home = cgroups.find_home()
        self._desk = Desk(self.loop, root, self._answer)

    def load(self) -> None:
        """Take over what earlier keepers have left."""
        (self.root / "attempts").mkdir(exist_ok=True, mode=0o700)
        for place, record in all_places(self.root):
            if record is None:
                # Its first line was never whole, so nothing was made: it comes before the process.
                place.remove()
                continue
            life = Life(self, place, record, child=False)
            self._lives[life.started["attempt"]] = life
            if life.exit is None:
                self.loop.guard(life.adopt)
                self._sample(life)
        live = {name for name, life in self._lives.items() if life.exit is None}
        secret_files.sweep(self.root, live)
        if self._home is not None:
            cgroups.sweep(self._home, secret_files.prefix(self.root), {safe_name(name) for name in live})
        self._chores()

    # -- what runners ask ----------------------------------------------------------------------

    def _answer(self, request: dict[str, Any], answer: Answer) -> None:
        """One request. ``answer`` may be called later, and is called once."""
        self._busy_until = time.monotonic() + self._idle
        op = request.get("op")
        if op == "start":
            answer(self._start(request["order"]))
        elif op == "status":
            found = {name: self._lives.get(name) for name in request["attempts"]}
            answer({"found": {name: self._describe(life) for name, life in found.items() if life}})
        elif op == "find":
            answer(self._find(request["attempt"]))
        elif op == "cancel":
            if life := self._lives.get(request["attempt"]):
                life.stop("cancelled", float(request["grace"]))
            answer({"ok": True})
        elif op == "cleanup":
            self._cleanup(request["attempt"], answer)
        elif op == "watch":
            events = [self._event(life) for life in self._lives.values()]
            answer({"events": events})
        else:
            answer({"error": "unknown", "detail": f"no such request: {op}"})

    def _start(self, order: Order) -> dict[str, Any]:
        attempt = order["attempt"]
        if life := self._lives.get(attempt):
            return {"started": life.started}
        if self._tombstones.has(attempt):
            return {"error": "refused", "detail": "this attempt was given up, or is cleaned up already"}
        if order["start_before"] is not None and time.time() >= order["start_before"]:
            return {"error": "late", "detail": "the time until which it might be started is over"}
        place = Place(self.root, attempt)
        started = self._record_of(order)
        try:
            self._make(order, place, started)
        except NotExecuted as problem:
            self._undo(place, started)
            return {
                "error": "not_executed",
                "step": problem.step,
                "program": problem.program,
                "errno": problem.number,
                "detail": str(problem),
            }
        except ValueError as problem:  # a zero byte among the arguments
            self._undo(place, started)
            return {"error": "unusable", "detail": str(problem)}
        except OSError as problem:
            self._undo(place, started)
            return {"error": "failed", "detail": str(problem)}
        life = Life(self, place, Record(started=started), child=True)
        self._lives[attempt] = life
        self._by_pid[life.pid] = life
        life.begin()
        self._sample(life)
        return {"started": started}

    def _record_of(self, order: Order) -> Started:
        return Started(
            attempt=order["attempt"],
            run=order["run"],
            queue=order["queue"],
            owner=order["owner"],
            pid=0,
            start=0,
            boot=procfs.boot_id(),
            argv=order["argv"],
            cwd=order["cwd"],
            labels=order["labels"],
            started_at=time.time(),
            clock=time.monotonic(),
            run_seconds=order["run_seconds"],
            memory_bytes=order["memory_bytes"],
            grace=order["grace"],
            cgroup=None,
            secrets=None,
        )

    def _enter_group(self, order: Order) -> str | None:
        """Make a group with the order's memory limit and move into it, for the moment of the start."""
        if order["memory_bytes"] is None or self._home is None or not order["cgroups"]:
            return None
        name = secret_files.prefix(self.root) + safe_name(order["attempt"])
        made = cgroups.create(self._home, name, order["memory_bytes"])
        if made is None:
            return None
        try:
            cgroups.enter(made)
        except OSError:
            cgroups.remove(made)
            return None
        return str(made)

    def _make(self, order: Order, place: Place, started: Started) -> None:
        """Make the process, and complete its record.

        :raises NotExecuted, OSError, ValueError: nothing runs.
        """
        env = order["env"]
        if order["files"]:
            folder, paths = secret_files.write(
                self.root, order["attempt"], order["files"], Path(order["scratch"])
            )
            started["secrets"] = str(folder)
            env = {**env, **paths}
        started["cgroup"] = self._enter_group(order)
        try:
            place.begin(started)
            pid = spawn(order["argv"], env, order["cwd"], place.log, nice=order["nice"])
        finally:
            if started["cgroup"] and self._home:
                cgroups.enter(self._home.own)
        proc = procfs.look(pid)
        started["pid"], started["start"] = pid, proc.start if proc else 0
        place.append(pid=started["pid"], start=started["start"])

    def _undo(self, place: Place, started: Started) -> None:
        if started["pid"]:  # its record could not be completed: what nobody could find must not run
            with contextlib.suppress(OSError):
                os.killpg(started["pid"], 9)
        if started["secrets"]:
            secret_files.remove(Path(started["secrets"]))
        if started["cgroup"]:
            cgroups.remove(Path(started["cgroup"]))
        place.remove()

    def _find(self, attempt: str) -> dict[str, Any]:
        if life := self._lives.get(attempt):
            return {"started": life.started}
        try:
            self._tombstones.add(attempt)
        except OSError as problem:
            return {"error": "failed", "detail": str(problem)}
        return {"started": None}

    def _cleanup(self, attempt: str, answer: Answer) -> None:
        life = self._lives.get(attempt)
        if life is None:
            self._kill_unrecorded(attempt)
            with contextlib.suppress(OSError):
                self._tombstones.add(attempt)
            answer({"ok": True})
        elif life.exit is None:
            life.on_end.append(lambda: self._remove(life, answer))
            life.stop("cleanup", 0.0)
        else:
            self._remove(life, answer)

    def _remove(self, life: Life, answer: Answer) -> None:
        with contextlib.suppress(OSError):
            self._tombstones.add(life.started["attempt"])
        self._lives.pop(life.started["attempt"], None)
        life.place.remove()
        answer({"ok": True})

    def _kill_unrecorded(self, attempt: str) -> None:
        """Somebody deleted the records of a running attempt; its marks are still there."""
        marks = (
            procfs.mark(procfs.ATTEMPT_MARK, attempt),
            procfs.mark(procfs.KEEPER_MARK, str(self.root)),
        )
        for _ in range(3):
            found = procfs.members(0, 0, marks)
            for proc in found:
                procfs.send(proc, 9)
            if not found:
                break

    def _describe(self, life: Life) -> dict[str, Any]:
        return {"started": life.started, "exit": life.exit}

    def _event(self, life: Life) -> dict[str, Any]:
        return {"attempt": life.started["attempt"], **self._describe(life)}

    # -- what happens by itself ----------------------------------------------------------------

    def strays(self) -> Collection[int]:
        return [pid for pid in procfs.children(os.getpid()) if pid not in self._by_pid]

    def ended(self, life: Life) -> None:
        self._sampled.discard(life.started["attempt"])
        self._busy_until = time.monotonic() + self._idle
        self._desk.publish(self._event(life))

    def _children_ended(self) -> None:
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if life := self._by_pid.pop(pid, None):
                wait = Wait(status=status, finished_at=time.time(), usage=usage_of(used))
                self.loop.guard(lambda life=life, wait=wait: life.first_ended(wait))  # type: ignore[misc]

    def _sample(self, life: Life) -> None:
        if life.started["memory_bytes"] is None or life.started["cgroup"]:
            return
        if not self._sampled:
            self.loop.after(SAMPLE_SECONDS, self._look_at_memory)
        self._sampled.add(life.started["attempt"])

    def _look_at_memory(self) -> None:
        if not self._sampled:
            return
        procs = procfs.snapshot()
        for name in list(self._sampled):
            if life := self._lives.get(name):
                self.loop.guard(lambda life=life: life.check_memory(procs))  # type: ignore[misc]
            else:
                self._sampled.discard(name)
        self.loop.after(SAMPLE_SECONDS, self._look_at_memory)

    def _chores(self) -> None:
        self._tombstones.prune()
        live = any(life.exit is None for life in self._lives.values())
        if live:
            self.kills_seen = oom.kill_count()
        if not (self.root / "keeper.sock").is_socket():
            if self.root.is_dir():
                self._desk.open_again()
            elif not live:  # the directory was deleted, and with it everybody who could want anything
                self.loop.stop()
                return
        if not live and not self._desk.busy and time.monotonic() >= self._busy_until:
            self.loop.stop()
            return
        self.loop.after(min(CHORES_SECONDS, max(self._idle, 0.05)), self._chores)

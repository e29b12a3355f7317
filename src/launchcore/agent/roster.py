"""All attempts in this agent's hands, and how many more it may take."""

from __future__ import annotations

import threading

from launchcore.agent.attempt import Attempt
from launchcore.plugin import RunState


class Roster:
    """Thread-safe. A slot is taken while an attempt is here: from its claim to its cleanup."""

    def __init__(self, *, max_jobs: int, stage_workers: int) -> None:
        self._attempts: dict[str, Attempt] = {}
        self._preparing: set[str] = set()
        self._postponed: set[str] = set()
        self._max_jobs = max_jobs
        self._stage_workers = stage_workers
        self._changed = threading.Condition()
        self._closed = False

    def add(self, attempt: Attempt, *, preparing: bool) -> bool:
        """False when it is here already (an answer that came twice)."""
        with self._changed:
            if attempt.id in self._attempts:
                return False
            self._attempts[attempt.id] = attempt
            if preparing:
                self._preparing.add(attempt.id)
            return True

    def prepared(self, attempt: Attempt) -> None:
        """It no longer takes one of the stage workers."""
        with self._changed:
            if self._attempts.get(attempt.id) is attempt:
                self._preparing.discard(attempt.id)
                self._changed.notify_all()

    def postpone(self, attempt: Attempt) -> None:
        """It is not prepared yet, and takes no stage worker until :meth:`resume`."""
        with self._changed:
            if self._attempts.get(attempt.id) is attempt:
                self._preparing.discard(attempt.id)
                self._postponed.add(attempt.id)
                self._changed.notify_all()

    def resume(self, attempt: Attempt) -> bool:
        """Give it a stage worker again. False: there is none but the last, which is for newcomers."""
        with self._changed:
            if self._preparing and len(self._preparing) >= self._stage_workers - 1:
                return False
            if attempt.id in self._postponed:
                self._postponed.discard(attempt.id)
                self._preparing.add(attempt.id)
            return True

    def remove(self, attempt: Attempt) -> None:
        """This very one: another may have come in its place, under a new lease."""
        with self._changed:
            if self._attempts.get(attempt.id) is attempt:
                del self._attempts[attempt.id]
                self._preparing.discard(attempt.id)
                self._postponed.discard(attempt.id)
                self._changed.notify_all()

    def get(self, attempt_id: str) -> Attempt | None:
        return self._attempts.get(attempt_id)

    def all(self) -> list[Attempt]:
        with self._changed:
            return list(self._attempts.values())

    def preparing(self) -> list[Attempt]:
        """Those that have started nothing yet."""
        with self._changed:
            return [self._attempts[each] for each in (*self._preparing, *self._postponed)]

    def __len__(self) -> int:
        return len(self._attempts)

    def free(self) -> int:
        """How many runs may be claimed now."""
        workers = self._stage_workers - len(self._preparing)
        if self._max_jobs < 0:
            return max(workers, 0)
        return max(min(workers, self._max_jobs - len(self._attempts)), 0)

    def wait_free(self) -> int:
        """Wait for a free slot; 0 once closed."""
        with self._changed:
            while not self._closed and self.free() == 0:
                self._changed.wait()
            return 0 if self._closed else self.free()

    def wait_empty(self, timeout: float | None) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._attempts, timeout)

    def close(self) -> None:
        """No more claims."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def counts(self) -> dict[RunState, int]:
        found: dict[RunState, int] = {}
        for attempt in self.all():
            found[attempt.state] = found.get(attempt.state, 0) + 1
        return found

"""Who has which GPU on this machine: a record under a file lock, mended by what the engine shows.

A GPU is taken while a container carries it in its label, and for a short while before that. So a crash at any
point loses none for longer than that while.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

BEFORE_START = 120.0
"""Seconds that a GPU is kept for a run whose container is not there yet."""


class Gpus:
    """The GPUs that the agent's settings list."""

    def __init__(self, listed: Sequence[str], directory: Path) -> None:
        self.listed = tuple(dict.fromkeys(listed))
        self._directory = directory

    def take(
        self, attempt_id: str, count: int, in_use: Callable[[], Mapping[str, str]]
    ) -> tuple[str, ...] | None:
        """``count`` GPUs for an attempt, the same ones when it asks again; None: not enough are free.

        :param in_use: GPU → attempt of every container that has one; asked under the lock.
        """
        with self._locked() as record:
            used = dict(in_use())
            now = time.time()
            for gpu, holder in list(record.items()):
                fresh = now - float(holder["at"]) < BEFORE_START and _alive(int(holder["pid"]))
                if gpu not in used and not fresh:
                    del record[gpu]
            mine = [gpu for gpu in self.listed if used.get(gpu) == attempt_id]
            mine += [
                gpu
                for gpu in self.listed
                if gpu not in used and record.get(gpu, {}).get("attempt") == attempt_id
            ]
            free = [gpu for gpu in self.listed if gpu not in used and gpu not in record]
            chosen = tuple((mine + free)[:count])
            if len(chosen) < count:
                return None
            for gpu in chosen:
                record[gpu] = {"attempt": attempt_id, "at": now, "pid": os.getpid()}
            return chosen

    def release(self, attempt_id: str) -> None:
        """Idempotent."""
        if not (self._directory / "gpus.json").exists():
            return
        with self._locked() as record:
            for gpu in [gpu for gpu, holder in record.items() if holder["attempt"] == attempt_id]:
                del record[gpu]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[dict[str, dict[str, Any]]]:
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / "gpus.json"
        with (self._directory / "gpus.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                record = json.loads(path.read_text())
            except (OSError, ValueError):
                record = {}
            yield record
            new = path.with_suffix(".new")
            new.write_text(json.dumps(record))
            new.replace(path)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

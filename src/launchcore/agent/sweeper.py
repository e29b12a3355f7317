"""Removes what should not be there any more: objects and directories of attempts that have ended.

The safety net under everything else: an agent that died between the outcome and the cleanup, a start that
was late. Only what carries our owner label is looked at, and only what has *ended* is removed.
"""

from __future__ import annotations

import logging
import shutil
import threading
from pathlib import Path

from launchcore.agent.roster import Roster
from launchcore.plugin import LaunchError, QueueClient, QueueUnavailable, RunHandle, Runner
from launchcore.stages.workshop import Workshop

log = logging.getLogger("launchcore.agent")

EVERY = 300.0
SOON = 0.5
"""Seconds from a nudge to the sweep: one sweep for many nudges."""


class Sweeper:
    """One thread; sweeps at the start, every five minutes, and soon after a nudge."""

    def __init__(self, client: QueueClient, shop: Workshop, roster: Roster, attempts: Path) -> None:
        self._client = client
        self._shop = shop
        self._roster = roster
        self._attempts = attempts
        self._stopped = threading.Event()
        self._nudged = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def nudge(self) -> None:
        """Something may have been left: an earlier attempt of a run was lost, a runner came into use."""
        self._nudged.set()

    def close(self) -> None:
        self._stopped.set()
        self._nudged.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            try:
                self.sweep()
            except QueueUnavailable as error:
                log.info("no sweep now: %s", error)
            except Exception:
                log.exception("sweeping failed")
            self._nudged.wait(EVERY)
            if self._stopped.wait(SOON):
                return
            self._nudged.clear()

    def sweep(self) -> int:
        """:returns: how many objects and directories were removed."""
        removed = 0
        for component in self._shop.made_runners():
            removed += self._sweep_runner(component.object)
        folders = {path.name: path for path in self._attempts.iterdir()} if self._attempts.exists() else {}
        for attempt_id in self._ended(list(folders)):
            if self._sweep_builders(attempt_id):
                shutil.rmtree(folders[attempt_id], ignore_errors=True)
                removed += 1
        return removed

    def _sweep_builders(self, attempt_id: str) -> bool:
        """False: something may be left, and the attempt's directory stays as a reminder."""
        clean = True
        for builder in self._shop.known_builders():
            try:
                builder.object.cleanup(attempt_id)
            except LaunchError as error:
                log.info("%s: %s cannot clean up now: %s", attempt_id, builder.spec.name, error)
                clean = False
            except Exception:
                log.exception("%s: %s could not clean up", attempt_id, builder.spec.name)
        return clean

    def _sweep_runner(self, runner: Runner) -> int:
        try:
            found = runner.owned()
        except LaunchError as error:
            log.info("no sweep of a runner now: %s", error)
            return 0
        owned: dict[str, RunHandle] = {handle.attempt_id: handle for handle in found}
        removed = 0
        for attempt_id in self._ended(list(owned)):
            try:
                runner.cleanup(owned[attempt_id])
            except Exception:
                log.exception("%s: an orphan could not be removed", attempt_id)
                continue
            log.warning("%s: removed what its agent left behind", attempt_id)
            removed += 1
        return removed

    def _ended(self, attempt_ids: list[str]) -> list[str]:
        mine = [each for each in attempt_ids if self._roster.get(each) is None]
        return sorted(self._client.ended(mine)) if mine else []

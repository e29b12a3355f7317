"""One monitor, and a pool of closers, for each runner in use."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from launchcore.agent.closer import Closer
from launchcore.agent.monitor import Monitor
from launchcore.agent.pool import Pool
from launchcore.config.values import AgentConfig
from launchcore.stages.workshop import Workshop

CLOSERS: Final = 8
"""Threads that end the attempts of one runner, at most: one slow backend holds up no other."""
SOON: Final = 10.0
PATIENT: Final = 32
"""The same, of a runner whose logs may take more than ``SOON`` seconds to end: these threads mostly wait."""


class Monitors:
    """Thread-safe. ``came`` is called when a runner comes into use."""

    def __init__(
        self,
        shop: Workshop,
        closer: Closer,
        config: AgentConfig,
        *,
        known: Callable[[str], bool],
        came: Callable[[], None],
    ) -> None:
        self._shop = shop
        self._closer = closer
        self._config = config
        self._known = known
        self._came = came
        self._lock = threading.Lock()
        self._monitors: dict[str, Monitor] = {}
        self._closers: list[Pool] = []

    def of(self, runner: str) -> Monitor:
        """It must watch before the first start, or a short run's end could be missed."""
        component = self._shop.runner(runner)
        with self._lock:
            monitor = self._monitors.get(component.spec.name)
            if monitor is None:
                size = CLOSERS if component.spec.log_patience <= SOON else PATIENT
                closers = Pool(size, f"{component.spec.name}-closer")
                self._closers.append(closers)
                monitor = self._monitors[component.spec.name] = Monitor(
                    component,
                    self._closer,
                    closers,
                    self._known,
                    max_log_bytes=self._config.max_log_bytes,
                    log_spool_bytes=self._config.log_spool_bytes,
                )
                self._came()
            return monitor

    def all(self) -> list[Monitor]:
        with self._lock:
            return list(self._monitors.values())

    def nudge(self) -> None:
        """Something about an attempt has changed (a stop was requested, a lease was lost)."""
        for monitor in self.all():
            monitor.nudge()

    def ages(self, now: float) -> dict[str, float]:
        """Seconds since each runner that has something to follow was heard, and each of its watches."""
        return {
            name: age for monitor in self.all() if monitor.busy for name, age in monitor.ages(now).items()
        }

    def close(self) -> None:
        """Stop following; what runs goes on. Ends that are being written go on, too."""
        for monitor in self.all():
            monitor.close()

    def close_closers(self) -> None:
        """What has not begun is dropped."""
        for closers in self._closers:
            closers.close()

"""What time alone brings about: leases that nobody renews, retries that are due, deadlines.

Every server sweeps, every few seconds; each row is seen by one of them. So a queue that no agent claims
from is not forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launchcore.server.core import Core

log = logging.getLogger("launchcore.server")


class Sweeper:
    """Sweeps for as long as the server runs."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._running: asyncio.Future[None] | None = None

    def start(self) -> None:
        self._running = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    async def once(self) -> bool:
        """One sweep. False: the database was away; the next one makes up for it."""
        try:
            await self._core.call(self._core.sweep)
        except Exception as error:
            self._core.metrics.sweeps.labels("failed").inc()
            log.warning("a sweep of the queues failed: %s", error)
            return False
        self._core.metrics.sweeps.labels("done").inc()
        self._core.metrics.swept_at.set(time.time())
        return True

    async def _run(self) -> None:
        seconds = self._core.options.sweep_seconds
        while True:
            planned = time.monotonic() + seconds * random.uniform(0.8, 1.2)
            await asyncio.sleep(planned - time.monotonic())
            self._core.metrics.sweep_lag.set(max(0.0, time.monotonic() - planned))
            await self.once()

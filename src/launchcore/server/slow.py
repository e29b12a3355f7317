"""Whoever sends a request's head byte by byte, or connects and says nothing, is hung up on."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol


def patient(seconds: float) -> Any:
    """uvicorn's protocol, with so many seconds for a request to begin.

    Bodies and answers have limits of their own: the time runs only while no request is being answered.
    """
    base: Any = AutoHTTPProtocol

    class Patient(base):  # type: ignore[misc]
        """One connection."""

        _alarm: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._calm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._calm()
            super().connection_lost(exc)

        def _watch(self) -> None:
            if self.cycle is not None and not self.cycle.response_complete:
                self._calm()
            elif self._alarm is None:
                self._alarm = self.loop.call_later(seconds, self._hang_up)

        def _calm(self) -> None:
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None

        def _hang_up(self) -> None:
            self._alarm = None
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return Patient

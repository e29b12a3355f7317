"""Streams of the engine that a cancel must be able to end, from another thread."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from launchcore.plugin import StageContext

if TYPE_CHECKING:
    import requests


@contextlib.contextmanager
def stopping(context: StageContext, response: requests.Response) -> Iterator[None]:
    """While in the block, a cancel ends the answer: what reads it sees its end.

    The engine cancels a build or push whose connection has gone.
    """
    with context.on_cancel(lambda: cut(response)):
        yield


def cut(response: requests.Response) -> None:
    """End the connection, also for a thread that waits for it; closing alone would not wake it."""
    body: Any = response.raw
    with contextlib.suppress(Exception):
        connection: socket.socket = body._fp.fp.raw._sock  # noqa: SLF001
        connection.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(Exception):
        response.close()

"""Answers of the engine that are read as they come: closed by whoever reads them, ended by others."""

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
    """While in the block, a cancel ends the answer: what reads it sees its end. After it, it is closed.

    The engine cancels a build, push or pull whose connection has gone.
    """
    with response, context.on_cancel(lambda: cut(response)):
        yield


def cut(response: requests.Response) -> None:
    """End the connection, also for a thread that waits for it; closing would not wake it. Idempotent."""
    body: Any = response.raw
    with contextlib.suppress(Exception):
        connection: socket.socket = body._fp.fp.raw._sock  # noqa: SLF001
        connection.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(Exception):
        response.close()

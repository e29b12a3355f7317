"""The embedded queue, registered like any other queue client."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from launchcore.plugin import QueueClient, QueueSpec, hookimpl, setting


@attrs.frozen(kw_only=True)
class SqliteSettings:
    """How an agent uses the embedded queue."""

    lost_after_seconds: float = setting(
        "How long after its lease's end a run that nobody could adopt is given up.", default=600.0
    )
    busy_seconds: float = setting("How long to wait for another process's write.", default=5.0)


def _connect(url: str, settings: Any) -> QueueClient:
    from launchcore.queues.connect import open_client

    return open_client(url, lost_after=settings.lost_after_seconds, busy_seconds=settings.busy_seconds)


@hookimpl
def launch_register_queues() -> Iterable[QueueSpec]:
    yield QueueSpec(
        name="sqlite",
        summary="Queues in a file on this machine; needs no server.",
        schemes=("sqlite",),
        connect=_connect,
        settings=SqliteSettings,
        local=True,
    )
    yield QueueSpec(
        name="postgresql",
        summary="Queues in a PostgreSQL database, without the service before it.",
        schemes=("postgresql", "postgres"),
        connect=_connect,
        settings=SqliteSettings,
    )

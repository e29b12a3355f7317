"""Queue services that are reached over HTTP, registered like any other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from launchcore.plugin import QueueClient, QueueSpec, hookimpl
from launchcore.queues.http_settings import HttpSettings


def _connect(url: str, settings: Any) -> QueueClient:
    from launchcore.queues.http_client import HttpClient

    return HttpClient(url, settings)


@hookimpl
def launch_register_queues() -> Iterable[QueueSpec]:
    yield QueueSpec(
        name="http",
        summary="Queues of a service that several machines share.",
        schemes=("http", "https"),
        connect=_connect,
        settings=HttpSettings,
    )

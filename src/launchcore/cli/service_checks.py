"""What ``launch doctor`` looks at in a queue service that is reached over HTTP."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import TYPE_CHECKING

from launchcore.plugin import CheckResult, CheckVerdict

if TYPE_CHECKING:
    from launchcore.config.values import AgentConfig
    from launchcore.queues.wire import Identity

APART = 5.0
"""Seconds between our clock and the service's, from which times on the screen mislead."""


def service_answers(config: AgentConfig) -> CheckResult:
    """Whether the service is there, which version it has, and what our token lets us do."""
    from launchcore.config.door import queue_settings
    from launchcore.queues.http_service import HttpService
    from launchcore.queues.http_settings import HttpSettings

    service = HttpService(config.base_url, queue_settings(HttpSettings, "http", config))
    began = time.perf_counter()
    try:
        found = service.identity()
        took = time.perf_counter() - began
        count = len(service.list_queues())
    finally:
        service.close()
    return judge(found, config, queues=count, seconds=took, ours=version("launchcore"), now=time.time())


def judge(
    found: Identity, config: AgentConfig, *, queues: int, seconds: float, ours: str, now: float
) -> CheckResult:
    """Pure. A newer or an older service, a wrong clock, or a token that cannot do what is configured."""
    scopes = ", ".join(found.scopes) or "nothing"
    detail = (
        f"{config.base_url}: version {found.version or 'unknown'}, {queues} queues, answered in"
        f" {seconds * 1000:.0f} ms; we are {found.who or 'nobody'} and may {scopes}"
    )
    missing = [queue for queue in config.queues if not _serves(found.scopes, queue)]
    if missing:
        return CheckResult(
            verdict=CheckVerdict.WARNING,
            detail=f"{detail}; an agent with this token cannot serve {', '.join(missing[:5])}",
            hint=f"launch token create NAME --scope agent:{missing[0]}",
        )
    if found.version and _series(found.version) != _series(ours):
        return CheckResult(
            verdict=CheckVerdict.WARNING,
            detail=f"{detail}; launchcore here is {ours}",
            hint="use the same version on both sides",
        )
    if found.time is not None and abs(found.time - now) > APART:
        return CheckResult(
            verdict=CheckVerdict.WARNING,
            detail=f"{detail}; its clock is {abs(found.time - now):.0f} s apart from this machine's",
            hint="start NTP on both machines",
        )
    return CheckResult(verdict=CheckVerdict.OK, detail=detail)


def _serves(scopes: tuple[str, ...], queue: str) -> bool:
    return "agent:*" in scopes or f"agent:{queue}" in scopes


def _series(version: str) -> list[str]:
    """What has to be the same: ``0.1`` of ``0.1.7``."""
    return version.split(".")[:2]

"""The queue service that a command talks to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from launchcore.config.load import LoadedConfig
    from launchcore.config.values import AgentConfig
    from launchcore.host import Host
    from launchcore.queues.base import Service


def loaded_config(base_url: str | None, path: Path | None = None) -> LoadedConfig:
    """The configuration of whoever calls; ``base_url`` and ``path`` are the flags, if they were given."""
    from launchcore.config.load import load_config

    flags: dict[str, object] = {} if base_url is None else {"base_url": base_url}
    return load_config(path=path, environ=os.environ, flags=flags)


def host_of(config: AgentConfig) -> Host:
    """The plugins that a configuration lets in."""
    from launchcore.host import Host

    return Host.load(disabled=config.disabled_plugins, settings=config.plugins, extra=config.plugin_modules)


@contextlib.contextmanager
def service(base_url: str | None) -> Iterator[Service]:
    """The queue service at ``base_url``, or at the configured place."""
    found = open_configured(loaded_config(base_url).config)
    try:
        yield found
    finally:
        found.close()


def open_configured(config: AgentConfig) -> Service:
    """The user's side of the queue service that a configuration names."""
    from launchcore.queues.connect import is_http, open_service

    if not is_http(config.base_url):
        return open_service(config.base_url)
    from launchcore.config.door import queue_settings
    from launchcore.queues.http_settings import HttpSettings

    return open_service(config.base_url, queue_settings(HttpSettings, "http", config))

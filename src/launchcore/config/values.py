"""The agent's configuration, as one frozen value. Read once, in :mod:`launchcore.config.load`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from launchcore.plugin import Json, setting


@attrs.frozen(kw_only=True)
class SecretSource:
    """Where the value of a secret comes from: exactly one of these."""

    env: str | None = setting("The name of a variable in the agent's environment.", default=None)
    file: str | None = setting("The path of a file on the agent's machine.", default=None)


@attrs.frozen(kw_only=True)
class AgentConfig:
    """Everything that an agent is told."""

    base_url: str = setting("Where the queues live: sqlite:///PATH, or http(s)://HOST.")
    queues: tuple[str, ...] = setting("The queues to serve, in no order: all are served fairly.", default=())
    max_jobs: int = setting("How many runs at a time; -1 means no limit.", default=-1)
    name: str | None = setting("The agent's name; without one, the host's name, numbered.", default=None)
    environment: Mapping[str, Json] = setting(
        "The environment: `type` and its settings.", factory=lambda: {"type": "local"}
    )
    registry: Mapping[str, Json] = setting(
        "The registry: `type` and its settings.", factory=lambda: {"type": "local"}
    )
    builder: Mapping[str, Json] = setting(
        "The builder: `type` and its settings.", factory=lambda: {"type": "none"}
    )
    plugins: Mapping[str, Mapping[str, Json]] = setting(
        "Settings of sources and runners, by name.", factory=dict
    )
    disabled_plugins: tuple[str, ...] = setting("Plugins that are not to be loaded.", default=())
    secrets: Mapping[str, SecretSource] = setting("Secrets that runs may ask for by name.", factory=dict)
    lease_seconds: float = setting("How long a lease lasts without renewal.", default=30.0)
    stage_workers: int = setting("How many runs may be prepared at the same time.", default=16)
    drain_seconds: float = setting(
        "On SIGTERM, how long to wait for running runs (0: leave them to be adopted, -1: no limit).",
        default=0.0,
    )
    max_log_bytes: int = setting(
        "How much of one attempt's output is stored; the rest is cut with a mark.", default=256 * 1024 * 1024
    )
    state_dir: Path = setting("Where the agent keeps what survives its restart.")
    cache_dir: Path = setting("What may be deleted at any time.")

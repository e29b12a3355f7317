"""The agent's configuration, as one frozen value. Read once, in :mod:`launchcore.config.load`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from launchcore.config.address import address
from launchcore.plugin import Json, Secret, setting

Validator = Callable[[Any, Any, Any], None]

_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_LOGIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/@]*:[^/@]*@")


def _that(holds: Callable[[Any], bool], message: str) -> Validator:
    """A validator with one sentence for its error."""

    def validate(_instance: Any, _attribute: Any, value: Any) -> None:
        if not holds(value):
            raise ValueError(message)

    return validate


def _base_url(_instance: Any, _attribute: Any, value: str) -> None:
    if not value.isprintable() or " " in value or "://" not in value:
        raise ValueError("not a URL: sqlite:///PATH, or http(s)://HOST")
    if _LOGIN.match(value):  # the value is not repeated: it holds the password
        raise ValueError("a password in it would show in logs and listings; leave it out")


def _queues(_instance: Any, _attribute: Any, value: tuple[str, ...]) -> None:
    if wrong := [name for name in value if not _LABEL.fullmatch(name)]:
        raise ValueError(f"{wrong[0]!r:.80} cannot be a queue's name (letters, digits, '.', '_' and '-')")
    if twice := sorted({name for name in value if value.count(name) > 1}):
        raise ValueError(f"{twice[0]!r} is named twice")


def _address(_instance: Any, _attribute: Any, value: str | None) -> None:
    if value is not None:
        address(value)


def _endpoint(_instance: Any, _attribute: Any, value: str | None) -> None:
    if value is not None and not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", value):
        raise ValueError("not a URL of a collector, like http://localhost:4318/v1/traces")


def _secrets(_instance: Any, _attribute: Any, value: Mapping[str, Any]) -> None:
    if wrong := [name for name in value if not _VARIABLE.fullmatch(name)]:
        raise ValueError(f"{wrong[0]!r:.80} cannot be a secret's name (letters, digits and _)")


def _variable(_instance: Any, _attribute: Any, value: str | None) -> None:
    # The value is not repeated: it may be the secret itself, in the wrong place.
    if value is not None and not _VARIABLE.fullmatch(value):
        raise ValueError("not the name of a variable (letters, digits and _)")


@attrs.frozen(kw_only=True)
class SecretSource:
    """Where the value of a secret comes from: exactly one of these."""

    env: str | None = setting(
        "The name of a variable in the agent's environment.", default=None, validator=_variable
    )
    file: str | None = setting("The path of a file on the agent's machine.", default=None)

    def __attrs_post_init__(self) -> None:
        if (self.env is None) == (self.file is None):
            raise ValueError("say where the value comes from, with one of `env` and `file`")


@attrs.frozen(kw_only=True)
class AgentConfig:
    """Everything that an agent is told."""

    base_url: str = setting("Where the queues live: sqlite:///PATH, or http(s)://HOST.", validator=_base_url)
    token: Secret | None = setting(
        "The token for a queue service, best given as LAUNCHCORE_TOKEN; it comes before `token_file`.",
        default=None,
    )
    token_file: Path | None = setting(
        "A file with the token for a queue service, read again when the service refuses it.", default=None
    )
    ca_file: Path | None = setting(
        "Certificates (PEM) of the authorities to trust for a queue service, instead of the system's.",
        default=None,
    )
    client_certificate: Path | None = setting(
        "Our certificate (PEM), for a queue service that asks for one.", default=None
    )
    client_key: Path | None = setting(
        "The key of `client_certificate` (PEM), if it is not in there.", default=None
    )
    allow_plain_http: bool = setting(
        "Send the token without encryption (http://) to other machines, too.", default=False
    )
    queues: tuple[str, ...] = setting(
        "The queues to serve, in no order: all are served fairly.", default=(), validator=_queues
    )
    max_jobs: int = setting(
        "How many runs at a time; -1 means no limit.",
        default=-1,
        validator=_that(lambda value: value == -1 or value >= 1, "must be at least 1, or -1 for no limit"),
    )
    name: str | None = setting(
        "The agent's name; without one, the host's name, numbered.",
        default=None,
        validator=_that(
            lambda value: value is None or bool(_LABEL.fullmatch(value)),
            "must be 1 to 63 letters, digits, '.', '_' and '-', with a letter or digit at both ends",
        ),
    )
    environment: Mapping[str, Json] = setting(
        "The environment: `type` and its settings.", factory=lambda: {"type": "local"}
    )
    registry: Mapping[str, Json] = setting(
        "The registry: `type` and its settings. Without one, that of `builder.destination`, else `local`.",
        factory=dict,
    )
    builder: Mapping[str, Json] = setting(
        "The builder: `type` and its settings; `destination` names the image repository directly.",
        factory=lambda: {"type": "none"},
    )
    plugins: Mapping[str, Mapping[str, Json]] = setting(
        "Settings of sources, runners, queue services and plugins, by name.", factory=dict
    )
    disabled_plugins: tuple[str, ...] = setting("Plugins that are not to be loaded.", default=())
    plugin_modules: tuple[str, ...] = setting(
        "Modules of plugins to load beside the installed ones, to try one before it is packaged.", default=()
    )
    secrets: Mapping[str, SecretSource] = setting(
        "Secrets that runs may ask for by name: where each comes from, `env` or `file`.",
        factory=dict,
        validator=_secrets,
    )
    lease_seconds: float = setting(
        "How many seconds a lease lasts without renewal.",
        default=30.0,
        validator=_that(lambda value: 0 < value <= 86400, "must be more than 0, and at most 86400 (a day)"),
    )
    stage_workers: int = setting(
        "How many runs may be prepared at the same time.",
        default=16,
        validator=_that(lambda value: 1 <= value <= 1024, "must be between 1 and 1024"),
    )
    drain_seconds: float = setting(
        "On SIGTERM, how many seconds to wait for running runs (0: leave them to be adopted, -1: no limit).",
        default=0.0,
        validator=_that(lambda value: value == -1 or value >= 0, "must be 0 or more, or -1 for no limit"),
    )
    max_log_bytes: int = setting(
        "How many bytes of one attempt's output are stored; the rest is cut with a mark.",
        default=256 * 1024 * 1024,
        validator=_that(lambda value: value >= 1, "must be at least 1"),
    )
    log_spool_bytes: int = setting(
        "How many bytes of one attempt's output wait on this machine's disk while the queue is away.",
        default=256 * 1024 * 1024,
        validator=_that(lambda value: value >= 0, "must be 0 or more"),
    )
    metrics_address: str | None = setting(
        "HOST:PORT where the agent serves /metrics, /healthz and /readyz; without it, nowhere.",
        default=None,
        validator=_address,
    )
    traces_endpoint: str | None = setting(
        "The URL of an OpenTelemetry collector (OTLP over HTTP) that gets a trace of each run's stages.",
        default=None,
        validator=_endpoint,
    )
    state_dir: Path = setting("Where the agent keeps what survives its restart.")
    cache_dir: Path = setting("Where the agent keeps what may be deleted at any time.")

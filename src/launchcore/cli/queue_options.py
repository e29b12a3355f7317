"""The flags that describe a queue: the same for ``launch queue create`` and ``launch queue edit``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from launchcore.cli.completers import complete_queue, complete_type
from launchcore.cli.errors import usage

Name = Annotated[str, typer.Argument(metavar="NAME", help="The queue's name.", autocompletion=complete_queue)]
Type = Annotated[
    str | None,
    typer.Option(
        "--type",
        "-t",
        metavar="TYPE",
        help="The runner that it targets: process, or one that a plugin brings.",
        autocompletion=complete_type,
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="FILE", help="The whole configuration as YAML (see launch queue show --yaml)."
    ),
]
Config = Annotated[
    str | None,
    typer.Option("--config", "-c", metavar="FILE|JSON", help="The target configuration, for the runner."),
]
Variables = Annotated[
    str | None,
    typer.Option("--variables", metavar="FILE|JSON", help="Template variables: a JSON Schema for each name."),
]
MaxRunning = Annotated[
    int | None,
    typer.Option("--max-running", metavar="N", min=0, help="Runs at a time, over all agents; 0: no limit."),
]
Timeout = Annotated[
    str | None,
    typer.Option("--timeout", metavar="TIME", help="The longest that a run may run: 90s, 15m, 2h."),
]
StartTimeout = Annotated[
    str | None,
    typer.Option("--start-timeout", metavar="TIME", help="The longest from its start to running."),
]
Memory = Annotated[
    str | None, typer.Option("--memory", metavar="SIZE", help="The most memory for a run: 512M, 2GiB.")
]
MaxRetries = Annotated[
    int | None,
    typer.Option("--max-retries", metavar="N", min=0, help="How often a failed run is tried again."),
]
RetryOn = Annotated[
    list[str] | None,
    typer.Option("--retry-on", metavar="REASON", help="A reason to try again for (repeatable)."),
]
MaxLost = Annotated[
    int | None,
    typer.Option("--max-lost", metavar="N", min=1, help="Lost attempts after which a run is given up."),
]
Secrets = Annotated[
    list[str] | None,
    typer.Option("--allow-secret", metavar="NAME", help="A secret that runs may ask for (repeatable)."),
]
OpenEnv = Annotated[
    list[str] | None,
    typer.Option("--open-env", metavar="PATTERN", help="Variables that a run may set (repeatable)."),
]
Builder = Annotated[
    str | None, typer.Option("--builder", metavar="FILE|JSON", help="A builder other than the agent's.")
]
Registry = Annotated[
    str | None, typer.Option("--registry", metavar="FILE|JSON", help="A registry other than the agent's.")
]
Description = Annotated[str | None, typer.Option("--description", metavar="TEXT", help="What it is for.")]
NoCheck = Annotated[
    bool,
    typer.Option("--no-check", help="Take a type that is not installed here, and do not look inside."),
]


def changes(
    *,
    type: str | None,
    config: str | None,
    variables: str | None,
    builder: str | None,
    registry: str | None,
    max_running: int | None,
    description: str | None,
    secrets: list[str] | None,
    open_env: list[str] | None,
    timeout: str | None,
    start_timeout: str | None,
    memory: str | None,
    max_retries: int | None,
    retry_on: list[str] | None,
    max_lost: int | None,
) -> dict[str, Any]:
    """What the flags say about a queue's configuration, and nothing else, as plain data."""
    from launchcore.cli.targets import mapping
    from launchcore.cli.times import parse_duration, parse_size

    with usage():
        limits = {
            "run_seconds": None if timeout is None else parse_duration(timeout),
            "start_seconds": None if start_timeout is None else parse_duration(start_timeout),
            "memory_bytes": None if memory is None else parse_size(memory),
        }
    retry = {"max_retries": max_retries, "reasons": retry_on or None, "max_lost": max_lost}
    found: dict[str, Any] = {
        "type": type,
        "config": None if config is None else mapping(config, "--config"),
        "variables": None if variables is None else mapping(variables, "--variables"),
        "builder": None if builder is None else mapping(builder, "--builder"),
        "registry": None if registry is None else mapping(registry, "--registry"),
        "description": description,
        "secrets": secrets or None,
        "open_env": open_env or None,
        "limits": _given(limits),
        "retry": _given(retry),
    }
    made = _given(found)
    if max_running is not None:
        made["max_running"] = max_running or None
    return made


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None and value != {}}


def merged(raw: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """``raw`` with ``change`` on top; ``limits`` and ``retry`` are changed key by key."""
    result = {**raw, **change}
    for key in ("limits", "retry"):
        if key in change:
            result[key] = {**(raw.get(key) or {}), **change[key]}
    return result

"""The flags that describe a queue: the same for ``launch queue create`` and ``launch queue edit``."""

from __future__ import annotations

from collections.abc import Mapping
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
MaxRunningEach = Annotated[
    int | None,
    typer.Option(
        "--max-running-per-submitter",
        metavar="N",
        min=0,
        help="Runs at a time of one submitter; 0: no limit.",
    ),
]
MaxQueued = Annotated[
    int | None,
    typer.Option(
        "--max-queued", metavar="N", min=0, help="Runs that may wait; more are refused. 0: no limit."
    ),
]
MaxQueuedEach = Annotated[
    int | None,
    typer.Option(
        "--max-queued-per-submitter", metavar="N", min=0, help="The same, of one submitter; 0: no limit."
    ),
]
MaxPriority = Annotated[
    str | None,
    typer.Option("--max-priority", metavar="LEVEL", help="The most urgent that a run may ask for."),
]
QueueTimeout = Annotated[
    str | None,
    typer.Option("--queue-timeout", metavar="TIME", help="The longest that a run may wait for an agent."),
]
RetryDelay = Annotated[
    str | None,
    typer.Option("--retry-delay", metavar="TIME", help="Before the first retry; it doubles with each."),
]
MaxRetryDelay = Annotated[
    str | None, typer.Option("--max-retry-delay", metavar="TIME", help="The longest wait before a retry.")
]
MaxPreempted = Annotated[
    int | None,
    typer.Option(
        "--max-preempted", metavar="N", min=0, help="How often a preempted or evicted run is resumed."
    ),
]
MaxQuarantined = Annotated[
    int | None,
    typer.Option(
        "--max-quarantined",
        metavar="N",
        min=0,
        help="Quarantined runs in a row after which a job's version is refused; 0: never.",
    ),
]
Release = Annotated[
    str | None,
    typer.Option("--release", metavar="JOB", help="Take runs of a job again that was refused: NAME[:V]."),
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


_COUNTS = ("max_running", "max_running_per_submitter", "max_queued", "max_queued_per_submitter")
_MAPPINGS = ("config", "variables", "builder", "registry")
_RETRY = {
    "max_retries": "max_retries",
    "retry_on": "reasons",
    "retry_delay": "delay_seconds",
    "max_retry_delay": "max_delay_seconds",
    "max_lost": "max_lost",
    "max_preempted": "max_preempted",
    "max_quarantined": "max_quarantined",
}
"""Flag → key of ``retry``."""


def changes(flags: Mapping[str, Any]) -> dict[str, Any]:
    """What the flags say about a queue's configuration, and nothing else, as plain data.

    :param flags: a command's parameters by name; those that say nothing about it are left alone.
    """
    from launchcore.cli.targets import mapping
    from launchcore.cli.times import parse_duration, parse_size

    given = _given({name: flags.get(name) or None for name in flags})
    with usage():
        limits = {
            "run_seconds": parse_duration(given["timeout"]) if "timeout" in given else None,
            "start_seconds": parse_duration(given["start_timeout"]) if "start_timeout" in given else None,
            "queue_seconds": parse_duration(given["queue_timeout"]) if "queue_timeout" in given else None,
            "memory_bytes": parse_size(given["memory"]) if "memory" in given else None,
        }
        retry: dict[str, Any] = {key: flags.get(flag) for flag, key in _RETRY.items()}
        retry["reasons"] = list(given.get("retry_on", ())) or None
        for name in ("delay_seconds", "max_delay_seconds"):
            retry[name] = None if retry[name] is None else parse_duration(retry[name])
    found: dict[str, Any] = {
        **{name: given.get(name) for name in ("type", "description", "max_priority")},
        **{name: mapping(given[name], f"--{name}") for name in _MAPPINGS if name in given},
        **{name: list(given.get(name, ())) or None for name in ("secrets", "open_env")},
        "limits": _given(limits),
        "retry": _given(retry),
    }
    if flags.get("description") == "":
        found["description"] = ""
    made = _given(found)
    for name in _COUNTS:
        if flags.get(name) is not None:
            made[name] = flags[name] or None
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

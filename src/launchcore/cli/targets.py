"""A queue's configuration: from what a user wrote to a checked value, and back to YAML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launchcore.cli.errors import CommandError

if TYPE_CHECKING:
    from launchcore.host import Host
    from launchcore.plugin import QueueConfig


def mapping(text: str, flag: str) -> dict[str, Any]:
    """A mapping from a file of YAML or JSON, or from JSON written right there (``{"a": 1}``).

    :raises CommandError: it cannot be read, is not YAML, or is not a mapping.
    """
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except ValueError as error:
            raise CommandError(f"{flag}: not JSON: {error}") from None
        return dict(found)
    return read_yaml(_read(text, flag), f"{flag} {text}")


def _read(name: str, flag: str) -> str:
    import sys

    if name == "-":
        return sys.stdin.read()
    try:
        return Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{flag} {name}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{flag} {name}: it is not UTF-8 text") from None


def read_yaml(text: str, where: str) -> dict[str, Any]:
    """The mapping that a YAML text holds.

    :raises CommandError: it is not YAML, or not a mapping.
    """
    import yaml

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise CommandError(f"{where}{line}: not YAML: {problem}") from None
    if not isinstance(found, Mapping):
        raise CommandError(f"{where}: expected a mapping, found {type(found).__name__}")
    return dict(found)


def to_yaml(config: QueueConfig) -> str:
    """A queue's whole configuration, as ``launch queue edit`` shows it."""
    import yaml

    from launchcore.cli.output import plain

    return yaml.safe_dump(plain(config), sort_keys=False, default_flow_style=False, allow_unicode=True)


def queue_config(name: str, raw: Mapping[str, Any], host: Host | None) -> QueueConfig:
    """A checked configuration.

    :param host: its type is looked up among these plugins, and the target configuration is checked
        with the runner's own class. ``None``: neither.
    :raises LaunchError: with every problem.
    """
    from launchcore.host.settings import structure
    from launchcore.plugin import QueueConfig

    made = structure(QueueConfig, raw, path=f"queue {name}")
    if host is not None:
        check_target(name, made, host)
    return made


def check_target(name: str, config: QueueConfig, host: Host) -> None:
    """Whether the runner that ``config`` names is here, and takes the target configuration.

    Values with macros are known only when a run is claimed, and are left out.
    """
    from launchcore.host.settings import SettingsError, structure

    offer = host.catalog.runner(config.type)
    try:
        structure(offer.spec.config, config.config, path=f"queue {name}: config")
    except SettingsError as error:
        macros = _paths_with_macros(config.config, f"queue {name}: config")
        left = [each for each in error.problems if each.path not in macros]
        if left:
            raise SettingsError(left) from None


def _paths_with_macros(value: Any, path: str) -> set[str]:
    if isinstance(value, str):
        return {path} if "${" in value else set()
    found: set[str] = set()
    if isinstance(value, Mapping):
        for key, inner in value.items():
            found |= _paths_with_macros(inner, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            found |= _paths_with_macros(inner, f"{path}[{index}]")
    return found


def runner_names(host: Host) -> list[str]:
    """The names of the runners that are installed here."""
    from launchcore.plugin import RunnerSpec

    return [offer.spec.name for offer in host.catalog.offers(RunnerSpec)]

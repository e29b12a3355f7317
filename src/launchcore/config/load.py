"""The only place where an agent's configuration is read: defaults, file, environment, flags.

Each of them overrules those before it, key by key.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from launchcore.config.secrets import VARIABLE_PREFIX
from launchcore.config.values import AgentConfig, SecretSource
from launchcore.host.fields import fields_of
from launchcore.host.names import fold, nearest
from launchcore.host.settings import Problem, SettingsError, join, structure
from launchcore.plugin import LaunchError, Reason

PREFIX: Final = "LAUNCHCORE_"
FILE_VARIABLE: Final = "LAUNCHCORE_CONFIG"
FILE_NAME: Final = "launch-config.yaml"
FLAGS: Final[Mapping[str, str]] = {"queues": "--queue", "drain_seconds": "--drain"}
"""Flags that are not called like their key."""
KNOWN_VARIABLES: Final = frozenset(
    {FILE_VARIABLE, *(PREFIX + name for name in ("ATTEMPT", "DEBUG", "FAILPOINTS", "KEEPER", "OWNER"))}
)
"""Variables of ours that are no keys."""


@attrs.frozen(kw_only=True)
class LoadedConfig:
    """A configuration, and where each part of it comes from."""

    config: AgentConfig
    origins: Mapping[str, str]
    """For each key, and each path in the file: ``default``, ``file X line N``,
    ``environment LAUNCHCORE_MAX_JOBS``, ``flag --max-jobs``."""
    file: Path | None
    warnings: tuple[str, ...] = ()
    """What was not read although it looks as if it were meant for launchcore."""

    def where(self, path: str) -> str:
        """Where a path, or the nearest thing around it, comes from."""
        return _place(self.origins, path)

    def located(self, problems: Iterable[Problem]) -> tuple[Problem, ...]:
        """Problems of this configuration, each path with its place before it: ``X line N: builder.type``."""
        return tuple(_placed(problem, self.where(problem.path)) for problem in problems)


def load_config(
    *, path: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]
) -> LoadedConfig:
    """Read the configuration.

    :param path: the file of ``--config``; without it, that of ``LAUNCHCORE_CONFIG``, else the user's own
        (:func:`default_file`) if it is there.
    :param environ: the environment; ``LAUNCHCORE_<KEY>`` overrules the file for keys that are not mappings.
    :param flags: by key; ``None`` and empty ones were not given.
    :raises LaunchError: ``config_error``: the file is not there or cannot be read.
    :raises SettingsError: with everything that is wrong, each with its place.
    """
    file = _file(path, environ)
    raw: dict[str, Any] = {}
    known = fields_of(AgentConfig)
    origins = dict.fromkeys((field.name for field in known.values()), "default")
    if file is not None:
        from launchcore.config.document import parse_document

        document = parse_document(_read(file), str(file))
        raw.update(document.value)
        origins.update({inside: f"file {file} line {line}" for inside, line in document.lines.items()})
        origins.update({known[fold(key)].name: origins[key] for key in raw if fold(key) in known})
    for key, value, origin in [*_from_environ(environ), *_from_flags(flags)]:
        for spelling in [spelling for spelling in raw if fold(spelling) == key]:
            del raw[spelling]
        raw[key] = value
        for inside in [inside for inside in origins if inside.startswith((f"{key}.", f"{key}["))]:
            del origins[inside]
        origins[key] = origin
    config = _structure(raw, origins, file)
    return LoadedConfig(config=config, origins=origins, file=file, warnings=_unread(environ))


def default_file() -> Path:
    """The user's own configuration file: ``~/.config/launchcore/launch-config.yaml`` on Linux."""
    import platformdirs

    return platformdirs.user_config_path("launchcore") / FILE_NAME


def defaults() -> dict[str, Any]:
    """The values of the keys whose default depends on the machine."""
    import platformdirs

    from launchcore.queues.connect import default_url

    return {
        "base_url": default_url(),
        "state_dir": platformdirs.user_state_path("launchcore"),
        "cache_dir": platformdirs.user_cache_path("launchcore"),
    }


def _file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    origin = "--config"
    if path is None and environ.get(FILE_VARIABLE):
        path, origin = Path(environ[FILE_VARIABLE]), FILE_VARIABLE
    if path is not None:
        path = path.expanduser()
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            raise LaunchError(
                f"{origin}: {path} {what}",
                reason=Reason.CONFIG_ERROR,
                hint=f"`launch config init` writes one to begin with; {default_file()} is read without it",
            )
        return path
    return default_file() if default_file().is_file() else None


def _read(file: Path) -> bytes:
    from launchcore.config.document import MAX_BYTES

    try:
        with file.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise LaunchError(f"{file} cannot be read: {error.strerror}", reason=Reason.CONFIG_ERROR) from None


def _from_environ(environ: Mapping[str, str]) -> list[tuple[str, object, str]]:
    found: list[tuple[str, object, str]] = []
    for field in fields_of(AgentConfig).values():
        variable = PREFIX + field.name.upper()
        text = environ.get(variable, "").strip()
        if text and not _is_mapping(field.type):
            found.append((field.name, _converted(field.type, text), f"environment {variable}"))
    return found


def _from_flags(flags: Mapping[str, object]) -> list[tuple[str, object, str]]:
    return [
        (fold(key), value, f"flag {FLAGS.get(fold(key), '--' + key.replace('_', '-'))}")
        for key, value in flags.items()
        if value is not None and value not in ((), [])
    ]


def _converted(kind: Any, text: str) -> object:
    """A variable's text as the key's type; what does not fit stays text, for a good error later."""
    if typing.get_origin(kind) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind is bool:
        return {"1": True, "true": True, "0": False, "false": False}.get(text.lower(), text)
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            return text
    return text


def _is_mapping(kind: Any) -> bool:
    origin = typing.get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _structure(raw: Mapping[str, Any], origins: Mapping[str, str], file: Path | None) -> AgentConfig:
    raw = {**raw, **{key: value for key, value in defaults().items() if key not in map(fold, raw)}}
    raw, problems = _without_values(raw)
    try:
        config = structure(AgentConfig, raw, path="")
    except SettingsError as error:
        problems += error.problems
    if problems:
        raise SettingsError([_placed(problem, _place(origins, problem.path)) for problem in problems])
    return _absolute(config, origins, file)


def _without_values(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Refuse what may be the value of a secret in a wrong place, without repeating it."""
    key = next((key for key in raw if fold(key) == "secrets"), None)
    if key is None or not isinstance(raw[key], Mapping):
        return dict(raw), []
    wrong = {name for name, source in raw[key].items() if not isinstance(source, Mapping | SecretSource)}
    problems = [
        Problem(
            path=join(key, name),
            message="say where the value comes from, {env: NAME} or {file: PATH}",
            hint="the configuration never holds the value itself",
        )
        for name in sorted(wrong)
    ]
    return {**raw, key: {name: source for name, source in raw[key].items() if name not in wrong}}, problems


def _place(origins: Mapping[str, str], path: str) -> str:
    while path and path not in origins:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return origins.get(path, "default")


def _placed(problem: Problem, place: str) -> Problem:
    if place == "default":
        return problem
    return attrs.evolve(problem, path=f"{place.removeprefix('file ')}: {problem.path}")


def _absolute(config: AgentConfig, origins: Mapping[str, str], file: Path | None) -> AgentConfig:
    """Relative paths count from the file that they stand in, or from where the command was called."""

    def absolute(key: str, path: Path) -> Path:
        in_file = file is not None and origins[key].startswith("file ")
        return ((file.parent if in_file and file else Path()) / path.expanduser()).absolute()

    secrets = {
        name: SecretSource(file=str(absolute("secrets", Path(source.file)))) if source.file else source
        for name, source in config.secrets.items()
    }
    paths = ("token_file", "ca_file", "client_certificate", "client_key")
    named: dict[str, Any] = {key: path and absolute(key, path) for key, path in _of(config, paths)}
    return attrs.evolve(
        config,
        **named,
        secrets=secrets,
        state_dir=absolute("state_dir", config.state_dir),
        cache_dir=absolute("cache_dir", config.cache_dir),
    )


def _of(config: AgentConfig, keys: Iterable[str]) -> list[tuple[str, Path | None]]:
    return [(key, getattr(config, key)) for key in keys]


def _unread(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Variables that look like ours and are not read: a typing error, or a key for the file."""
    keys = fields_of(AgentConfig)
    read = {PREFIX + field.name.upper() for field in keys.values() if not _is_mapping(field.type)}
    found = []
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        if variable in read or variable in KNOWN_VARIABLES or variable.startswith(VARIABLE_PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        near = nearest(name, (known.removeprefix(PREFIX).lower() for known in read))
        if name in keys:
            found.append(f"environment {variable} is not read: {name} is a mapping, and belongs in the file")
        elif near:
            found.append(f"environment {variable} is not read: did you mean {PREFIX}{near.upper()}?")
    return tuple(found)

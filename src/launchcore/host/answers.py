"""What plugins may answer: every value is checked before the core uses it, and nonsense is named.

Pure. The checks raise :class:`Nonsense` with one line; the caller adds whose it was.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

from launchcore.host.fields import fields_of, is_frozen
from launchcore.plugin import (
    BuilderSpec,
    Check,
    CredentialHelper,
    EnvironmentSpec,
    EnvVar,
    Hint,
    Kind,
    Label,
    Login,
    QueueSpec,
    RegistrySpec,
    RunnerSpec,
    Secret,
    SecretFile,
    SourceSpec,
    Volume,
)

T = TypeVar("T")
MOST = 1000
"""More values than this from one hook are a bug, not an answer."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?", re.ASCII)
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)


class Nonsense(Exception):
    """An answer that the contract does not know; one line says what is wrong with it."""


def values(answer: object, check: Callable[[Any], T]) -> list[T]:
    """All values of a hook's answer: None, any iterable, or a generator, read to its end here."""
    if answer is None:
        return []
    if inspect.iscoroutine(answer):
        answer.close()
        raise Nonsense("returned a coroutine; hooks are synchronous")
    if isinstance(answer, str | bytes | Mapping) or not hasattr(answer, "__iter__"):
        raise Nonsense(f"returned {_a(answer)}; put the values in a list, or yield them")
    found: list[T] = []
    for value in answer:
        found.append(check(value))
        if len(found) > MOST:
            raise Nonsense(f"returned more than {MOST} values")
    return found


def spec(kind: type[T]) -> Callable[[Any], T]:
    """A check for descriptors of one kind."""

    def check(value: Any) -> T:
        if not isinstance(value, kind):
            raise Nonsense(f"returned {_a(value)}; expected {kind.__name__}")
        _spec(value)
        return value

    return check


def _spec(value: Any) -> None:
    for name in (value.name, *value.aliases):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise Nonsense(f"offers the name {name!r}; a name is lower-case letters, digits, '-', '_', '.'")
    if not isinstance(value.summary, str) or not value.summary.strip() or "\n" in value.summary:
        raise Nonsense(f"offers {value.name!r} without a summary of one line")
    for field in attrs.fields(type(value)):
        given = getattr(value, field.name)
        if field.name in ("create", "connect", "repository") and not callable(given):
            raise Nonsense(f"offers {value.name!r} with a {field.name} that cannot be called")
        if field.name in ("settings", "fields", "config"):
            _settings(value.name, given)
        if field.name == "applies" and not (
            isinstance(given, frozenset) and all(isinstance(kind, Kind) for kind in given)
        ):
            raise Nonsense(f"offers {value.name!r} with applies={given!r}; expected a frozenset of Kind")
        if field.name == "schemes" and not (given and all(isinstance(scheme, str) for scheme in given)):
            raise Nonsense(f"offers {value.name!r} without the schemes that it serves")


def _settings(name: str, cls: object) -> None:
    if not isinstance(cls, type) or not attrs.has(cls):
        raise Nonsense(f"offers {name!r} with the settings {cls!r}; expected a frozen attrs class")
    if not is_frozen(cls):
        raise Nonsense(f"offers {name!r} with the settings {cls.__name__}, which are not frozen")
    try:
        fields_of(cls)
    except TypeError as error:
        raise Nonsense(f"offers {name!r}: {error}") from None


SPECS: Mapping[str, type[Any]] = {
    "launch_register_sources": SourceSpec,
    "launch_register_builders": BuilderSpec,
    "launch_register_registries": RegistrySpec,
    "launch_register_environments": EnvironmentSpec,
    "launch_register_runners": RunnerSpec,
    "launch_register_queues": QueueSpec,
}
"""What each registration hook returns."""


def _text(value: object) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


def _env_name(value: object) -> bool:
    return isinstance(value, str) and bool(_ENV_NAME.fullmatch(value))


def _file_name(value: object) -> bool:
    return isinstance(value, str) and bool(_FILE_NAME.fullmatch(value))


def _env_value(value: object) -> bool:
    return isinstance(value, Secret) or (isinstance(value, str) and "\0" not in value)


def _secret(value: object) -> bool:
    return isinstance(value, Secret)


_CONTRIBUTIONS: Mapping[type, Mapping[str, Callable[[object], bool]]] = {
    EnvVar: {"name": _env_name, "value": _env_value},
    SecretFile: {
        "name": _file_name,
        "content": _secret,
        "path_env": lambda value: value is None or _env_name(value),
    },
    Login: {"host": _text, "username": _text, "password": _secret},
    CredentialHelper: {"host": _text, "helper": _file_name},
    Label: {"name": _text, "value": lambda value: isinstance(value, str)},
    Volume: {"source": _text, "path": lambda value: isinstance(value, str) and value.startswith("/")},
}


def contribution(value: Any) -> Any:
    """A check for contributions. Values are never shown: they may be secrets of a careless plugin."""
    rules = _CONTRIBUTIONS.get(type(value))
    if rules is None:
        raise Nonsense(f"returned {_a(value)}; expected a contribution")
    for field, fits in rules.items():
        if not fits(getattr(value, field)):
            raise Nonsense(f"returned {_a(value)} with a {field} that cannot be used")
    return value


def hint(value: Any) -> Hint:
    """A check for hints."""
    if not isinstance(value, Hint) or not isinstance(value.text, str):
        raise Nonsense(f"returned {_a(value)}; expected a Hint")
    return value


def check(value: Any) -> Check:
    """A check for the checks of ``launch doctor``."""
    if not isinstance(value, Check) or not callable(value.run):
        raise Nonsense(f"returned {_a(value)}; expected a Check")
    return value


def _a(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"

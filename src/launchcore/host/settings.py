"""From what a user wrote to a frozen settings class, with every mistake and its full path.

The classes are made with :func:`launchcore.plugin.setting`; any frozen attrs class of the contract
works as well. All mistakes are collected: a user sees them at once, not one by one.
"""

from __future__ import annotations

import enum
import math
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs

from launchcore.host.fields import Field, choices, fields_of, is_union
from launchcore.host.names import fold, nearest, show
from launchcore.host.schema import schema as schema  # noqa: PLC0414  # re-exported on purpose
from launchcore.plugin import LaunchError, Reason, Secret

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Problem:
    """One mistake: where (``plugins.process.idle_seconds``), what, and what to do about it."""

    path: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class SettingsError(LaunchError):
    """Settings that cannot be used; ``problems`` has every mistake that was found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        hints = tuple(dict.fromkeys(problem.hint for problem in problems if problem.hint))
        super().__init__(
            "; ".join(map(str, problems)), reason=Reason.CONFIG_ERROR, hint="; ".join(hints) or None
        )
        self.problems = tuple(problems)


def structure(cls: type[T], raw: object, *, path: str, ignore: Collection[str] = ()) -> T:
    """Make an instance of ``cls`` from plain data (what YAML or JSON gives).

    :param path: where ``raw`` stands, for the errors: ``plugins.process``, ``builder``.
    :param ignore: keys that are somebody else's to read (``type``), unless ``cls`` has them too.
    :raises SettingsError: with all mistakes.
    :raises TypeError: ``cls`` is no class for settings: a bug of who wrote it.
    """
    problems: list[Problem] = []
    value = _Reader(problems).record(cls, {} if raw is None else raw, path, ignore)
    if problems:
        raise SettingsError(problems)
    return typing.cast("T", value)


def join(path: str, key: object) -> str:
    """The path of ``key`` under ``path``: ``a.b``, and ``a['b c']`` when the key is no plain word."""
    if isinstance(key, str) and re.fullmatch(r"[\w-]+", key, re.ASCII):
        return f"{path}.{key}" if path else key
    return f"{path}[{show(key)}]"


def _text(raw: object) -> str:
    if isinstance(raw, str):
        return raw
    raise ValueError


def _truth(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    raise ValueError


def _whole(raw: object) -> int:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    raise ValueError


def _number(raw: object) -> float:
    if isinstance(raw, int | float) and not isinstance(raw, bool) and math.isfinite(raw):
        return float(raw)
    raise ValueError


def _path(raw: object) -> Path:
    if isinstance(raw, Path) or (isinstance(raw, str) and raw and "\0" not in raw):
        return Path(raw).expanduser()
    raise ValueError


def _nothing(raw: object) -> None:
    if raw is not None:
        raise ValueError


_SCALARS: Mapping[Any, tuple[Callable[[object], Any], str]] = {
    str: (_text, "text"),
    bool: (_truth, "true or false"),
    int: (_whole, "a whole number"),
    float: (_number, "a number"),
    Path: (_path, "a path"),
    Secret: (lambda raw: raw if isinstance(raw, Secret) else Secret(_text(raw)), "text"),
    None: (_nothing, "nothing"),
    types.NoneType: (_nothing, "nothing"),
}
"""For each simple type: how it is read (ValueError: not such a value), and its name for people."""

_BAD: Any = object()
"""What a reading gives that has noted a problem."""


class _Reader:
    """One pass over the data; every method gives a value, or notes problems and gives ``_BAD``."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems

    def bad(self, path: str, message: str, hint: str | None = None) -> Any:
        self.problems.append(Problem(path=path, message=message, hint=hint))
        return _BAD

    def record(self, cls: type, raw: object, path: str, ignore: Collection[str] = ()) -> Any:
        if isinstance(raw, cls):
            return raw
        if not isinstance(raw, Mapping):
            return self.bad(path, f"expected a mapping, got {show(raw)}")
        before = len(self.problems)
        fields = fields_of(cls)
        given = self.keys(fields, raw, path, frozenset(map(fold, ignore)))
        values = {
            name: self.value(fields[name].type, raw[key], join(path, key)) for name, key in given.items()
        }
        for name, field in fields.items():
            if field.required and name not in given:
                self.bad(join(path, field.key), "is required", field.help or None)
        good = {name: value for name, value in values.items() if value is not _BAD}
        self.validate(cls, {fields[name].name: (fields[name], good[name]) for name in good}, path, given)
        if len(self.problems) > before:
            return _BAD
        try:
            return cls(**{fields[name].alias: value for name, value in good.items()})
        except Exception as error:
            return self.complain(path, error)

    def keys(
        self, fields: Mapping[str, Field], raw: Mapping[Any, object], path: str, ignore: frozenset[str]
    ) -> dict[str, Any]:
        """Which key of ``raw`` gives which field; unknown and repeated ones are problems."""
        given: dict[str, Any] = {}
        for key in raw:
            if not isinstance(key, str):
                self.bad(join(path, key), f"a key must be text, not {show(key)}", "put it in quotes")
            elif fold(key) in given:
                self.bad(join(path, key), f"is given twice, as {given[fold(key)]!r} too")
            elif fold(key) in fields:
                given[fold(key)] = key
            elif fold(key) not in ignore:
                known = [field.key for field in fields.values()]
                near = nearest(key, known)
                listed = ", ".join(sorted(known)) or "none"
                self.bad(
                    join(path, key),
                    "is not a known key",
                    f"use {near!r}" if near else f"known keys: {listed}",
                )
        return given

    def validate(
        self, cls: type, values: Mapping[str, tuple[Field, Any]], path: str, given: Mapping[str, str]
    ) -> None:
        """Run each field's validator by itself, so that every message gets its path."""
        probe: Any = object.__new__(cls)
        for name, (_, value) in values.items():
            object.__setattr__(probe, name, value)
        for field, value in values.values():
            if field.attribute.validator is None:
                continue
            try:
                field.attribute.validator(probe, field.attribute, value)
            except Exception as error:
                self.complain(join(path, given[fold(field.key)]), error, f"'{field.name}' ")

    def complain(self, path: str, error: Exception, prefix: str = "") -> Any:
        """A validator's or constructor's exception as a problem. attrs puts the text first."""
        text = str(error.args[0]) if error.args else type(error).__name__
        return self.bad(path, text.removeprefix(prefix), getattr(error, "hint", None))

    def value(self, kind: Any, raw: object, path: str) -> Any:
        if isinstance(kind, typing.TypeVar) or kind in (Any, object):
            return raw
        if is_union(kind):
            return self.union(typing.get_args(kind), raw, path)
        origin = typing.get_origin(kind)
        if origin is typing.Annotated:
            return self.value(typing.get_args(kind)[0], raw, path)
        if origin is typing.Literal:
            return self.choice({str(option): option for option in typing.get_args(kind)}, raw, path)
        if origin is not None or kind in (tuple, frozenset, dict):
            return self.container(origin or kind, typing.get_args(kind), raw, path)
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return raw if isinstance(raw, kind) else self.choice(choices(kind), raw, path)
        if isinstance(kind, type) and attrs.has(kind):
            return self.record(kind, raw, path)
        return self.scalar(kind, raw, path)

    def scalar(self, kind: Any, raw: object, path: str) -> Any:
        if kind not in _SCALARS:
            raise TypeError(f"{path}: settings of type {kind!r} are not supported")
        read, wanted = _SCALARS[kind]
        try:
            return read(raw)
        except (ValueError, OverflowError):
            pass
        if kind is Secret:  # what was written may be the secret itself: never shown
            return self.bad(path, "expected text", "put it in quotes")
        quotes = kind is str and isinstance(raw, int | float)
        hint = f"put it in quotes: '{str(raw)[:40]}'" if quotes else None
        return self.bad(path, f"expected {wanted}, got {show(raw)}", hint)

    def choice(self, options: Mapping[str, Any], raw: object, path: str) -> Any:
        if isinstance(raw, str):
            for text, option in options.items():
                if fold(text) == fold(raw):
                    return option
        elif not isinstance(raw, bool):
            for option in options.values():
                if raw == (option.value if isinstance(option, enum.Enum) else option):
                    return option
        near = nearest(raw, options) if isinstance(raw, str) else None
        return self.bad(
            path, f"expected one of {', '.join(options)}; got {show(raw)}", f"use {near!r}" if near else None
        )

    def union(self, kinds: Sequence[Any], raw: object, path: str) -> Any:
        """The first kind that fits. None does: what the only or the most promising one has to say."""
        if types.NoneType in kinds and raw is None:
            return None
        failures: list[list[Problem]] = []
        kinds = [kind for kind in kinds if kind is not types.NoneType]
        for kind in kinds:
            attempt = _Reader([])
            value = attempt.value(kind, raw, path)
            if not attempt.problems:
                return value
            failures.append(attempt.problems)
        inside = [problems for problems in failures if any(problem.path != path for problem in problems)]
        if len(kinds) == 1 or inside:
            fewest = min(inside or failures, key=len)
            self.problems.extend(fewest)
            return _BAD
        wanted = [problems[0].message.removeprefix("expected ").split(", got ")[0] for problems in failures]
        return self.bad(path, f"expected {' or '.join(dict.fromkeys(wanted))}, got {show(raw)}")

    def container(self, origin: Any, arguments: Sequence[Any], raw: object, path: str) -> Any:
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return self.mapping(arguments, raw, path)
        if not isinstance(raw, list | tuple | set | frozenset):
            hint = f"write [{raw}]" if isinstance(raw, str) else None
            return self.bad(path, f"expected a list, got {show(raw)}", hint)
        values = list(raw)
        kinds = [arguments[0] if arguments else Any] * len(values)
        if origin is tuple and arguments and arguments[-1] is not Ellipsis:
            if len(values) != len(arguments):
                return self.bad(path, f"expected a list of {len(arguments)}, got one of {len(values)}")
            kinds = list(arguments)
        read = [
            self.value(kind, value, f"{path}[{index}]")
            for index, (kind, value) in enumerate(zip(kinds, values, strict=True))
        ]
        if any(value is _BAD for value in read):
            return _BAD
        return frozenset(read) if origin in (frozenset, set) else tuple(read)

    def mapping(self, arguments: Sequence[Any], raw: object, path: str) -> Any:
        if not isinstance(raw, Mapping):
            return self.bad(path, f"expected a mapping, got {show(raw)}")
        of_key, of_value = arguments or (Any, Any)
        read = {}
        for key, value in raw.items():
            where = join(path, key)
            new_key = self.value(of_key, key, where)
            new_value = self.value(of_value, value, where)
            if new_key is _BAD or new_value is _BAD:
                continue
            read[new_key] = new_value
        return read

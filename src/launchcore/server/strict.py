"""From a request to values: strictly, and with the path of what is wrong. Pure."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import attrs
import msgspec

T = TypeVar("T")
Check: TypeAlias = Callable[[Any, str], None]

_LARGEST = (1 << 63) - 1


class Malformed(Exception):
    """The request is not what the endpoint takes. The text says where and why."""


def body(kind: type[T], raw: bytes) -> T:
    """The value in a JSON body.

    :raises Malformed: no JSON, a wrong type, a field that is missing or that there is not, a number that
        no database holds.
    """
    try:
        loose = msgspec.json.decode(raw)
        value = msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise Malformed(_text(error)) from None
    except RecursionError:
        raise Malformed("it is nested too deeply") from None
    try:
        _check(typing.cast("Any", kind))(loose, "$")
    except RecursionError:
        raise Malformed("it is nested too deeply") from None
    return value


def query(kind: type[T], given: Sequence[tuple[str, str]]) -> T:
    """The parameters of a query; one that may be repeated is a tuple.

    :raises Malformed: like :func:`body`.
    """
    of: Any = kind
    fields = {field.name: field.type for field in attrs.fields(attrs.resolve_types(of))}
    found: dict[str, Any] = {}
    for name, text in given:
        if name not in fields:
            raise Malformed(f"there is no parameter {name[:60]!r}; there are: {', '.join(sorted(fields))}")
        if "\0" in text:
            raise Malformed(f"parameter {name!r} holds a NUL character")
        if typing.get_origin(fields[name]) is tuple:
            found.setdefault(name, []).append(text)
        elif name in found:
            raise Malformed(f"parameter {name!r} is there twice")
        else:
            found[name] = text
    try:
        return msgspec.convert(found, kind, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise Malformed(_text(error)) from None


def _text(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


@functools.cache
def _check(kind: Any) -> Check:
    """What looks for unknown fields and too large numbers where msgspec does not."""
    if attrs.has(kind):
        return _of_class(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (tuple, list, frozenset, set):
        inside = _check(arguments[0])
        return lambda value, path: _each(value, path, inside)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        values = _check(arguments[1])
        return lambda value, path: _values(value, path, values)
    if origin in (typing.Union, types.UnionType):
        (one,) = [each for each in arguments if each is not type(None)][:1]
        inner = _check(one)
        return lambda value, path: None if value is None else inner(value, path)
    return _numbers


def _of_class(kind: Any) -> Check:
    fields = {field.name: field.type for field in attrs.fields(attrs.resolve_types(kind))}
    checks: dict[str, Check] = {}

    def check(value: Any, path: str) -> None:
        for name, inner in value.items():
            found = checks.get(name)
            if found is None:
                if name not in fields:
                    raise Malformed(f"there is no field {name[:60]!r} - at `{path}`")
                found = checks[name] = _check(fields[name])
            found(inner, f"{path}.{name}")

    return check


def _each(value: Any, path: str, inside: Check) -> None:
    for inner in value:
        inside(inner, f"{path}[...]")


def _values(value: Any, path: str, inside: Check) -> None:
    for inner in value.values():
        inside(inner, f"{path}[...]")


def _numbers(value: Any, path: str) -> None:
    if isinstance(value, int) and not -_LARGEST <= value <= _LARGEST:
        raise Malformed(f"a number that is too large - at `{path}`")
    if isinstance(value, list):
        _each(value, path, _numbers)
    elif isinstance(value, dict):
        _values(value, path, _numbers)

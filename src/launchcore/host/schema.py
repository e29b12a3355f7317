"""The same settings classes as JSON Schema (2020-12), and as rows for people."""

from __future__ import annotations

import enum
import itertools
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from launchcore.host.fields import Field, choices, fields_of, is_union
from launchcore.host.names import fold
from launchcore.plugin import Secret

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SCALARS: Mapping[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    Path: {"type": "string"},
    Secret: {"type": "string", "writeOnly": True},
    None: {"type": "null"},
    types.NoneType: {"type": "null"},
    Any: {},
    object: {},
}
_WORDS = {str: "text", bool: "true or false", int: "whole number", float: "number", Path: "path", Any: "any"}


@attrs.frozen(kw_only=True)
class SettingRow:
    """One setting, as ``launch plugins show`` and the documentation print it."""

    key: str
    type: str
    required: bool
    default: Any
    help: str


def schema(cls: type) -> dict[str, Any]:
    """The JSON Schema of a settings class, with descriptions from its help.

    It accepts what :func:`launchcore.host.settings.structure` accepts, save for what only a
    validator can say.

    :raises TypeError: the class, or the type of a field, is nothing for settings.
    """
    return {"$schema": DRAFT, **_record(cls, ())}


def rows(cls: type) -> tuple[SettingRow, ...]:
    """Every setting of a class in one row, in the order of the class."""
    return tuple(
        SettingRow(
            key=field.key,
            type=type_words(field.type),
            required=field.required,
            default=None if field.required else plain(field.default()),
            help=field.help,
        )
        for field in fields_of(cls).values()
    )


def plain(value: Any) -> Any:
    """A setting's value as JSON can hold it; a :class:`Secret` shows as its mask."""
    match value:
        case enum.Enum():
            return value.value if isinstance(value.value, str) else value.name.lower()
        case Secret() | Path():
            return str(value)
        case Mapping():
            return {str(plain(key)): plain(entry) for key, entry in value.items()}
        case tuple() | list():
            return [plain(entry) for entry in value]
        case set() | frozenset():
            return sorted(plain(entry) for entry in value)
        case _:
            cls: type = type(value)
            if not attrs.has(cls):
                return value
            return {field.key: plain(getattr(value, field.name)) for field in fields_of(cls).values()}


def type_words(kind: Any) -> str:
    """A type in a user's words: ``list of text``, ``number or nothing``."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_union(kind):
        return " or ".join("nothing" if part is types.NoneType else type_words(part) for part in arguments)
    if origin is typing.Literal:
        return " | ".join(map(str, arguments))
    if origin is typing.Annotated:
        return type_words(arguments[0])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "mapping" if arguments[1] is Any else f"mapping of {type_words(arguments[1])}"
    if origin is not None:
        return f"list of {type_words(arguments[0])}"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return " | ".join(choices(kind))
    if isinstance(kind, type) and attrs.has(kind):
        return "mapping"
    return _WORDS.get(kind, getattr(kind, "__name__", str(kind)).lower())


def _record(cls: type, above: tuple[type, ...]) -> dict[str, Any]:
    if cls in above:
        raise TypeError(f"{cls.__name__} holds itself; settings are finite")
    properties: dict[str, Any] = {}
    other_spellings: dict[str, Any] = {}
    demands: list[dict[str, Any]] = []
    required: list[str] = []
    for field in fields_of(cls).values():
        shape = _field(field, (*above, cls))
        properties[field.key] = shape
        spellings = _spellings(field.key)
        if len(spellings) > 1:
            pattern = "[-_]".join(fold(field.key).split("_"))
            other_spellings[f"^{pattern}$"] = {
                name: part for name, part in shape.items() if name != "description"
            }
        if field.required and len(spellings) == 1:
            required.append(field.key)
        elif field.required:
            demands.append({"anyOf": [{"required": [spelling]} for spelling in spellings]})
    return {
        "type": "object",
        "title": cls.__name__,
        "properties": properties,
        **({"patternProperties": other_spellings} if other_spellings else {}),
        **({"required": required} if required else {}),
        **({"allOf": demands} if demands else {}),
        "additionalProperties": False,
    }


def _spellings(key: str) -> list[str]:
    """All spellings with ``-`` and ``_`` that are the same key, the usual one first."""
    words = fold(key).split("_")
    if len(words) > 4:  # 2^n: beyond this only the uniform ones are worth a schema's length
        return list(dict.fromkeys([key, "_".join(words), "-".join(words)]))
    joined = [
        words[0] + "".join(f"{mark}{word}" for mark, word in zip(marks, words[1:], strict=True))
        for marks in itertools.product("_-", repeat=len(words) - 1)
    ]
    return list(dict.fromkeys([key, *joined]))


def _field(field: Field, above: tuple[type, ...]) -> dict[str, Any]:
    shape = dict(_shape(field.type, above, field.key))
    if field.help:
        shape["description"] = field.help
    if not field.required and field.type is not Secret:
        shape["default"] = plain(field.default())
    return shape


def _shape(kind: Any, above: tuple[type, ...], key: str) -> dict[str, Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_union(kind):
        return {"anyOf": [_shape(part, above, key) for part in arguments]}
    if origin is typing.Annotated:
        return _shape(arguments[0], above, key)
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin is not None or kind in (tuple, frozenset, dict):
        return _container(origin or kind, arguments or (Any, Any), above, key)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": list(choices(kind))}
    if isinstance(kind, type) and attrs.has(kind):
        return _record(kind, above)
    if kind not in _SCALARS:
        raise TypeError(f"{key}: settings of type {kind!r} are not supported")
    return dict(_SCALARS[kind])


def _container(origin: Any, arguments: tuple[Any, ...], above: tuple[type, ...], key: str) -> dict[str, Any]:
    if issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _shape(arguments[1], above, key)}
    if origin is tuple and arguments[-1] not in (Ellipsis, Any):
        parts = [_shape(part, above, key) for part in arguments]
        return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
    return {"type": "array", "items": _shape(arguments[0], above, key)}

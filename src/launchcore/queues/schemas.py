"""JSON Schemas (draft 2020-12) of a queue's variables and a job's inputs. Pure.

``jsonschema`` is imported only when there is a schema. Nothing is ever fetched: references are
refused altogether, so that no schema can point outside itself or into itself for ever.
"""

from __future__ import annotations

import copy
import functools
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from launchcore.plugin import Json
from launchcore.queues.bounds import json_problems, shown
from launchcore.queues.macros import nearest

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCES: Final = frozenset({"$ref", "$dynamicRef", "$recursiveRef", "$id", "$anchor", "$dynamicAnchor"})
_PATTERNS: Final = frozenset({"pattern", "patternProperties"})


def schema_problems(schema: Json, path: str, *, trusted: bool) -> list[str]:
    """What is wrong with one schema.

    :param trusted: it is a queue owner's; in anybody else's, regular expressions are refused, since
        one that takes for ever to match would stop the service.
    """
    if not isinstance(schema, Mapping):
        return [f"{path}: a JSON Schema is a mapping, as {{type: integer, minimum: 1}}"]
    if problems := json_problems(schema, path):
        return problems
    refused = _REFERENCES if trusted else _REFERENCES | _PATTERNS
    if found := sorted(refused & set(_keys(schema))):
        return [f"{path}: {', '.join(found)} cannot be used here"]
    if schema.get("$schema", _DIALECT) not in (_DIALECT, _DIALECT + "#"):
        return [f"{path}.$schema: only draft 2020-12 is understood"]

    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(dict(schema))
    except SchemaError as error:
        return [f"{_at(path, error.absolute_path)}: {_short(error.message)}"]
    if "default" not in schema:
        return []
    if schema["default"] is None:
        return [f"{path}.default: null stands for no value; leave it out to make it required"]
    return [f"{path}.default{text}" for text in _errors(schema, schema["default"])]


def fill_defaults(
    kind: str, schemas: Mapping[str, Mapping[str, Json]], values: Mapping[str, Json]
) -> tuple[dict[str, Json], list[str]]:
    """Check named values against their schemas: (values with defaults, problems).

    One without a ``default`` is required. ``kind`` is the word for them in problems.
    """
    problems = [
        f"unknown {kind} {shown(name)}{nearest(name, schemas)}" for name in values if name not in schemas
    ]
    filled: dict[str, Json] = {}
    for name, schema in schemas.items():
        if name in values:
            filled[name] = values[name]
            problems += [f"{kind} {name}{text}" for text in _errors(schema, values[name])]
        elif "default" in schema:
            filled[name] = copy.deepcopy(schema["default"])
        else:
            problems.append(f"{kind} {name} is missing, and has no default{_wanted(schema)}")
    return filled, problems


def _errors(schema: Mapping[str, Json], value: Json) -> Iterator[str]:
    """``": what"`` for the value itself, ``".path: what"`` for something in it."""
    if found := json_problems(value, ""):
        yield from found
        return
    try:
        for error in itertools.islice(_validator()(dict(schema)).iter_errors(value), 5):
            yield f"{_at('', error.absolute_path)}: {_short(error.message)}"
    except (ArithmeticError, RecursionError, re.error) as error:
        yield f": cannot be checked ({type(error).__name__})"


@functools.cache
def _validator() -> type[Validator]:
    """The validator's class: draft 2020-12, with the right end of a pattern."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from jsonschema.validators import extend

    def pattern(_validator: Any, wanted: str, value: Any, _schema: Any) -> Iterator[ValidationError]:
        if isinstance(value, str) and not re.search(_end_is_the_end(wanted), value):
            yield ValidationError(f"{shown(value)} does not match {wanted!r}")

    kind: type[Validator] = extend(Draft202012Validator, {"pattern": pattern})  # type: ignore[no-untyped-call]
    return kind


def _end_is_the_end(pattern: str) -> str:
    r"""JSON Schema's ``$`` is the end of the text; Python's also matches before a last line end."""
    result, at, opened = [], 0, None
    while at < len(pattern):
        char = pattern[at : at + 2] if pattern[at] == "\\" else pattern[at]
        if opened is None and char == "[":
            opened = at + 2 if pattern[at + 1 : at + 2] == "^" else at + 1
        elif opened is not None and char == "]" and at > opened:
            opened = None
        result.append(r"\Z" if char == "$" and opened is None else char)
        at += len(char)
    return "".join(result)


def _keys(value: Json) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from _keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _keys(inner)


def _wanted(schema: Mapping[str, Json]) -> str:
    facts = [f"{key} {schema[key]}" for key in ("type", "enum", "minimum", "maximum") if key in schema]
    return f" ({_short(', '.join(facts))})" if facts else ""


def _at(path: str, inside: Any) -> str:
    return path + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in inside)


def _short(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else text[:limit] + "…"

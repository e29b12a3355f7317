"""A CreateTrainingJob request against the service model that the installed botocore brings.

Pure but for reading that model: once in a process, when it is first needed, and only what belongs to this
request is kept.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from launch_sagemaker.patterns import matches
from launch_sagemaker.refusal import shown
from launchcore.plugin import Json

REQUEST: Final = "CreateTrainingJobRequest"
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_BITS: Final = {"integer": 31, "long": 63}
_NAMED: Final = {
    "structure": "a mapping",
    "map": "a mapping",
    "list": "a list",
    "string": "text",
    "integer": "a whole number",
    "long": "a whole number",
    "boolean": "true or false",
}
_TYPES: Final = {
    "structure": Mapping,
    "map": Mapping,
    "list": Sequence,
    "string": str,
    "integer": int,
    "long": int,
    "boolean": bool,
}


def span(*path: str) -> tuple[float, float] | None:
    """Between which values a number of the request may be, whole path: ``span("ResourceConfig",
    "KeepAlivePeriodInSeconds")``. ``None``: the installed botocore cannot send it."""
    name = REQUEST
    for member in path:
        found = _shape(name).get("members", {}).get(member)
        if found is None:
            return None
        name = found["shape"]
    shape = _shape(name)
    return shape.get("min", float("-inf")), shape.get("max", float("inf"))


def fitted(body: Mapping[str, Json]) -> dict[str, Json]:
    """``body`` with its scalars as the model wants them, in a value of its own.

    Macros give numbers where the service has text (hyperparameters, variables, tags, words of a command), and
    inputs give text where it has numbers. Nothing else is changed.

    >>> fitted({"HyperParameters": {"lr": 0.1, "fast": True}, "ResourceConfig": {"InstanceCount": "2"}})
    {'HyperParameters': {'lr': '0.1', 'fast': 'true'}, 'ResourceConfig': {'InstanceCount': 2}}
    """
    found: dict[str, Json] = _fitted(REQUEST, body, written=False)
    return found


def problems(body: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """What the service would refuse about single members: (path, what is wrong with it)."""
    return _problems(REQUEST, body, "")


def length(text: str) -> int:
    """Characters as Java counts them: two for what is outside the basic plane."""
    return len(text) + sum(one > "\uffff" for one in text)


def encodable(text: str) -> bool:
    """Whether it can be sent: no half of a character is in it.

    >>> encodable("é"), encodable("\\ud800")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# -- the model ------------------------------------------------------------------------------------


@functools.cache
def loaded() -> Mapping[str, Mapping[str, Any]]:
    """The shapes of the request by name. What is kept for the process: about 100 of 2,000. Reading them takes
    60 MB for a moment, so it is done before many threads want them."""
    from botocore.loaders import Loader

    every = Loader().load_service_model("sagemaker", "service-2")["shapes"]
    found: dict[str, Mapping[str, Any]] = {}
    waiting = [REQUEST]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = shape = _lean(every[name])
            inner = [*shape.get("members", {}).values()]
            waiting += [each["shape"] for each in inner]
            waiting += [shape[key]["shape"] for key in ("member", "key", "value") if key in shape]
    return found


def _lean(shape: Mapping[str, Any]) -> dict[str, Any]:
    """Without the documentation, which is most of it."""
    members = {name: {"shape": each["shape"]} for name, each in shape.get("members", {}).items()}
    rest = {key: value for key, value in shape.items() if key not in ("documentation", "members")}
    return {**rest, "members": members} if members else rest


def _shape(name: str) -> Mapping[str, Any]:
    return loaded()[name]


# -- scalars as the model wants them --------------------------------------------------------------


def _fitted(name: str, value: Json, *, written: bool) -> Json:
    """``written``: numbers and truths may become text here."""
    shape = _shape(name)
    kind = shape["type"]
    if isinstance(value, Mapping):
        if kind == "structure":
            members = shape.get("members", {})
            return {
                key: _fitted(members[key]["shape"], inner, written=name == "Tag") if key in members else inner
                for key, inner in value.items()
            }
        if kind == "map":
            return {
                key: _fitted(shape["value"]["shape"], inner, written=True) for key, inner in value.items()
            }
        return dict(value)
    if isinstance(value, list | tuple):
        if kind == "list":
            return [_fitted(shape["member"]["shape"], inner, written=True) for inner in value]
        return list(value)
    return _scalar(kind, value, written=written)


def _scalar(kind: str, value: Json, *, written: bool) -> Json:
    if kind == "string" and written and isinstance(value, bool | int | float):
        return json.dumps(value)
    if kind in _BITS and isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    if kind in _BITS and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


# -- what is wrong --------------------------------------------------------------------------------


def _problems(name: str, value: Json, path: str) -> Iterator[tuple[str, str]]:
    shape = _shape(name)
    kind = shape["type"]
    wanted = _TYPES.get(kind)
    if wanted is None:  # a newer kind of shape: the service's to check
        return
    wrong = not isinstance(value, wanted) or (kind in _BITS and isinstance(value, bool))
    if wrong or (kind == "list" and isinstance(value, str)):
        quotes = " (put it in quotes)" if kind == "string" and isinstance(value, bool | int | float) else ""
        yield path, f"expected {_NAMED[kind]}, got {shown(value)}{quotes}"
    elif kind == "structure":
        yield from _structure(shape, value, path)
    elif kind == "map":
        yield from _size(shape, len(value), path, "entries")
        for key, inner in value.items():
            for _, text in _problems(shape["key"]["shape"], key, path):
                yield path, f"the key {shown(key)}: {text}"
            yield from _problems(shape["value"]["shape"], inner, joined(path, key))
    elif kind == "list":
        yield from _size(shape, len(value), path, "entries")
        for at, inner in enumerate(value):
            yield from _problems(shape["member"]["shape"], inner, f"{path}[{at}]")
    elif kind == "string":
        yield from ((path, text) for text in _text(shape, value))
    elif kind in _BITS:
        yield from _number(shape, value, path)


def _structure(shape: Mapping[str, Any], value: Mapping[str, Json], path: str) -> Iterator[tuple[str, str]]:
    members = shape.get("members", {})
    for key, inner in value.items():
        if key in members:
            yield from _problems(members[key]["shape"], inner, joined(path, key))
        else:
            yield joined(path, key), f"is nothing that the agent's boto3 knows{near(str(key), members)}"
    for key in shape.get("required", ()):
        if key not in value:
            yield joined(path, key), "is missing"


def _text(shape: Mapping[str, Any], value: str) -> Iterator[str]:
    if not encodable(value):
        yield f"{shown(value)} has half of a character"
        return
    values = shape.get("enum")
    if values and value not in values:
        yield f"{shown(value)} is none of its values{near(value, values, 3)}"
        return
    size = length(value)
    least, most, pattern = shape.get("min", 0), shape.get("max"), shape.get("pattern")
    if size < least:
        yield (
            f"is empty, and must have {least} characters or more"
            if not size
            else (f"{shown(value)} is shorter than {least} characters")
        )
    elif most is not None and size > most:
        yield f"has {size} characters, and {most} fit"
    elif pattern and not matches(pattern, value):
        if matches(pattern, "".join(value.splitlines())):
            yield f"{shown(value)} has more than one line"
        else:
            yield f"{shown(value)} does not match {pattern[:120]}"


def _size(shape: Mapping[str, Any], size: int, path: str, what: str) -> Iterator[tuple[str, str]]:
    least, most = shape.get("min", 0), shape.get("max")
    if size < least:
        yield path, f"has {size} {what}, and must have {least} or more"
    elif most is not None and size > most:
        yield path, f"has {size} {what}, and {most} fit"


def _number(shape: Mapping[str, Any], value: int, path: str) -> Iterator[tuple[str, str]]:
    edge = 2 ** _BITS[shape["type"]]
    least, most = max(shape.get("min", -edge), -edge), min(shape.get("max", edge - 1), edge - 1)
    if not least <= value <= most:
        bound = f"at least {least}" if value < least else f"at most {most}"
        yield path, f"{shown(value)} is not {bound}"


def joined(path: str, key: object) -> str:
    """``a.b``, and ``a['b c']`` when the key is no plain word."""
    if isinstance(key, str) and re.fullmatch(r"[\w-]{1,80}", key, re.ASCII):
        return f"{path}.{key}" if path else key
    return f"{path}[{shown(key)}]"


def near(name: str, known: Sequence[str] | Mapping[str, Any], most: int = 1) -> str:
    """``" (did you mean 'File'?)"``, or what there is if that is not much, to stand at the end of a text."""
    folded = {each.casefold().replace("_", "").replace("-", ""): each for each in known}
    wanted = name[:100].casefold().replace("_", "").replace("-", "")
    close = [folded[each] for each in difflib.get_close_matches(wanted, folded, n=most, cutoff=0.75)]
    if close:
        return f" (did you mean {' or '.join(map(repr, close))}?)"
    return f" ({', '.join(sorted(known))})" if len(known) <= 8 else ""

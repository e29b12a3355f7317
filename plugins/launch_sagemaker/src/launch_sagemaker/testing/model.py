"""Requests and answers, held against the service model that botocore ships: the API as AWS publishes it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, Final

from launch_sagemaker.testing.patterns import compiled

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
}


class WrongType(Exception):
    """A value of a type that the service cannot even read."""


class ServiceModel:
    """SageMaker's operations and their shapes."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        document = loader.load_service_model("sagemaker", "service-2")
        self._shapes: Mapping[str, Any] = document["shapes"]
        self._operations: Mapping[str, Any] = document["operations"]

    @staticmethod
    def load() -> ServiceModel:
        """The one of the botocore that is installed."""
        from botocore.loaders import Loader

        return ServiceModel(Loader())

    def knows(self, operation: str) -> bool:
        return operation in self._operations

    def members(self, shape: str) -> frozenset[str]:
        return frozenset(self._shapes[shape]["members"])

    def refusal(self, operation: str, body: Mapping[str, Any]) -> str | None:
        """What SageMaker would say of a request; None: nothing.

        Stricter than AWS in one way: an unknown member is refused, too.

        :raises WrongType: it would be no request.
        """
        shape = self._operations[operation]["input"]["shape"]
        problems = list(self.problems(shape, body))
        if not problems:
            return None
        errors = "1 validation error" if len(problems) == 1 else f"{len(problems)} validation errors"
        return f"{errors} detected: {'; '.join(problems)}"

    def faults_of_answer(self, operation: str, answer: Mapping[str, Any]) -> list[str]:
        """In what an answer of ours is not one of SageMaker's."""
        output = self._operations[operation].get("output")
        if output is None:
            return [f"{operation}: an answer where there is none"] if answer else []
        try:
            return [f"{operation}: {problem}" for problem in self.problems(output["shape"], answer)]
        except WrongType as wrong:
            return [f"{operation}: {wrong}"]

    def problems(self, name: str, value: Any, at: str = "") -> Iterator[str]:
        """Everything that is wrong with a value of a shape, in AWS's words.

        :raises WrongType: it is of another type.
        """
        shape = self._shapes[name]
        kind: str = shape["type"]
        if not _is_a(kind, value):
            raise WrongType(f"{at or name} is {type(value).__name__}, not a {kind}")
        if kind == "structure":
            yield from self._structure(shape, value, at)
            return
        for constraint in _constraints(shape, value):
            yield f"Value '{_shown(value)}' at '{at}' failed to satisfy constraint: {constraint}"
        if kind == "list":
            for place, one in enumerate(value, 1):
                yield from self.problems(shape["member"]["shape"], one, f"{at}.{place}.member")
        elif kind == "map":
            yield from self._map(shape, value, at)

    def _structure(self, shape: Mapping[str, Any], value: Mapping[str, Any], at: str) -> Iterator[str]:
        prefix = f"{at}." if at else ""
        for missing in (key for key in shape.get("required", ()) if value.get(key) is None):
            where = prefix + _lower(missing)
            yield f"Value null at '{where}' failed to satisfy constraint: Member must not be null"
        for key, one in value.items():
            member = shape["members"].get(key)
            if member is None:
                yield f"Value '{_shown(one)}' at '{prefix}{key}' failed to satisfy constraint: Unknown member"
            elif one is not None:
                yield from self.problems(member["shape"], one, prefix + _lower(key))

    def _map(self, shape: Mapping[str, Any], value: Mapping[str, Any], at: str) -> Iterator[str]:
        """Values of a map are told with the map, and shortly, as AWS does."""
        for part, ones in (("keys", value.keys()), ("value", value.values())):
            inner = self._shapes[shape["key" if part == "keys" else "value"]["shape"]]
            found: dict[str, None] = {}
            for one in ones:
                if not _is_a(inner["type"], one):
                    raise WrongType(f"{at} has {type(one).__name__}, not a {inner['type']}")
                found.update(dict.fromkeys(_constraints(inner, one)))
            if found:
                constraint = f"Map {part} must satisfy constraint: [{', '.join(found)}]"
                yield f"Value '{_shown(value)}' at '{at}' failed to satisfy constraint: {constraint}"


def _is_a(kind: str, value: Any) -> bool:
    wanted = _TYPES[kind]
    return isinstance(value, wanted) and (bool in wanted or not isinstance(value, bool))


def _constraints(shape: Mapping[str, Any], value: Any) -> Iterator[str]:
    lowest, highest = shape.get("min"), shape.get("max")
    if isinstance(value, str | list | dict):
        if lowest is not None and len(value) < lowest:
            yield f"Member must have length greater than or equal to {lowest}"
        if highest is not None and len(value) > highest:
            yield f"Member must have length less than or equal to {highest}"
    elif not isinstance(value, bool):
        if lowest is not None and value < lowest:
            yield f"Member must have value greater than or equal to {lowest}"
        if highest is not None and value > highest:
            yield f"Member must have value less than or equal to {highest}"
    if isinstance(value, str):
        pattern, enum = shape.get("pattern"), shape.get("enum")
        if pattern is not None and not compiled(pattern).fullmatch(value):
            yield f"Member must satisfy regular expression pattern: {pattern}"
        if enum is not None and value not in enum:
            yield f"Member must satisfy enum value set: [{', '.join(enum)}]"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_shown(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return str(value)


@functools.cache
def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]

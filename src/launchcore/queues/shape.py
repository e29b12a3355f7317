"""The shape of a run, whatever its queue: types, sizes, characters, absurd numbers. Pure.

Like :mod:`launchcore.queues.bounds`, it returns problems in words and raises nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final, TypeVar

import msgspec

from launchcore.plugin import RunSpec, SourceRef
from launchcore.queues.bounds import (
    ENV_NAME,
    LABEL_NAME,
    MAX_SPEC_BYTES,
    TYPE_NAME,
    json_problems,
    limits_problems,
    shown,
    title_problem,
    word_problem,
)

T = TypeVar("T")

MAX_COUNT: Final = {
    "command": 4096,
    "env": 512,
    "secrets": 64,
    "variables": 256,
    "inputs": 1024,
    "build_args": 256,
}
MAX_NAME: Final = 128
_JOB_REF: Final = re.compile(rf"{LABEL_NAME.pattern}:[1-9][0-9]{{0,8}}", re.ASCII)


def shape_problems(spec: RunSpec) -> list[str]:
    """What makes a run unreadable: types, sizes, counts. With any of these, nothing else can be said."""
    problems = [
        *json_problems(spec.source.fields, "source"),
        *json_problems(spec.variables, "variables"),
        *json_problems(spec.inputs, "inputs"),
    ]
    if problems or (problems := typed_problems(spec, RunSpec, MAX_SPEC_BYTES)):
        return problems
    counts = {name: len(getattr(spec, name)) for name in MAX_COUNT}
    return [
        f"{name}: {count} are too many (at most {MAX_COUNT[name]})"
        for name, count in counts.items()
        if count > MAX_COUNT[name]
    ]


def spec_problems(spec: RunSpec) -> list[str]:
    """What is wrong with a run of good shape, whatever its queue: characters, names, absurd numbers."""
    problems: list[str] = []
    problems += _source_problems(spec.source)
    problems += _words("command", enumerate(spec.command))
    if spec.command and not spec.command[0].strip():
        problems.append("command: its first word is empty")
    if spec.name is not None and (wrong := title_problem(spec.name, MAX_NAME)):
        problems.append(f"name: {wrong}")
    if spec.job is not None and not _JOB_REF.fullmatch(spec.job):
        problems.append(f"job: {shown(spec.job)} is not NAME:VERSION")
    if spec.dockerfile is not None and (wrong := _inside(spec.dockerfile)):
        problems.append(f"dockerfile: {wrong}")
    if spec.build_context is not None and (wrong := _inside(spec.build_context)):
        problems.append(f"build_context: {wrong}")
    problems += _words("env", spec.env.items())
    problems += names_problems("build_args", spec.build_args)
    problems += _words("build_args", spec.build_args.items())
    problems += limits_problems(spec.limits)
    return problems


def _source_problems(source: SourceRef) -> list[str]:
    if not TYPE_NAME.fullmatch(source.type):
        return [f"source.type: {shown(source.type)} is not a name"]
    return [f"source: it has {len(source.fields)} fields"] if len(source.fields) > 64 else []


def names_problems(path: str, names: Iterable[str]) -> list[str]:
    return [
        f"{path}: {shown(name)} is not a variable's name" for name in names if not ENV_NAME.fullmatch(name)
    ]


def typed_problems(value: T, kind: type[T], most: int) -> list[str]:
    """The types of all fields, however the value was made, and its size."""
    try:
        msgspec.convert(msgspec.to_builtins(value), kind)
        size = len(msgspec.json.encode(value))
    except (TypeError, ValueError, RecursionError) as error:
        return [str(error).replace("`", "").replace("$.", "").replace("\n", " ")[:300]]
    return [f"it is {size} bytes as JSON, and may be {most}"] if size > most else []


def _words(path: str, words: Iterable[tuple[object, str]]) -> Iterator[str]:
    for where, word in words:
        if wrong := word_problem(word):
            yield f"{path}[{shown(where) if isinstance(where, str) else where}]: {wrong}"


def _inside(path: str) -> str | None:
    """A file of the source is named relative to its root, and is inside it."""
    if wrong := title_problem(path, 1024):
        return wrong
    parts = PurePosixPath(path.replace("\\", "/"))
    return (
        f"{shown(path)} is not a path inside the source"
        if parts.is_absolute() or ".." in parts.parts
        else None
    )

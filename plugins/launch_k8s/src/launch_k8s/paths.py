"""Paths into plain objects: ``status.conditions[type=Ready].status``. Pure.

A path is keys with dots; ``[KEY=VALUE]`` picks the first of a list that has it, ``[*]`` any. Where a key
holds dots itself, it cannot be named.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_STEP: Final = re.compile(r"([A-Za-z0-9_-]+)((?:\[[^\[\]]*\])*)")
_PICK: Final = re.compile(r"\[([^\[\]]*)\]")


def problem(rule: str) -> str | None:
    """What is wrong with a rule, ``PATH`` or ``PATH=VALUE[,VALUE]``; ``None``: nothing."""
    path, _ = split_rule(rule)
    steps = _steps(path)
    if steps is None:
        return f"{rule[:80]!r} is no path: write keys with dots, as status.conditions[type=Ready].status=True"
    return None


@functools.lru_cache(maxsize=1024)  # the same few rules are read for every look at every run
def split_rule(rule: str) -> tuple[str, frozenset[str] | None]:
    """The path of a rule, and the values that make it hold (``None``: any that is there)."""
    depth = 0
    for at, letter in enumerate(rule):
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "=" and depth == 0:
            return rule[:at].strip(), frozenset(each.strip() for each in rule[at + 1 :].split(","))
    return rule.strip(), None


def holds(rule: str, value: Any) -> Mapping[str, Any] | None:
    """The mapping in which the rule's last key makes it hold; ``None``: it does not hold."""
    path, wanted = split_rule(rule)
    for parent, found in walk(path, value):
        if wanted is None:
            if found not in (None, "", False, [], {}):
                return parent
        elif text_of(found) in wanted:
            return parent
    return None


def walk(path: str, value: Any) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """Every (parent, value) that a path names in ``value``."""
    steps = _steps(path)
    if steps:
        yield from _walk(steps, value)


def text_of(value: Any) -> str:
    """A scalar as a rule writes it: ``true``, ``3``, ``Failed``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else ""


def _walk(
    steps: tuple[tuple[str, tuple[str, ...]], ...], value: Any
) -> Iterator[tuple[Mapping[str, Any], Any]]:
    if not isinstance(value, Mapping) or steps[0][0] not in value:
        return
    key, picks = steps[0]
    for found in _picked(value[key], picks):
        if len(steps) == 1:
            yield value, found
        else:
            yield from _walk(steps[1:], found)


def _picked(value: Any, picks: tuple[str, ...]) -> Iterator[Any]:
    if not picks:
        yield value
        return
    if not isinstance(value, list | tuple):
        return
    key, _, wanted = picks[0].partition("=")
    for each in value:
        if picks[0] == "*" or (
            isinstance(each, Mapping) and text_of(each.get(key.strip())) == wanted.strip()
        ):
            yield from _picked(each, picks[1:])


@functools.lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[tuple[str, tuple[str, ...]], ...] | None:
    steps: list[tuple[str, tuple[str, ...]]] = []
    at = 0
    while True:
        match = _STEP.match(path, at)
        if match is None:
            return None
        steps.append((match[1], tuple(_PICK.findall(match[2]))))
        at = match.end()
        if at == len(path):
            return tuple(steps)
        if path[at] != ".":
            return None
        at += 1

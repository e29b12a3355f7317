"""Reads YAML with the line of every key, for errors that point at it. Pure.

A strict part of YAML 1.2: one document of plain values. ``yes`` and ``no`` are texts, so are dates and
``1:30``; tags, merge keys and duplicate keys are refused; aliases work, within bounds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import attrs
import yaml

from launchcore.host.settings import Problem, SettingsError, join
from launchcore.plugin import Json

MAX_BYTES: Final = 256 * 1024
MAX_VALUES: Final = 10_000
"""With every alias written out: a few lines of nested aliases can stand for millions of values."""
MAX_NESTING: Final = 32

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE, _FALSE = re.compile(r"true|True|TRUE"), re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,40}", re.ASCII)
_BASED = re.compile(r"0o[0-7]{1,40}|0x[0-9a-fA-F]{1,40}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,40}|[0-9]{1,40}(\.[0-9]{0,40})?)([eE][-+]?[0-9]{1,4})?", re.ASCII)
_TEXT_TAG = "tag:yaml.org,2002:str"


@attrs.frozen(kw_only=True)
class Document:
    """A mapping from a file, and where its parts stand."""

    name: str
    value: Mapping[str, Json]
    lines: Mapping[str, int]
    """Line, from 1, of every key's path: ``builder.type``, ``queues[0]``."""


def parse_document(data: bytes, name: str) -> Document:
    """Read one YAML document that is a mapping; an empty one is an empty mapping.

    :param name: the file's name, for errors.
    :raises SettingsError: with one line for each thing that is wrong.
    """
    if len(data) > MAX_BYTES:
        raise _error(name, f"larger than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _error(f"{name} line {line}", "not UTF-8", "save the file as UTF-8") from None
    try:
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _error(
            f"{name} line {line}", f"the character {text[error.position]!r} is not allowed"
        ) from None
    except yaml.MarkedYAMLError as error:
        raise _syntax(name, error) from None
    except RecursionError:
        raise _error(name, "nested too deeply") from None
    if node is None or _empty(node):
        return Document(name=name, value={}, lines={})
    reading = _Reading(name)
    value = reading.value(node, "", 0)
    if not reading.problems and not isinstance(value, dict):
        reading.problem(node, "", "not a mapping", "write `key: value` lines")
    if reading.problems:
        raise SettingsError(reading.problems)
    return Document(name=name, value=value, lines=reading.lines)


class _Reading:
    """One walk over the nodes of one document."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[str, int] = {}
        self.problems: list[Problem] = []
        self.count = 0

    def value(self, node: yaml.Node, path: str, depth: int) -> Json:
        self.count += 1
        if self.count > MAX_VALUES or depth > MAX_NESTING:
            if not any(problem.hint == _BOMB for problem in self.problems):
                self.problem(node, path, "too much, or nested too deeply", _BOMB)
            return None
        if path:
            self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self.mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return [self.value(each, f"{path}[{at}]", depth + 1) for at, each in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag == _TEXT_TAG:
            return _plain(node.value) if node.style is None else node.value
        self.problem(node, path, f"the tag {node.tag[:60]!r} is not allowed", "leave it out, or use quotes")
        return None

    def mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Json]:
        found: dict[str, Json] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != _TEXT_TAG:
                self.problem(key_node, path, "a key must be a text")
                continue
            key: str = key_node.value
            inside = join(path, key)
            if key == "<<" and key_node.style is None:
                self.problem(key_node, path, "merge keys (<<) are not supported", "write the keys out")
            elif key in found:
                first = self.lines.get(inside)
                self.problem(key_node, inside, f"is given twice; the first is in line {first}")
            else:
                self.lines[inside] = key_node.start_mark.line + 1
                found[key] = self.value(value_node, inside, depth + 1)
        return found

    def problem(self, node: yaml.Node, path: str, message: str, hint: str | None = None) -> None:
        where = f"{self.name} line {node.start_mark.line + 1}"
        self.problems.append(Problem(path=f"{where}: {path}" if path else where, message=message, hint=hint))


_BOMB: Final = f"at most {MAX_VALUES} values, {MAX_NESTING} deep, with all aliases written out"


def _plain(text: str) -> Json:
    """A scalar without quotes, by the core schema of YAML 1.2 (section 10.3.2)."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


def _empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None and _plain(node.value) is None


def _syntax(name: str, error: yaml.MarkedYAMLError) -> SettingsError:
    mark = error.problem_mark or error.context_mark
    where = f"{name} line {mark.line + 1}" if mark else name
    problem = error.problem or error.context or "cannot be read"
    if "\\t" in problem:
        return _error(where, "a tab", "YAML indents with spaces only")
    context = f"{error.context}, " if error.context and error.problem else ""
    return _error(where, f"not YAML: {context}{problem}".replace("\n", " ")[:300])


def _error(where: str, message: str, hint: str | None = None) -> SettingsError:
    return SettingsError([Problem(path=where, message=message, hint=hint)])

"""What people write after flags, as values. Pure; raises ``ValueError`` with one line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SCP = re.compile(r"(?!-)[^/:\s]+:(?!//)")


def assignments(pairs: Iterable[str], flag: str) -> dict[str, str]:
    """``k=v`` pairs; everything after the first ``=`` is the value.

    :raises ValueError: no ``=``, no name, or a name twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"{flag} {pair!r}: write {flag} NAME=VALUE")
        if name in found:
            raise ValueError(f"{flag} {name} is given twice")
        found[name] = value
    return found


def values(pairs: Iterable[str], flag: str) -> dict[str, Any]:
    """``k=v`` pairs whose values are JSON where they parse as JSON, and text where they do not."""
    return {name: json_or_text(text) for name, text in assignments(pairs, flag).items()}


def json_or_text(text: str) -> Any:
    """``3`` → 3, ``true`` → True, ``[1, 2]`` → list, ``"3"`` → the text 3, ``adam`` → the text adam."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return text


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def environment(pairs: Iterable[str], mine: Mapping[str, str]) -> dict[str, str]:
    """``NAME=VALUE`` as it is; ``NAME`` alone takes the value that it has in ``mine``.

    :raises ValueError: a bad name, a name that ``mine`` does not have, a name twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not _NAME.match(name):
            raise ValueError(f"--env {pair!r}: {name!r} cannot be the name of a variable; write NAME=VALUE")
        if not equals:
            if name not in mine:
                raise ValueError(f"--env {name}: your environment has no {name}; write --env {name}=VALUE")
            value = mine[name]
        if name in found:
            raise ValueError(f"--env {name} is given twice")
        found[name] = value
    return found


def environment_file(text: str, name: str) -> dict[str, str]:
    """Lines ``NAME=VALUE``: ``#`` comments, an ``export`` in front and quotes around are understood.

    Nothing is expanded. :raises ValueError: with the file's name and the line's number.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip().removeprefix("export ").strip()
        if not stripped or stripped.startswith("#"):
            continue
        key, equals, value = stripped.partition("=")
        key, value = key.strip(), value.strip()
        if not equals or not _NAME.match(key):
            raise ValueError(f"{name} line {number}: expected NAME=VALUE, found {stripped[:40]!r}")
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[key] = value
    return found


def git_location(text: str) -> tuple[str, str | None]:
    """A git URL or path, and the ref after ``@`` if there is one.

    The ``@`` before a host is a user's name and stays: ``git@host:a/b@v1`` is ``git@host:a/b``, ``v1``.
    """
    scheme, separator, rest = text.partition("://")
    if separator:
        host, slash, path = rest.partition("/")
        head = f"{scheme}://{host}{slash}"
    elif (scp := _SCP.match(text)) is not None:
        head, path = scp.group(), text[scp.end() :]
    else:
        head, path = "", text
    path, at, ref = path.partition("@")
    if at and not ref:
        raise ValueError(f"--git {text!r}: nothing follows the @; write URL@REF")
    return head + path, ref or None

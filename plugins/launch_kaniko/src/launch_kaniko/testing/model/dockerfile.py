"""The part of the Dockerfile language that the model knows."""

from __future__ import annotations

import json
import re
import shlex

KNOWN = ["FROM", "ARG", "ENV", "RUN", "COPY", "WORKDIR", "USER", "CMD", "ENTRYPOINT", "LABEL"]


class ParseError(Exception):
    pass


def parse(text: str) -> list[tuple[str, str]]:
    """Instructions with their arguments, in order."""
    found = []
    for line in re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n?", "", text)).splitlines():
        if not line.strip():
            continue
        word, _, rest = line.strip().partition(" ")
        if word.upper() not in KNOWN:
            raise ParseError(f"dockerfile parse error on line 1: unknown instruction: {word}")
        found.append((word.upper(), " ".join(rest.split()) if word.upper() != "RUN" else rest.strip()))
    if not found:
        raise ParseError("file with no instructions")
    return found


def replace(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: values.get(found[1] or found[2], ""), text)


def words(text: str) -> list[str]:
    """A list in JSON, or what a shell gets."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return [str(each) for each in found] if isinstance(found, list) else ["/bin/sh", "-c", text]


def pairs(text: str) -> list[tuple[str, str]]:
    if "=" not in text.split(" ", 1)[0]:
        name, _, value = text.partition(" ")
        return [(name, value)]
    return [tuple(each.split("=", 1)) for each in shlex.split(text)]  # type: ignore[misc]

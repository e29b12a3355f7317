"""How large and of which characters anything from a stranger may be. Pure.

Each function returns problems in words, with the path of what is wrong; none raises.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

from launchcore.plugin import Json, Limits

MAX_SPEC_BYTES: Final = 256 * 1024
"""A whole run, as JSON."""
MAX_QUEUE_BYTES: Final = 1024 * 1024
"""A queue's whole configuration, as JSON."""
MAX_WORD_BYTES: Final = 128 * 1024 - 256
"""One word of a command, one variable: Linux takes 128 KiB for each (MAX_ARG_STRLEN)."""
MAX_NESTING: Final = 32
MAX_VALUES: Final = 10_000
MAX_INTEGER: Final = 2**63 - 1
MAX_SECONDS: Final = 10 * 365 * 86400.0
MAX_GRACE_SECONDS: Final = 86400.0
MIN_MEMORY: Final = 1024 * 1024
MAX_MEMORY: Final = 2**60

ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
"""A variable's name, and a secret's: POSIX, at most 128 characters."""
TYPE_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)
"""A name in the catalog: of a runner, a source, a builder."""
LABEL_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
"""A queue's or job's name: what every backend takes as the value of a label (63 characters)."""

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def shown(text: str, limit: int = 60) -> str:
    """A stranger's text inside an error: quoted, without control characters, cut."""
    return repr(text) if len(text) <= limit else repr(text[:limit])[:-1] + "…'"


def text_problem(text: str) -> str | None:
    """Texts may have tabs and line ends, but no other control characters, and must be Unicode."""
    found = _CONTROL.search(text)
    if not found:
        return None
    if found[0] == "\0":
        return "has a NUL character"
    return f"has the control character {found[0]!r}" if found[0] < "\ud800" else "is not valid Unicode"


def word_problem(text: str) -> str | None:
    """What is wrong with one word of a command or one variable's value."""
    problem = text_problem(text)
    if problem is None and len(text.encode()) > MAX_WORD_BYTES:
        return f"is larger than {MAX_WORD_BYTES} bytes"
    return problem


def title_problem(text: str, limit: int) -> str | None:
    """Names that people choose: one line, printable (no direction marks), not blank at the ends."""
    if not 1 <= len(text) <= limit:
        return f"must have 1 to {limit} characters, and has {len(text)}"
    if not text.isprintable():
        return "has a character that cannot be printed"
    return "begins or ends with a space" if text != text.strip() else None


def json_problems(value: Json, path: str) -> list[str]:
    """What keeps ``value`` from being plain JSON of a sane size. Stops at the first few."""
    problems: list[str] = []
    todo: list[tuple[Json, str, int]] = [(value, path, 0)]
    count = 0
    while todo and len(problems) < 5:
        inner, at, depth = todo.pop()
        count += 1
        if count > MAX_VALUES:
            return [*problems, f"{path}: more than {MAX_VALUES} values"]
        if depth > MAX_NESTING:
            problems.append(f"{path}: nested more than {MAX_NESTING} deep")
        elif isinstance(inner, Mapping):
            for key, each in inner.items():
                if not isinstance(key, str) or len(key) > 256 or text_problem(key):
                    problems.append(f"{at}: the key {shown(str(key))} is not a short text")
                else:
                    todo.append(
                        (each, f"{at}.{key}" if key.isprintable() else f"{at}.{shown(key)}", depth + 1)
                    )
        elif isinstance(inner, list | tuple):
            todo.extend((each, f"{at}[{index}]", depth + 1) for index, each in enumerate(inner))
        elif problem := _scalar_problem(inner):
            problems.append(f"{at}: {problem}")
    return problems


def _scalar_problem(value: Json) -> str | None:
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        return word_problem(value)
    if isinstance(value, int):
        return None if abs(value) <= MAX_INTEGER else "an integer of more than 64 bits"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{value} is not a number in JSON"
    return f"a {type(value).__name__} is not JSON"


def limits_problems(limits: Limits, path: str = "limits") -> list[str]:
    """Negative and absurd numbers."""
    problems = []
    seconds = (
        ("run_seconds", limits.run_seconds),
        ("start_seconds", limits.start_seconds),
        ("queue_seconds", limits.queue_seconds),
    )
    for name, value in seconds:
        if value is not None and not 0 < value <= MAX_SECONDS:
            problems.append(
                f"{path}.{name}: {value} is not more than 0 and at most {MAX_SECONDS:.0f} (10 years)"
            )
    memory = limits.memory_bytes
    if memory is not None and not MIN_MEMORY <= memory <= MAX_MEMORY:
        problems.append(
            f"{path}.memory_bytes: {memory} is not between {MIN_MEMORY} (1 MiB) and {MAX_MEMORY} bytes"
        )
    if not 0 <= limits.grace_seconds <= MAX_GRACE_SECONDS:
        problems.append(
            f"{path}.grace_seconds: {limits.grace_seconds} is not between 0 and {MAX_GRACE_SECONDS:.0f}"
        )
    return problems

"""The patterns of ``.gitignore``, as gitignore(5) and git's ``wildmatch.c`` define them. Pure.

A rule is matched against a path itself, never through its parents: the walk decides about a directory
before it looks inside. That is what lets two kinds of file (``.gitignore``, ``.launchignore``) be
layered; the tests compare every rule with ``git check-ignore``.
"""

from __future__ import annotations

import re

import attrs

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
    "space": r" \t\r\n\v\f",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_NEVER = "(?!)"


@attrs.frozen
class Rule:
    """One line. ``parts`` are the pattern's directories, when it is bound to a place, else empty."""

    pattern: re.Pattern[str]
    negated: bool
    only_directories: bool
    parts: tuple[str, ...]

    def matches(self, path: str, *, directory: bool) -> bool:
        """``path`` is relative to the directory of the file that holds the rule."""
        if self.only_directories and not directory:
            return False
        return self.pattern.fullmatch(path if self.parts else path.rpartition("/")[2]) is not None

    def reaches_into(self, directory: str) -> bool:
        """Whether something below ``directory`` may match, as far as the pattern's beginning says."""
        inside = directory.split("/")
        for part, name in zip(self.parts, inside, strict=False):
            if _crosses(part):
                return True
            if re.fullmatch(_segment(part), name, re.DOTALL) is None:
                return False
        return len(self.parts) > len(inside)


def read_rules(text: str) -> tuple[Rule, ...]:
    """All rules of a file, in order: the last that matches decides."""
    lines = text.removeprefix("\ufeff").split("\n")
    rules = (read_rule(line.removesuffix("\r")) for line in lines)
    return tuple(rule for rule in rules if rule is not None)


def read_rule(line: str) -> Rule | None:
    """One line; ``None`` for an empty one and a comment."""
    if line.startswith("#"):
        return None
    line = _without_trailing_spaces(line)
    negated = line.startswith("!")
    line = line[negated:]
    only_directories = line.endswith("/")
    line = line[: len(line) - only_directories]
    if not line:
        return None
    bound = "/" in line
    parts = tuple(line.removeprefix("/").split("/")) if bound else ()
    source = _path(parts) if bound else _segment(line)
    return Rule(re.compile(source, re.DOTALL), negated, only_directories, parts)


def _without_trailing_spaces(line: str) -> str:
    """Trailing spaces go, unless escaped with a backslash."""
    kept = line.rstrip(" ")
    backslashes = len(kept) - len(kept.rstrip("\\"))
    return f"{kept} " if backslashes % 2 and kept != line else kept


def _crosses(part: str) -> bool:
    """Two stars or more, and nothing else."""
    return len(part) > 1 and not part.strip("*")


def _path(parts: tuple[str, ...]) -> str:
    """``**`` as a whole part crosses directories; anything else stays within one."""
    out: list[str] = []
    last = len(parts) - 1
    for index, part in enumerate(parts):
        if _crosses(part):
            # At the end it wants something inside; elsewhere any number of directories, also none.
            out.append("(?:.+)" if index == last else "(?:.*/)?")
        else:
            out.append(_segment(part) + ("" if index == last else "/"))
    return "".join(out)


def _segment(part: str) -> str:
    """One part of a pattern as a regular expression. A broken one (an open bracket) matches nothing."""
    out: list[str] = []
    index = 0
    while index < len(part):
        one = part[index]
        index += 1
        if one == "*":
            if out[-1:] != ["[^/]*"]:
                out.append("[^/]*")
        elif one == "?":
            out.append("[^/]")
        elif one == "[":
            text, index = _bracket(part, index)
            out.append(text)
        elif one == "\\":
            if index == len(part):
                return _NEVER
            out.append(re.escape(part[index]))
            index += 1
        else:
            out.append(re.escape(one))
    return "".join(out)


def _bracket(part: str, index: int) -> tuple[str, int]:
    """The set that begins at ``index``, and where it ends."""
    negated = part[index : index + 1] in ("!", "^")
    index += negated
    members: list[str] = []
    first = True
    while index < len(part) and (first or part[index] != "]"):
        first = False
        if part.startswith("[:", index) and (end := part.find(":]", index + 2)) >= 0:
            name = part[index + 2 : end]
            if name not in _CLASSES:
                return _NEVER, len(part)
            members.append(_CLASSES[name])
            index = end + 2
            continue
        low, index = _letter(part, index)
        if part.startswith("-", index) and part[index + 1 : index + 2] not in ("", "]"):
            high, index = _letter(part, index + 1)
            if low <= high:
                members.append(f"{re.escape(low)}-{re.escape(high)}")
                continue
        members.append(re.escape(low))  # also the beginning of a range that is upside down, as in git
    if index >= len(part):
        return _NEVER, len(part)
    body = "".join(members)
    if not body:
        return ("[^/]" if negated else _NEVER), index + 1
    return (f"[^/{body}]" if negated else f"(?!/)[{body}]"), index + 1


def _letter(part: str, index: int) -> tuple[str, int]:
    if part[index] == "\\" and index + 1 < len(part):
        index += 1
    return part[index], index + 1

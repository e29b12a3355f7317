"""`.dockerignore`: which files stay out of the build context. Pure.

The rules are those of https://docs.docker.com/build/concepts/context/#dockerignore-files: patterns of
Go's filepath.Match with ``**``, anchored at the root of the context; ``!`` takes back; the last line that
matches decides; what matches a directory matches all in it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

import attrs


@attrs.frozen(kw_only=True)
class Pattern:
    """One line. ``back``: it takes files back in."""

    text: str
    back: bool
    expression: re.Pattern[str]


class Ignore:
    """The rules of one file, or none."""

    def __init__(self, patterns: Iterable[Pattern] = ()) -> None:
        self._patterns = tuple(patterns)
        self.takes_back = any(each.back for each in self._patterns)

    def ignored(self, path: str) -> bool:
        """Whether ``path`` (relative, with ``/``) stays out; of its parents, too, the last match counts."""
        out = False
        parts = path.split("/")
        heads = ["/".join(parts[: end + 1]) for end in range(len(parts))]
        for pattern in self._patterns:
            if pattern.back == out and any(pattern.expression.fullmatch(head) for head in heads):
                out = not pattern.back
        return out


def read_ignore(text: str) -> Ignore:
    """Read the text of a `.dockerignore`. What cannot be a pattern matches nothing.

    >>> read_ignore("data\\n!data/small.csv").ignored("data/large.csv")
    True
    """
    patterns = []
    for line in text.removeprefix("\ufeff").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        word = line.strip()
        back = word.startswith("!")
        word = word[1:].strip() if back else word
        if not word:
            continue
        clean = posixpath.normpath(word).lstrip("/")
        if clean in (".", "") or clean.startswith("../"):
            continue
        patterns.append(Pattern(text=clean, back=back, expression=_compile(clean)))
    return Ignore(patterns)


def _compile(pattern: str) -> re.Pattern[str]:
    result, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("**", at):
            at += 2
            if pattern.startswith("/", at):
                at += 1
                result += "(?:.*/)?"
            else:
                result += ".*"
            continue
        at += 1
        if char == "*":
            result += "[^/]*"
        elif char == "?":
            result += "[^/]"
        elif char == "\\" and at < len(pattern):
            result += re.escape(pattern[at])
            at += 1
        elif char == "[" and (end := pattern.find("]", at + 1)) > 0:
            inside = pattern[at:end].replace("\\", "\\\\").replace("[", "\\[")
            result += f"(?!/)[{inside}]"
            at = end + 1
        else:
            result += re.escape(char)
    try:
        return re.compile(result, re.DOTALL)
    except re.error:
        return re.compile(r"(?!)")

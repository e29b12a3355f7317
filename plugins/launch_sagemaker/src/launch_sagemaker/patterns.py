"""The patterns of the service model, which are Java's, as Python's. Pure.

https://docs.oracle.com/en/java/javase/21/docs/api/java.base/java/util/regex/Pattern.html
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Final

_CATEGORIES: Final = {"L": "a-zA-Z", "Z": " ", "N": "0-9"}
"""Unicode's categories, for a text in which :func:`_plain` has put one of these for each of them."""
_CLASSES: Final = {"Alnum": "a-zA-Z0-9", "Alpha": "a-zA-Z", "Digit": "0-9"}
_PROPERTY: Final = re.compile(r"\\p\{(\w+)\}")
_SETS: Final = re.compile(r"&&|--|~~|\|\||\[\^?[^]\\]*\[")
"""Classes in classes and their intersections, which Python has not, or means otherwise."""
_LINE_ENDS: Final = "\n\r\u0085\u2028\u2029"
"""What Java's ``.`` does not match."""
_DOT: Final = "[^\\n\\r\\u0085\\u2028\\u2029]"


def matches(pattern: str, text: str) -> bool:
    """Whether the service takes ``text``. A pattern that we cannot read is the service's to check.

    >>> matches(".*", "a b"), matches(".*", "a\\nb")
    (True, False)
    """
    compiled = _compiled(pattern)
    if compiled is None:
        return True
    if any(name in _CATEGORIES for name in _PROPERTY.findall(pattern)):
        text = "".join(map(_plain, text))
    return compiled.fullmatch(text) is not None


def one_line(text: str) -> bool:
    """Whether ``.*`` matches it.

    >>> one_line("a\\u2028b")
    False
    """
    return not any(end in text for end in _LINE_ENDS)


def _plain(one: str) -> str:
    """A character of the same category that needs no table."""
    if one.isascii():
        return one
    return {"L": "a", "Z": " ", "N": "0"}.get(unicodedata.category(one)[0], one)


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    names = set(_PROPERTY.findall(pattern))
    if not names <= {*_CATEGORIES, *_CLASSES} or _SETS.search(pattern):
        return None
    text = _PROPERTY.sub(lambda found: {**_CATEGORIES, **_CLASSES}[found[1]], pattern)
    try:
        return re.compile(_dots(text), re.ASCII)
    except re.error:
        return None


def _dots(pattern: str) -> str:
    """Every ``.`` that is neither escaped nor in a class, as Java means it."""
    found: list[str] = []
    inside = False
    for part in re.findall(r"\\.|.", pattern, re.DOTALL):
        if part == "." and not inside:
            found.append(_DOT)
            continue
        inside = part == "[" or (inside and part != "]")
        found.append(part)
    return "".join(found)

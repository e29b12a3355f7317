"""The patterns of AWS's service models are Java's; here they are Python's. Pure.

A reading of its own: the runner's requests are not judged by the runner's reading.
"""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from typing import Final

_NO_LINE_END: Final = "[^\\n\\r\\x85\\u2028\\u2029]"
_POSIX: Final = {"Alnum": "a-zA-Z0-9", "Alpha": "a-zA-Z", "Digit": "0-9", "Upper": "A-Z", "Lower": "a-z"}
# UTF-16 code units, in which Java's patterns name what lies above U+FFFF.
_SURROGATES: Final = "\\uD800\\uDC00-\\uDBFF\\uDFFF"


@functools.cache
def compiled(pattern: str) -> re.Pattern[str]:
    r"""To be used with ``fullmatch``: what SageMaker matches is the whole value.

    >>> bool(compiled(r"[\p{L}\p{N}_]+").fullmatch("naïve_2"))
    True
    >>> bool(compiled(".*").fullmatch("two\nlines"))
    False
    """
    return re.compile(translated(pattern), re.ASCII)


def translated(pattern: str) -> str:
    """The same in Python's language: classes of Unicode, and ``.``, which ends at more line ends in Java."""
    made: list[str] = []
    inside = False
    rest = pattern.replace(_SURROGATES, "\\U00010000-\\U0010FFFF")
    rest = re.sub(r"\$\{\d+,\d+\}", "$", rest)  # the end of a text, so many times: Java does not mind
    while rest:
        if found := re.match(r"\\p\{(\w+)\}", rest):
            ranges = _POSIX.get(found[1]) or _category(found[1])
            made.append(ranges if inside else f"[{ranges}]")
        elif found := re.match(r"\\.", rest, re.DOTALL):
            made.append(found[0])
        else:
            found = re.match(r".", rest, re.DOTALL)
            assert found is not None
            inside = _now_inside(found[0], inside)
            made.append(_NO_LINE_END if found[0] == "." and not inside else found[0])
        rest = rest[found.end() :]
    return "".join(made)


def _now_inside(sign: str, inside: bool) -> bool:
    return sign != "]" if inside else sign == "["


@functools.cache
def _category(name: str) -> str:
    """Everything in a category of Unicode (``L``, ``Zs``), as ranges for a class."""
    ranges: list[str] = []
    start: int | None = None
    for code in range(sys.maxunicode + 2):
        fits = code <= sys.maxunicode and unicodedata.category(chr(code)).startswith(name)
        if fits and start is None:
            start = code
        elif not fits and start is not None:
            ranges.append(f"\\U{start:08x}-\\U{code - 1:08x}")
            start = None
    return "".join(ranges)

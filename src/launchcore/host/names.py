"""Finding the name that somebody probably meant, and showing hostile text safely."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that is most like ``name``, or ``None`` when none is like it."""
    by_folded = {fold(candidate): candidate for candidate in names}
    close = difflib.get_close_matches(fold(name), by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None


def fold(key: str) -> str:
    """The form under which two spellings of a key are the same: ``Build-Args`` and ``build_args``."""
    return key.replace("-", "_").casefold()


def show(value: object, limit: int = 60) -> str:
    """A value for one line of an error: scalars as they are written, containers by what they are."""
    match value:
        case dict():
            return "a mapping"
        case list() | tuple() | set() | frozenset():
            return "a list"
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float() | str():
            text = repr(value)
            return text if len(text) <= limit else f"{text[: limit - 1]}…"
        case _:
            return f"a {type(value).__name__}"

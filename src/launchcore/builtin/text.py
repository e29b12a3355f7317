"""Texts from strangers: shown safely, in one line, of bounded length."""

from __future__ import annotations


def shown(text: str | bytes, limit: int = 120) -> str:
    """A hostile name in quotes, fit for a terminal and a log: control characters escaped, cut in the middle.

    >>> print(shown("train\\x1b[31m.py"))
    'train\\x1b[31m.py'
    >>> print(shown(b"\\xff"))
    '\\udcff'
    """
    return f"'{plain(text, limit)}'"


def plain(text: str | bytes, limit: int = 400) -> str:
    """Like :func:`shown`, without the quotes: for a line that another program printed."""
    if isinstance(text, bytes):
        text = text[: 8 * limit].decode("utf-8", "surrogateescape")
    if len(text) > limit:
        text = f"{text[: limit * 2 // 3]}…{text[-(limit // 3) :]}"
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def size(count: float) -> str:
    """A number of bytes for people: ``1.4 GiB``."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"

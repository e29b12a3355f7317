"""Durations, ages and sizes, as people write and read them. Pure."""

from __future__ import annotations

import datetime
import re

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw])?", re.ASCII)
_SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.ASCII | re.IGNORECASE)


def parse_duration(text: str) -> float:
    """Seconds from ``90``, ``90s``, ``15m``, ``1h30m``, ``2d``.

    :raises ValueError: it is none of these, or not above zero.
    """
    compact = text.strip().lower()
    total, at = 0.0, 0
    for match in _DURATION.finditer(compact):
        number, unit = match.groups()
        if match.start() != at or (unit is None and match.span() != (0, len(compact))):
            break
        total += float(number) * (0.001 if unit == "ms" else _UNITS[unit or "s"])
        at = match.end()
    if not compact or at != len(compact):
        raise ValueError(f"{text!r} is not a duration: write 90s, 15m, 1h30m or 2d")
    if total <= 0:
        raise ValueError("a duration must be above zero")
    return total


def parse_size(text: str) -> int:
    """Bytes from ``512M``, ``2GB`` (powers of ten), ``2GiB`` (powers of two), ``1048576``.

    :raises ValueError: it is none of these, or not above zero.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size: write 512M, 2G or 2GiB")
    number, unit, binary = match.groups()
    factor = _BINARY.get(unit.lower(), 1) if binary else _SIZES[unit.lower()]
    size = round(float(number) * factor)
    if size <= 0:
        raise ValueError("a size must be above zero")
    return size


def parse_since(text: str, now: float) -> float:
    """UNIX seconds from a duration before ``now`` (``2h``) or a date (``2026-01-31``, ISO 8601).

    A date without a zone is local time.
    :raises ValueError: it is neither.
    """
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        return datetime.datetime.fromisoformat(text.strip()).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text!r} is neither a duration (2h, 3d) nor a date (2026-01-31)") from None


def duration(seconds: float) -> str:
    """A duration for people: ``12 ms``, ``3.4 s``, ``2m 05s``, ``1h 02m``, ``3d 04h``."""
    seconds = max(0.0, seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"


def age(then: float | None, now: float) -> str:
    """How long ago: ``now``, ``12s ago``, ``3m ago``, ``5h ago``, ``2d ago``; ``in 5s`` when ahead."""
    if then is None:
        return "-"
    seconds = now - then
    if abs(seconds) < 1:
        return "now"
    whole = int(abs(seconds))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if whole >= size:
            text = f"{whole // size}{unit}"
            break
    else:
        text = f"{whole}s"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def moment(at: float) -> str:
    """A time of day with its date, local: ``2026-01-31 14:02:11``."""
    return datetime.datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def size(count: float) -> str:
    """Bytes for people: ``812 B``, ``14.2 kB``, ``3.1 GB``."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        count /= 1000
        if count < 999.5 or unit == "TB":
            break
    return f"{count:.1f} {unit}" if count < 99.5 else f"{count:.0f} {unit}"

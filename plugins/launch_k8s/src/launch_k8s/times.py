"""Times of the Kubernetes API. Pure."""

from __future__ import annotations

import datetime
import re
from typing import Final

_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_STEPS: Final = (30, 60, 120, 300, 600, 1800, 3600)


def unix(text: object) -> float | None:
    """UNIX seconds of an RFC 3339 time, as the API writes it; ``None`` for anything else.

    >>> unix("1970-01-01T00:01:00Z"), unix("1970-01-01T01:00:00.5+01:00"), unix(None)
    (60.0, 0.5, None)
    """
    match = _RFC3339.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    try:
        year, month, day, hour, minute, second = (int(match[place]) for place in range(1, 7))
        at = datetime.datetime(year, month, day, hour, minute, second, tzinfo=datetime.UTC)
    except ValueError:
        return None
    seconds = at.timestamp() + float(match[7] or 0)
    if match[8]:
        offset = int(match[9]) * 3600 + int(match[10]) * 60
        seconds -= offset if match[8] == "+" else -offset
    return seconds


def roughly(seconds: float) -> str:
    """ "For how long", changing seldom: the last of 30 s, 1 min, 2 min, 5 min … that has passed.

    A warning that ends in it is a new one only now and then.

    >>> roughly(3), roughly(47), roughly(100), roughly(8000)
    ('', ' for 30 s', ' for 1 min', ' for 2 h')
    """
    if seconds < _STEPS[0]:
        return ""
    if seconds >= 2 * 3600:
        return f" for {int(seconds // 3600)} h"
    step = max(step for step in _STEPS if step <= seconds)
    return f" for {step} s" if step < 60 else f" for {step // 60} min" if step < 3600 else " for 1 h"

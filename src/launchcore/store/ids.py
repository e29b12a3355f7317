"""Names that the store gives out."""

from __future__ import annotations

import re
import secrets

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32, lower case: no i, l, o, u, so that an id can be read out."""
_TICKS_PER_SECOND = 8
_TIME_DIGITS = 7
_RANDOM_DIGITS = 5

RUN_ID = re.compile(rf"[{_DIGITS}]{{{_TIME_DIGITS + _RANDOM_DIGITS}}}")
_ATTEMPT_ID = re.compile(r"([0-9a-z]{1,40})-([1-9][0-9]{0,8})")


def new_run_id(now: float) -> str:
    """Twelve characters, safe as a DNS label: seven of time (an eighth of a second), five random.

    Later ids sort after earlier ones (until the year 2106). Two at the same moment collide once in
    33 million; the insert that meets an id again takes a new one.

    >>> len(new_run_id(1_000_000_000.0)), new_run_id(1e9) < new_run_id(1e9 + 1)
    (12, True)
    """
    ticks = int(now * _TICKS_PER_SECOND)
    return _digits(ticks, _TIME_DIGITS) + _digits(secrets.randbits(5 * _RANDOM_DIGITS), _RANDOM_DIGITS)


def new_token() -> str:
    """A lease's token: nobody guesses it."""
    return secrets.token_hex(16)


def attempt_id(run_id: str, number: int) -> str:
    """The id of a run's attempt."""
    return f"{run_id}-{number}"


def split_attempt_id(text: str) -> tuple[str, int] | None:
    """Run and number of an attempt's id; ``None`` if it is no such id.

    >>> split_attempt_id("6j2c0000k3fd-2")
    ('6j2c0000k3fd', 2)
    """
    match = _ATTEMPT_ID.fullmatch(text)
    return (match[1], int(match[2])) if match else None


def _digits(number: int, count: int) -> str:
    return "".join(_DIGITS[(number >> (5 * place)) & 31] for place in reversed(range(count)))

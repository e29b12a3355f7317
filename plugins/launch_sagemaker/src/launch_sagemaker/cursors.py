"""How far a job's log was read, to and from text that any process can go on from. Pure.

CloudWatch names a place in a stream by a token, which it forgets after a day. So a cursor has two names for
the place in each stream: the token with the number of events of its answer that were given out, and the time
of the last such event with the number of those that have this time.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

VERSION: Final = 1
LONGEST: Final = 1 << 20
"""Characters of a cursor that are read at all."""
MOST: Final = 1 << 53
_LABEL: Final = re.compile(r"[^:*\x00-\x1f]{1,512}")
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,1024}")
_NUMBERED: Final = re.compile(r"f/([0-9]{56})(/s)?", re.ASCII)
"""What tokens look like: the number of an event, of which the upper bits are its time in milliseconds."""


@attrs.define
class Place:
    """How far the streams of one instance were read: those before ``epoch`` to their end, this one so far."""

    epoch: int = 0
    """Which stream: the number that its name ends with; 0: it has none."""
    token: str | None = None
    """The token to ask with; ``None``: from the beginning, or from ``since``."""
    since: int = 0
    """The first time that is asked for, in UNIX milliseconds; 0: any."""
    skip: int = 0
    """Events of the answer that were given out."""
    at: int = 0
    """The latest time of an event that was given out; 0: none was."""
    count: int = 0
    """How many of this time were; -1: they did not come in the order of time, so it says nothing."""
    offset: int = 0
    """Bytes of the next line that were given out."""
    done: bool = False
    """This stream, too, was read to its end."""

    def gave(self, at: int) -> None:
        """One more event, of this time, was given out to its end."""
        self.skip += 1
        self.offset = 0
        if at > self.at or not self.at:
            self.at, self.count = at, 1
        elif at < self.at:
            self.count = -1
        elif self.count >= 0:
            self.count += 1

    def by_time(self) -> bool:
        """Name the place by its time. False: that is not exact."""
        self.token = None
        exact = self.count >= 0
        self.since, self.skip = (self.at, self.count) if exact else (self.at + 1, 0)
        if not exact:
            self.offset = 0
        return exact


@attrs.define
class Cursor:
    """A place for each instance, by its label (``algo-1``). ``ended``: the whole log was read."""

    places: dict[str, Place] = attrs.field(factory=dict)
    ended: bool = False


def cursor_text(places: Mapping[str, Place], *, ended: bool = False) -> str:
    """
    >>> cursor_text({"algo-1": Place(epoch=17, token="t", skip=2, at=1700, count=1)})
    '{"v":1,"p":{"algo-1":[17,"t",0,2,1700,1]}}'
    >>> cursor_text({"algo-1": Place(epoch=17, done=True)})
    '{"v":1,"p":{"algo-1":[17]}}'
    """
    if ended:
        return f'{{"v":{VERSION},"e":1}}'
    data = {"v": VERSION, "p": {label: _fields(place) for label, place in places.items()}}
    return json.dumps(data, separators=(",", ":"))


def read_cursor(text: str | None) -> Cursor:
    """:raises ValueError: it is none of ours."""
    if text is None:
        return Cursor()
    if len(text) > LONGEST:
        raise ValueError("too long for a log cursor")
    try:
        data = json.loads(text)
        if data["v"] != VERSION:
            raise ValueError("a log cursor of another version")
        if data.get("e"):
            return Cursor(ended=True)
        return Cursor(places={_label(label): _place(fields) for label, fields in data["p"].items()})
    except (KeyError, TypeError, IndexError, AttributeError, RecursionError):
        raise ValueError("not a log cursor of this runner") from None


def token_time(token: str) -> float | None:
    """The time that a token stands at, in UNIX seconds, where it is of the form that CloudWatch uses.

    >>> token_time("f/36568123980095166991926205101937278246648320444233383935/s")
    1639771391.249
    """
    found = _NUMBERED.fullmatch(token)
    return None if found is None else (int(found[1]) >> 144) / 1000


def _fields(place: Place) -> list[int | str]:
    if place.done:
        return [place.epoch]
    numbers = [place.since, place.skip, place.at, place.count, place.offset]
    while numbers and not numbers[-1]:
        numbers.pop()
    return [place.epoch, _packed(place.token), *numbers]


def _place(fields: list[Any]) -> Place:
    epoch = _number(fields[0])
    if len(fields) == 1:
        return Place(epoch=epoch, done=True)
    since, skip, at, count, offset = [*fields[2:], 0, 0, 0, 0, 0][:5]
    return Place(
        epoch=epoch,
        token=_unpacked(fields[1]),
        since=_number(since),
        skip=_number(skip),
        at=_number(at),
        count=-1 if count == -1 else _number(count),
        offset=_number(offset),
    )


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < MOST:
        raise ValueError("a number in the log cursor is none")
    return value


def _label(value: str) -> str:
    if not _LABEL.fullmatch(value):
        raise ValueError("a label in the log cursor is none")
    return value


def _packed(token: str | None) -> str:
    """Half as long, where it is of the usual form: a job may have a hundred instances."""
    found = _NUMBERED.fullmatch(token or "")
    if found is None:
        return token or ""
    digits = base64.urlsafe_b64encode(int(found[1]).to_bytes(24, "big")).decode()
    return f"~{digits}{found[2] or ''}"


def _unpacked(text: object) -> str | None:
    if not isinstance(text, str):
        raise TypeError
    if not text:
        return None
    if not _TOKEN.fullmatch(text):
        raise ValueError("a token in the log cursor is none")
    if not text.startswith("~"):
        return text
    digits, slash, end = text[1:].partition("/")
    token = f"f/{int.from_bytes(base64.urlsafe_b64decode(digits), 'big'):056d}{slash}{end}"
    if _packed(token) != text:
        raise ValueError("a token in the log cursor is none")
    return token

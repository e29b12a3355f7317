"""The log API's answers → lines, and cursors that name a place in them. Pure.

With ``timestamps=true`` each line begins with the time at which the node read it. ``sinceTime`` is cut to
whole seconds on its way to the node (kubelet, ``server.go``), and gives every line from that second on, in
the order of the file. A position therefore says: which second to ask for, and how many lines of that answer
are known. Lines of standard output and error are timed side by side, so times alone are not in order; their
order in the file never changes.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

import attrs

SETTLED: Final = 3
"""Seconds after which no line with an earlier time is written any more."""
VERSION: Final = 1


@attrs.define
class Position:
    """How far the log of one container was read. Seconds are UNIX's; ``since`` 0 is the beginning."""

    restart: int = 0
    """Which start of the container is read: a restarted one has a log for each."""
    since: int = 0
    known: int = 0
    """Lines of an answer to ``since`` that were read."""
    first: str = ""
    """The time of the first line of such an answer: when it is another, the log was rotated."""
    last: str = ""
    """The latest time of a line that was read."""
    offset: int = 0
    """Bytes of the next line that were read."""
    latest: int = 0
    """The second of ``last``."""
    candidate: int = 0
    candidate_known: int = 0
    candidate_first: str = ""

    def advance(self, at: str, second: int) -> None:
        """One more line, of this time, was read to its end."""
        self.offset = 0
        if second > self.latest:
            # Nothing that was read has this second or a later one.
            if self.candidate and second - self.candidate >= SETTLED:
                self.since, self.known = self.candidate, self.candidate_known
                self.first = self.candidate_first
                self.candidate = 0
            if not self.candidate:
                self.candidate, self.candidate_known, self.candidate_first = second, 0, at
            self.latest = second
        if second >= self.since:
            self.known += 1
            self.first = self.first or at
        if self.candidate and second >= self.candidate:
            self.candidate_known += 1
        self.last = max(self.last, at)

    def copy(self) -> Position:
        return attrs.evolve(self)

    @property
    def since_time(self) -> str | None:
        """As the API takes it."""
        return f"{datetime.fromtimestamp(self.since, UTC):%Y-%m-%dT%H:%M:%SZ}" if self.since else None


class Skip:
    """Leaves out, of an answer, what a position knows already."""

    def __init__(self, position: Position) -> None:
        self._left = position.known
        self._first = position.first
        self._last = position.last
        self._checked = not position.known
        self._by_time = False
        self.moved = False
        """The position's lines are not in this answer any more."""
        self.gap: str | None = None

    def wanted(self, at: str) -> bool:
        """Whether a line of this time is new."""
        if not self._checked:
            self._checked = True
            if at != self._first:
                # The node has moved the log away that the position counts in: only times are left.
                self._by_time = self.moved = True
                if at > self._last:
                    self.gap = "the node has rotated the log meanwhile"
        if self._by_time:
            return at > self._last
        if self._left:
            self._left -= 1
            return False
        return True


class Lines:
    """Splits an answer into lines with their times."""

    def __init__(self) -> None:
        self._rest = b""
        self._prefix = ""
        self._second = 0

    def feed(self, data: bytes) -> list[tuple[str, int, bytes]]:
        """``(time, second, line with its end)`` of each line that is complete."""
        parts = (self._rest + data).split(b"\n")
        self._rest = parts.pop()
        return [self._line(part, b"\n") for part in parts]

    def rest(self, *, part: bool = False) -> list[tuple[str, int, bytes]]:
        """What came after the last line's end, when nothing more will come.

        :param part: it is not the whole line: what has not even a whole time is of no use.
        """
        rest, self._rest = self._rest, b""
        return [self._line(rest, b"")] if rest and (b" " in rest or not part) else []

    @property
    def held(self) -> int:
        """Bytes of a line that is not complete."""
        return len(self._rest)

    def _line(self, part: bytes, end: bytes) -> tuple[str, int, bytes]:
        time, space, text = part.partition(b" ")
        at = time.decode("ascii", "replace")
        if at[:19] != self._prefix:
            try:
                second = unix_second(at)
            except ValueError:
                # Not a line of a log: the node's own words about why there is none.
                return "", self._second, part + end
            self._prefix, self._second = at[:19], second
        return at, self._second, text + end if space else end


def unix_second(at: str) -> int:
    """The whole UNIX second of an RFC 3339 time with up to nine digits after the point.

    :raises ValueError: it is no such time.
    """
    rest = at[19:]
    zone = rest.lstrip(".0123456789").replace("Z", "+00:00")
    if at[10:11] != "T" or not zone:
        raise ValueError(f"{at[:40]!r} is no time")
    return int(datetime.fromisoformat(at[:19] + zone).timestamp())


@attrs.define
class Cursor:
    """How far the log of an attempt was read: a position in each pod's, and the pods that are done."""

    positions: dict[str, Position] = attrs.field(factory=dict)
    done: set[str] = attrs.field(factory=set)

    def text(self) -> str:
        """As text, for another process."""
        places = {
            pod: [each.restart, each.since, each.known, each.first, each.last, each.offset]
            for pod, each in sorted(self.positions.items())
            if pod not in self.done
        }
        data: dict[str, Any] = {"v": VERSION, "p": places}
        if self.done:
            data["d"] = sorted(self.done)
        return json.dumps(data, separators=(",", ":"))


def read_cursor(text: str | None) -> Cursor:
    """:raises ValueError: it is none of ours."""
    if text is None:
        return Cursor()
    data = json.loads(text)
    try:
        if data["v"] != VERSION:
            raise ValueError(f"a log cursor of version {data['v']}")
        places = {
            str(pod): Position(
                restart=each[0],
                since=each[1],
                known=each[2],
                first=each[3],
                last=each[4],
                offset=each[5],
                latest=unix_second(each[4]) if each[4] else 0,
            )
            for pod, each in data["p"].items()
        }
        return Cursor(positions=places, done=set(data.get("d") or ()))
    except (KeyError, TypeError, IndexError, AttributeError):
        raise ValueError("not a log cursor of this runner") from None

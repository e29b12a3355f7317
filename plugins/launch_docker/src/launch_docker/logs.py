"""How far a log was read: messages in, bytes and cursors out. Pure.

A cursor says ``since`` which time to ask the engine for, and how many messages of the answer are already
known: the engine's order of messages is stable, while their times are not strictly ascending (standard
output and error are read side by side), so that a time alone would lose or repeat some.
"""

from __future__ import annotations

import collections
from bisect import bisect_left, bisect_right
from datetime import UTC, datetime
from itertools import accumulate
from typing import Final

import attrs

from launch_docker.frames import Block, seconds

SETTLED: Final = 5.0
"""Seconds after which no message with an earlier time is written any more."""


@attrs.define
class Position:
    """How far a log was read. ``since`` is a time as the engine writes it; "" is the beginning.

    ``known``: messages of an answer to ``since`` that were read. ``total``: messages from the log's
    beginning. ``offset``: bytes of the next message that were read.
    """

    since: str = ""
    known: int = 0
    total: int = 0
    offset: int = 0
    latest: str = ""
    first: str = ""
    """The time of the log's first message: when it is another, the beginning was rotated away."""
    candidate: str = ""
    candidate_known: int = 0
    settles: str = ""
    """The time from which on the candidate is old enough."""

    def cursor(self) -> str:
        """As text, for another process."""
        return f"1|{self.since}|{self.known}|{self.total}|{self.offset}|{self.first}"

    def advance(self, times: list[str]) -> None:
        """More messages, with these times, were read to their ends."""
        if times and times[0] >= self.since and times == sorted(times):
            self._ascend(times)
        else:
            for at in times:
                self._step(at)

    def _step(self, at: str) -> None:
        """One message."""
        self.total += 1
        self.offset = 0
        self.first = self.first or at
        if at >= self.since:
            self.known += 1
        else:
            # The clock went back: only the whole log, counted from its beginning, is in a known order.
            self.since, self.known, self.candidate = "", self.total, ""
        if self.candidate and at >= self.candidate:
            self.candidate_known += 1
        if at > self.latest:
            # Nothing before this message has its time or a later one.
            if not self.candidate or at >= self.settles:
                self._settle(at)
            self.latest = at

    def _ascend(self, times: list[str]) -> None:
        """The same for many whose times ascend, at the cost of a few."""
        begin, end = 0, len(times)
        while begin < end:
            # The next message with which _step would do more than count.
            turn = bisect_right(times, self.latest, begin)
            if self.candidate:
                turn = max(turn, bisect_left(times, self.settles, begin))
            counted = min(turn + 1, end)
            self.total += counted - begin
            self.known += counted - begin
            if self.candidate:
                self.candidate_known += counted - bisect_left(times, self.candidate, begin, counted)
            if turn < end:
                self._settle(times[turn])
            self.latest = max(self.latest, times[counted - 1])
            begin = counted
        self.offset = 0
        self.first = self.first or times[0]

    def _settle(self, at: str) -> None:
        """The candidate is old enough to be asked for; the message at ``at`` is the next one."""
        if self.candidate:
            self.since, self.known = self.candidate, self.candidate_known
        self.candidate, self.candidate_known = at, 1
        later = datetime.fromtimestamp(seconds(at) + SETTLED, UTC)
        self.settles = f"{later:%Y-%m-%dT%H:%M:%S.%f}000Z"


def position(cursor: str | None) -> Position:
    """The position that a cursor names.

    :raises ValueError: it is none of ours.
    """
    if cursor is None:
        return Position()
    version, since, known, total, offset, first = cursor.split("|")
    if version != "1":
        raise ValueError(f"a log cursor of version {version!r}")
    return Position(
        since=since, known=int(known), total=int(total), offset=int(offset), latest=since, first=first
    )


class Pending:
    """Messages that were received and not yet given out, after skipping those that are known."""

    def __init__(self, start: Position) -> None:
        self.position = start
        self.size = 0
        self.gap: str | None = None
        self._skip = start.known
        self._fresh = True
        self._since = start.since
        self._blocks: collections.deque[Block] = collections.deque()

    def add(self, block: Block) -> None:
        if not block.times:
            return
        if self._fresh and self._skip and self._is_gone(block.times[0]):
            # The message that the cursor stands on is gone: the engine rotates its files.
            at, since = block.times[0], self._since or self.position.first
            self.gap = f"the engine has rotated its log away, from {since} to {at}"
            self._skip = 0
            self.position = Position(since=at)
        self._fresh = False
        if self._skip:
            known = min(self._skip, len(block.times))
            self._skip -= known
            self.position.latest = max(self.position.latest, *block.times[:known])
            block = Block(block.times[known:], block.parts[known:])
        if block.times:
            self._blocks.append(block)
            self.size += sum(map(len, block.parts))

    def _is_gone(self, at: str) -> bool:
        """The first message that comes is later than the one on which the cursor stands."""
        return at > self._since if self._since else bool(self.position.first) and at != self.position.first

    def take(self, limit: int) -> bytes:
        """At most ``limit`` bytes, but at least one; the position moves with them."""
        found: list[bytes] = []
        room = max(limit, 1)
        while self._blocks and room > 0:
            block, offset = self._blocks[0], self.position.offset
            if offset:  # of the first message, the rest
                block.parts[0], whole = block.parts[0][offset:], block.parts[0]
            ends = list(accumulate(map(len, block.parts)))
            count = bisect_right(ends, room)
            found += block.parts[:count]
            used = ends[count - 1] if count else 0
            room -= used
            if count:
                self.size -= used + offset
                self.position.advance(block.times[:count])
                del block.times[:count], block.parts[:count]
            elif offset:
                block.parts[0] = whole
            if not block.times:
                self._blocks.popleft()
                continue
            if room:
                begin = self.position.offset
                found.append(block.parts[0][begin : begin + room])
                self.position.offset += room
            break
        return b"".join(found)

"""The engine's log stream → bytes and cursors. Pure.

A log is a sequence of *messages*, each with the time at which the engine read it: mostly one line; a longer
one in pieces of 16 KiB. A cursor says ``since`` which time to ask for, and how many messages of the answer
are already known: the engine's order of messages is stable, while their times are not strictly ascending
(standard output and error are read side by side), so that a time alone would lose or repeat some.
"""

from __future__ import annotations

import collections
import struct
from datetime import UTC, datetime
from typing import Final

import attrs

SETTLED: Final = 5.0
"""Seconds after which no message with an earlier time is written any more."""
_SIZE: Final = struct.Struct(">I")
PIECE: Final = 16 * 1024
"""The engine cuts lines that are longer into messages of this size."""


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

    def advance(self, at: str) -> None:
        """One more message, with its time, was read to its end."""
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
                if self.candidate:
                    self.since, self.known = self.candidate, self.candidate_known
                self.candidate, self.candidate_known = at, 1
                self.settles = _fixed_utc(seconds(at) + SETTLED)
            self.latest = at


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


def since_parameter(since: str) -> str | None:
    """A time as the engine's API takes it: ``seconds.nanoseconds``."""
    if not since:
        return None
    whole = int(seconds(since[:19] + since[_zone(since) :]))
    digits = since[20 : _zone(since)] if since[19:20] == "." else ""
    return f"{whole}.{digits:0<9}"


def seconds(at: str) -> float:
    """UNIX seconds of an RFC 3339 time with up to nine digits after the point."""
    zone = _zone(at)
    digits = at[20:zone] if at[19:20] == "." else ""
    whole = datetime.fromisoformat(at[:19] + at[zone:].replace("Z", "+00:00")).timestamp()
    return whole + (float(f"0.{digits}") if digits else 0.0)


def _zone(at: str) -> int:
    """Where the time zone begins."""
    for index in range(19, len(at)):
        if at[index] in "Z+-":
            return index
    raise ValueError(f"{at[:40]!r} is no time")


def _fixed_utc(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S.%f}000Z"


def _fixed(time: bytes) -> str:
    """A time in Docker's form, of fixed length and in UTC, so that it sorts as text. Podman has another."""
    at = time.decode("ascii", "replace")
    if len(at) == 30 and at[-1] == "Z":
        return at
    zone = _zone(at)
    whole = datetime.fromtimestamp(int(seconds(at[:19] + at[zone:])), UTC)
    digits = at[20:zone] if at[19:20] == "." else ""
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{digits:0<9}Z"


class Frames:
    """Splits what the engine sends into messages: (time, bytes)."""

    def __init__(self, *, tty: bool) -> None:
        self._tty = tty
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """:raises ValueError: this is no log stream."""
        self._buffer += data
        return self._raw() if self._tty else self._framed()

    def _framed(self) -> list[tuple[str, bytes]]:
        """``stream, 0, 0, 0, size (4 bytes, big endian), time, blank, payload``, again and again."""
        found = []
        # One copy: slices of bytes are copied once, those of a bytearray twice.
        buffer, at = bytes(self._buffer), 0
        end = len(buffer)
        while at + 8 <= end:
            (size,) = _SIZE.unpack_from(buffer, at + 4)
            if buffer[at] > 3 or size > 1 << 26:
                raise ValueError("not a multiplexed stream")
            start, at = at, at + 8 + size
            if at > end:
                at = start
                break
            if buffer[start] == 3:  # the engine's own error, at the end of a stream
                continue
            if buffer.find(b" ", start + 8, start + 39) == start + 38:  # Docker's times have 30 bytes
                time, payload = buffer[start + 8 : start + 38], buffer[start + 39 : at]
            else:
                time, _, payload = buffer[start + 8 : at].partition(b" ")
            if len(payload) < PIECE and not payload.endswith(b"\n"):
                # Only full pieces go on in the next message; the `local` driver forgets the end of the line.
                payload += b"\n"
            found.append((_fixed(time), payload))
        del self._buffer[:at]
        return found

    def _raw(self) -> list[tuple[str, bytes]]:
        """``time, blank, payload`` without a frame: a message ends at a line's end, or at 16 KiB."""
        found = []
        buffer, at = self._buffer, 0
        while (blank := buffer.find(b" ", at, at + 64)) >= 0:
            start = blank + 1
            line = buffer.find(b"\n", start, start + PIECE)
            end = line + 1 if line >= 0 else start + PIECE
            if end > len(buffer):
                break
            found.append((_fixed(bytes(buffer[at:blank])), bytes(buffer[start:end])))
            at = end
        del buffer[:at]
        return found

    def rest(self) -> list[tuple[str, bytes]]:
        """At the end of the stream: a last line without an end."""
        time, blank, payload = bytes(self._buffer).partition(b" ")
        self._buffer.clear()
        return [(_fixed(time), payload)] if self._tty and blank else []


class Chunks:
    """Undoes HTTP's chunked transfer coding (RFC 9112, section 7.1)."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = 0
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """:raises ValueError: this is not chunked."""
        self._buffer += data
        buffer = bytes(self._buffer)
        found, at, size = [], 0, len(buffer)
        while not self.ended:
            if self._left:
                # The rest of a chunk; the last two of its bytes are a line end.
                end = min(at + self._left, size)
                body = min(end, at + self._left - 2)
                if body > at:
                    found.append(buffer[at:body])
                self._left -= end - at
                at = end
                if self._left:
                    break
            line = buffer.find(b"\r\n", at)
            if line < 0:
                if size - at > 1024:
                    raise ValueError("not a chunk")
                break
            length = int(buffer[at:line].partition(b";")[0], 16)
            at = line + 2
            self.ended = length == 0
            self._left = length + 2 if length else 0
        del self._buffer[:at]
        return b"".join(found)


class Pending:
    """Messages that were received and not yet given out, after skipping those that are known."""

    def __init__(self, start: Position) -> None:
        self.position = start
        self.size = 0
        self.gap: str | None = None
        self._skip = start.known
        self._since = start.since
        self._queue: collections.deque[tuple[str, bytes]] = collections.deque()

    @property
    def skipping(self) -> bool:
        """Not all known messages have come again yet."""
        return self._skip > 0

    def add(self, messages: list[tuple[str, bytes]]) -> None:
        for at, data in messages:
            if self._skip:
                if self._skip == self.position.known and self._is_gone(at):
                    # The message that the cursor stands on is gone: the engine rotates its files.
                    since = self._since or self.position.first
                    self.gap = f"the engine has rotated its log away, from {since} to {at}"
                    self._skip = 0
                    self.position = Position(since=at)
                else:
                    self._skip -= 1
                    self._remember(at)
                    continue
            self._queue.append((at, data))
            self.size += len(data)

    def _is_gone(self, at: str) -> bool:
        """The first message that comes is later than the one on which the cursor stands."""
        return at > self._since if self._since else bool(self.position.first) and at != self.position.first

    def _remember(self, at: str) -> None:
        self.position.latest = max(self.position.latest, at)

    def take(self, limit: int) -> bytes:
        """At most ``limit`` bytes, but at least one; the position moves with them."""
        found, room = [], max(limit, 1)
        while self._queue and room > 0:
            at, data = self._queue[0]
            if not self.position.offset and len(data) <= room:
                self._queue.popleft()
                found.append(data)
                room -= len(data)
                self.size -= len(data)
                self.position.advance(at)
                continue
            piece = data[self.position.offset : self.position.offset + room]
            found.append(piece)
            room -= len(piece)
            if self.position.offset + len(piece) < len(data):
                self.position.offset += len(piece)
                break
            self._queue.popleft()
            self.size -= len(data)
            self.position.advance(at)
        return b"".join(found)

"""What the engine sends as a log → messages. Pure; in bulk, since a busy run writes 200,000 lines a second.

A *message* is mostly one line, with the time at which the engine read it; a longer line comes in pieces of
16 KiB.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Final

import attrs

_HEAD: Final = struct.Struct(">II")
"""The stream's number and three zeros, as one number; the size."""
_ENGINES_OWN: Final = 3
_LARGEST: Final = 1 << 26
PIECE: Final = 16 * 1024
"""The engine cuts lines that are longer into messages of this size."""
_TIME: Final = 30
"""Bytes of Docker's times: ``2026-11-23T17:50:50.596337603Z``."""


@attrs.define
class Block:
    """Some messages: the time of each, and its bytes."""

    times: list[str] = attrs.field(factory=list)
    parts: list[bytes] = attrs.field(factory=list)

    def __iadd__(self, other: Block) -> Block:
        self.times += other.times
        self.parts += other.parts
        return self

    def add(self, time: bytes, payload: bytes) -> None:
        """One more message; its time in whatever form the engine has."""
        self.times.append(fixed(time))
        self.parts.append(payload)


class Frames:
    """Splits what the engine sends into messages.

    :param tty: a terminal's output, without frames.
    :param exact: all line ends are there: a message without one goes on in the next (Podman).
    """

    def __init__(self, *, tty: bool, exact: bool = False) -> None:
        self._tty = tty
        self._piece = 0 if exact else PIECE
        self._rest = b""

    def feed(self, data: bytes) -> Block:
        """:raises ValueError: this is no log stream."""
        buffer = self._rest + data if self._rest else data
        found = Block()
        at = self._raw(buffer, found) if self._tty else _framed(buffer, found, self._piece)
        self._rest = buffer[at:]
        return found

    def _raw(self, buffer: bytes, found: Block) -> int:
        """``time, blank, payload`` without a frame: a message ends at a line's end, or at 16 KiB."""
        at = 0
        while (blank := buffer.find(b" ", at, at + 64)) >= 0:
            start = blank + 1
            line = buffer.find(b"\n", start, start + PIECE)
            end = line + 1 if line >= 0 else start + PIECE
            if end > len(buffer):
                break
            found.add(buffer[at:blank], buffer[start:end])
            at = end
        return at

    def rest(self) -> Block:
        """At the end of the stream: a last line without an end."""
        time, blank, payload = self._rest.partition(b" ")
        self._rest = b""
        found = Block()
        if self._tty and blank:
            found.add(time, payload)
        return found


def _framed(buffer: bytes, found: Block, piece: int) -> int:
    """``stream, 0, 0, 0, size (4 bytes, big endian), time, blank, payload``, again and again.

    Gives how many bytes were used. The loop is what a log costs: no calls in it but these.
    """
    text = buffer.decode("latin-1")  # a time is then one slice
    head, end, at = _HEAD.unpack_from, len(buffer), 0
    take_time, take_part = found.times.append, found.parts.append
    while at + 8 <= end:
        stream, size = head(buffer, at)
        start = at + 8
        stop = start + size
        if stream > 0x3FFFFFF or size > _LARGEST:
            raise ValueError("not a multiplexed stream")
        if stop > end:
            break
        at = stop
        if stream >> 24 == _ENGINES_OWN:  # its error, at the end of a stream
            continue
        if size > _TIME and text[start + 29 : start + 31] == "Z ":
            take_time(text[start : start + _TIME])
            part = buffer[start + _TIME + 1 : stop]
        else:
            time, _, part = buffer[start:stop].partition(b" ")
            take_time(fixed(time))
        if text[stop - 1] != "\n" and len(part) < piece:
            # Only full pieces go on in the next message; the `local` driver forgets the end of the line.
            part += b"\n"
        take_part(part)
    return at


class Chunks:
    """Undoes HTTP's chunked transfer coding (RFC 9112, section 7.1)."""

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """:raises ValueError: this is not chunked."""
        buffer = self._buffer + data if self._buffer else data
        found: list[bytes] = []
        at = self._begun(buffer, found)
        size = len(buffer)
        find, take = buffer.find, found.append
        while not self.ended and not self._left:
            line = find(b"\r\n", at)
            if line < 0:
                if size - at > 1024:
                    raise ValueError("not a chunk")
                break
            length = int(buffer[at:line].partition(b";")[0], 16)  # extensions are for others
            at = line + 2
            stop = at + length
            if length == 0:
                self.ended = True
            elif stop + 2 <= size:  # all of it is here
                take(buffer[at:stop])
                at = stop + 2
            else:
                self._left = length + 2
                at += self._begun(buffer[at:], found)
        self._buffer = buffer[at:]
        return b"".join(found)

    def _begun(self, buffer: bytes, found: list[bytes]) -> int:
        """What there is of a chunk that has begun; the last two of its bytes are a line end."""
        end = min(self._left, len(buffer))
        body = min(end, self._left - 2)
        if body > 0:
            found.append(buffer[:body])
        self._left -= end
        return end


# -- times -----------------------------------------------------------------------------------------


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


def fixed(time: bytes) -> str:
    """A time in Docker's form, of fixed length and in UTC, so that it sorts as text. Podman has another."""
    at = time.decode("ascii", "replace")
    if len(at) == _TIME and at[-1] == "Z":
        return at
    if len(at) == 20 and at[-1] == "Z":  # Podman's, where the machine's own time is UTC
        return f"{at[:19]}.000000000Z"
    zone = _zone(at)
    whole = datetime.fromtimestamp(int(seconds(at[:19] + at[zone:])), UTC)
    digits = at[20:zone] if at[19:20] == "." else ""
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{digits:0<9}Z"


def _zone(at: str) -> int:
    """Where the time zone begins."""
    for index in range(19, len(at)):
        if at[index] in "Z+-":
            return index
    raise ValueError(f"{at[:40]!r} is no time")

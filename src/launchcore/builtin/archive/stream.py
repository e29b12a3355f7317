"""The unpacked bytes of one gzip stream, with bounded memory and a bounded ratio."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import IO

from launchcore.builtin.text import shown

RATIO_FLOOR_BYTES = 64 << 20
"""Below this, the ratio is nobody's concern: a small file of zeros is no attack."""

_READ = 1 << 16
_WIDEST = 1 << 20


class BadArchive(Exception):
    """An archive that is refused; the text says why, in one line, with hostile names escaped."""


class Unpacked:
    """Reads forward only."""

    def __init__(self, stream: IO[bytes], *, max_ratio: int, check: Callable[[], None]) -> None:
        self._stream = stream
        self._max_ratio = max_ratio
        self._check = check
        self._inflate = zlib.decompressobj(wbits=31)  # a gzip header, one member, its checksum verified
        self._packed = b""
        self._ready = bytearray()
        self._taken = 0
        self._given = 0
        self._begun = False

    def exactly(self, count: int, name: str = "") -> bytes:
        """``count`` bytes, at most 1 MiB.

        :raises BadArchive: there are fewer, or they are damaged, or unpack to too much.
        """
        if count > _WIDEST:
            raise ValueError("reads are small, so that memory stays small")
        while len(self._ready) < count:
            if not self._more():
                where = f" in {shown(name)}" if name else ""
                raise BadArchive(f"it ends too early{where}")
        data = bytes(memoryview(self._ready)[:count])
        del self._ready[:count]
        return data

    def finish(self) -> None:
        """Read on to the end, where only padding may be.

        :raises BadArchive: something hides there.
        """
        padding = 0
        while self._ready or self._more():
            padding += len(self._ready)
            if padding > _WIDEST or any(self._ready):
                raise BadArchive("something comes after its end")
            self._ready.clear()
        if self._inflate.unused_data or self._stream.read(1):
            raise BadArchive("something comes after the compressed data: several archives in one?")

    def _more(self) -> bool:
        """Unpack some more; False at the end of the compressed data."""
        while not self._inflate.eof:
            if not self._packed:
                self._packed = self._stream.read(_READ)
                if not self._packed:
                    raise BadArchive("it is cut off: the compressed data ends too early")
                self._begin()
            try:
                data = self._inflate.decompress(self._packed, _WIDEST)
            except zlib.error as error:
                raise BadArchive(f"its compressed data is damaged ({error})") from error
            self._packed = self._inflate.unconsumed_tail
            self._given += len(data)
            self._check()
            if self._given > RATIO_FLOOR_BYTES and self._given > self._max_ratio * self._taken:
                raise BadArchive(f"it unpacks to more than {self._max_ratio} times its size")
            if data:
                self._ready += data
                return True
        return False

    def _begin(self) -> None:
        self._taken += len(self._packed)
        if self._begun:
            return
        self._begun = True
        if self._packed.startswith(b"PK"):
            raise BadArchive("it is a zip file; only gzip-compressed tar archives are taken")
        if not self._packed.startswith(b"\x1f\x8b"):
            raise BadArchive("it is no gzip-compressed tar archive")

"""gzip as a stream, on several threads: the bytes depend on the content alone. No I/O.

Blocks of a fixed size are compressed each for itself and end at a byte's edge, so that they follow each other
in one gzip member (RFC 1952, RFC 1951 §3.2.4; pigz does the same). What a sample shows to be incompressible
(weights, images, wheels) is stored as it is, since a store takes it faster than gzip does.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

BLOCK: Final = 1 << 20
_SAMPLE: Final = 8 << 10
_WORTH: Final = 0.9
_STORED: Final = 0xFFFF
_HEADER: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
"""gzip, deflate; no name, no time, no system."""
_LAST: Final = b"\x03\0"


def threads() -> int:
    """How many blocks to compress at once on this machine."""
    return max(1, min(4, len(os.sched_getaffinity(0))))


def blocks(pieces: Iterable[bytes], size: int = BLOCK) -> Iterator[bytes]:
    """The same bytes in blocks of ``size``, however they were cut before; the last may be shorter."""
    held: list[bytes] = []
    have = 0
    for piece in pieces:
        held.append(piece)
        have += len(piece)
        if have < size:
            continue
        joined = b"".join(held)
        full = have - have % size
        yield from (joined[at : at + size] for at in range(0, full, size))
        held, have = [joined[full:]], have - full
    if have:
        yield b"".join(held)


def deflated(block: bytes, level: int) -> bytes:
    """``block`` as whole deflate blocks, none of them the last."""
    if level == 0 or not _worth(block):
        parts: list[bytes | memoryview] = []
        for at in range(0, len(block), _STORED):
            part = memoryview(block)[at : at + _STORED]
            parts += (struct.pack("<BHH", 0, len(part), len(part) ^ _STORED), part)
        return b"".join(parts)
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(block) + packer.flush(zlib.Z_SYNC_FLUSH)


def _worth(block: bytes) -> bool:
    middle = max(0, (len(block) - _SAMPLE) // 2)
    sample = block[middle : middle + _SAMPLE]
    return len(zlib.compress(sample, 1)) < _WORTH * len(sample) + 16


def gzipped(pieces: Iterable[bytes], level: int, workers: int) -> Generator[bytes, None, None]:
    """``pieces`` as one gzip file; a few blocks are held at a time.

    :param workers: threads that compress beside the reader of ``pieces``.
    """
    check, size = 0, 0
    ahead: deque[Future[bytes]] = deque()
    yield _HEADER
    with ThreadPoolExecutor(workers, thread_name_prefix="context-gzip") as pool:
        for block in blocks(pieces):
            ahead.append(pool.submit(deflated, block, level))
            check = zlib.crc32(block, check)
            size += len(block)
            if len(ahead) > workers + 1:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    yield _LAST + struct.pack("<II", check, size & 0xFFFFFFFF)

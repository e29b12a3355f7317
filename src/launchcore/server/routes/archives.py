"""Archives: uploaded source, named by its content."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import IO

from launchcore.plugin import Fault, LaunchError, Reason
from launchcore.queues.wire import ArchiveStored
from launchcore.server.core import record
from launchcore.server.endpoints import BYTES, Answer, Call, Endpoint
from launchcore.server.problems import Refusal

_PIECE = 1 << 20
_HINT = "leave large files out with .launchignore, and fetch data where the run executes"


async def store(call: Call) -> Answer:
    """Gathered in a temporary file first, so that a slow sender holds neither a thread nor the store."""
    with tempfile.TemporaryFile(prefix="launchcore-upload-") as file:
        size, gathered = 0, bytearray()
        async for piece in call.chunks():
            size += len(piece)
            if size > call.core.options.max_archive:
                raise too_large(call.core.options.max_archive)
            gathered += piece
            if len(gathered) >= _PIECE:
                await call.core.call(file.write, bytes(gathered))
                gathered.clear()
        digest = await call.core.call(_put, call, file, bytes(gathered))
    await call.core.write(lambda tx: record(tx, call.who, "store archive", digest, f"{size} bytes"))
    return Answer(body=ArchiveStored(digest=digest), status=201)


async def head(call: Call) -> Answer:
    """Whether it is there."""
    if not await call.core.call(call.core.reading.has_archive, call.path["digest"]):
        raise LaunchError("no such archive", reason=Reason.SOURCE_FAILED, fault=Fault.USER)
    return Answer(body=b"", kind=BYTES)


async def fetch(call: Call) -> Answer:
    file = await call.core.call(call.core.reading.open_archive, call.path["digest"])
    try:
        piece = await call.core.call(file.read, _PIECE)
    except BaseException:
        file.close()
        raise
    return Answer(
        body=_pieces(call, file, piece),
        kind=BYTES,
        headers={"Content-Disposition": "attachment", "ETag": f'"{call.path["digest"]}"'},
    )


def too_large(limit: int) -> Refusal:
    return Refusal("too_large", f"the archive is larger than {limit} bytes", hint=_HINT)


def _put(call: Call, file: IO[bytes], rest: bytes) -> str:
    file.write(rest)
    file.seek(0)

    def chunks() -> Iterator[bytes]:
        while piece := file.read(_PIECE):
            yield piece

    return call.core.reading.put_archive(chunks(), limit=call.core.options.max_archive)


async def _pieces(call: Call, file: IO[bytes], piece: bytes) -> AsyncIterator[bytes]:
    try:
        while piece:
            yield piece
            piece = await call.core.call(file.read, _PIECE)
    finally:
        file.close()


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/archives",
        does=store,
        summary="Store an archive under the SHA-256 of its bytes. The same again changes nothing.",
        answer=ArchiveStored,
        status=201,
        takes_bytes=True,
    ),
    Endpoint(
        method="HEAD", path="/v1/archives/{digest}", does=head, summary="Whether it is there.", kind=BYTES
    ),
    Endpoint(
        method="GET",
        path="/v1/archives/{digest}",
        does=fetch,
        summary="An archive's bytes. Whoever reads one verifies them against its name.",
        kind=BYTES,
    ),
)

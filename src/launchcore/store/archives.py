"""Uploaded archives: files beside the database, named by the SHA-256 of their bytes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from launchcore.plugin import Fault, LaunchError, QueueUnavailable, Reason
from launchcore.store.engine import DEFAULT_LIMIT

__all__ = ["DEFAULT_LIMIT", "FileArchives", "no_archive", "parse_digest", "too_large"]

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_PARTIAL = ".upload-"
_ABANDONED_SECONDS = 86400.0


class FileArchives:
    """A directory of archives. Whoever reads one verifies its content against its name."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, chunks: Iterable[bytes], *, limit: int = DEFAULT_LIMIT) -> str:
        """Store an archive, durably, and return ``sha256:<hex>``. The same bytes again change nothing.

        :raises LaunchError: ``config_error`` (user): more than ``limit`` bytes; nothing is kept.
        :raises QueueUnavailable: it could not be written (disk full).
        """
        with _storing(self._directory):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._forget_abandoned()
            handle, name = tempfile.mkstemp(prefix=_PARTIAL, dir=self._directory)
        path = Path(name)
        try:
            with contextlib.closing(os.fdopen(handle, "wb", buffering=0)) as file:
                digest = _copy(chunks, file, limit, self._directory)
            with _storing(self._directory):
                path.replace(self._directory / digest)
                _sync_directory(self._directory)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return f"sha256:{digest}"

    def has(self, digest: str) -> bool:
        """Whether it is there. A text that is no digest is not."""
        name = parse_digest(digest)
        return name is not None and (self._directory / name).is_file()

    def open(self, digest: str) -> IO[bytes]:
        """Open it for reading.

        :raises LaunchError: ``source_failed`` (user): not there.
        """
        name = parse_digest(digest)
        if name is not None:
            with contextlib.suppress(FileNotFoundError):
                return (self._directory / name).open("rb")
        raise no_archive(digest)

    def digests(self) -> list[str]:
        """Of all that are there."""
        names = [path.name for path in self._directory.glob("[0-9a-f]*")]
        return sorted(f"sha256:{name}" for name in names if parse_digest(f"sha256:{name}"))

    def _forget_abandoned(self) -> None:
        """Remove what an upload left that was killed a day ago or earlier."""
        for path in self._directory.glob(f"{_PARTIAL}*"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < time.time() - _ABANDONED_SECONDS:
                    path.unlink()


def parse_digest(digest: str) -> str | None:
    """The hexadecimal digits of ``sha256:<hex>``; ``None``: it is no such text."""
    match = _DIGEST.fullmatch(digest)
    return match[1] if match else None


def no_archive(digest: str) -> LaunchError:
    """The error for an archive that is not there."""
    return LaunchError(
        f"no uploaded archive {digest[:80]!r}",
        reason=Reason.SOURCE_FAILED,
        fault=Fault.USER,
        hint="submit the directory again: that uploads it",
    )


def too_large(limit: int) -> LaunchError:
    """The error for an archive of more than ``limit`` bytes."""
    return LaunchError(
        f"the archive is larger than {limit} bytes",
        reason=Reason.CONFIG_ERROR,
        fault=Fault.USER,
        hint="leave large files out with .launchignore, and fetch data where the run executes",
    )


def _copy(chunks: Iterable[bytes], file: IO[bytes], limit: int, directory: Path) -> str:
    hashed = hashlib.sha256()
    size = 0
    for chunk in chunks:  # an OSError of the caller's own is not ours: it passes as it is
        size += len(chunk)
        if size > limit:
            raise too_large(limit)
        hashed.update(chunk)
        with _storing(directory):
            rest = memoryview(chunk)
            while rest:
                rest = rest[file.write(rest) :]
    with _storing(directory):
        os.fsync(file.fileno())
    return hashed.hexdigest()


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _storing(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise QueueUnavailable(f"cannot store an archive in {directory}: {error.strerror or error}") from None

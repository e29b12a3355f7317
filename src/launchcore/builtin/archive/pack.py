"""A directory as a deterministic archive: the same content is the same bytes, whoever packs it.

A gzip-compressed POSIX tar of regular files and directories, in a fixed order, without times, owners
or any mode but 0644 and 0755. Streams: memory does not grow with the content.
"""

from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path
from typing import IO

import attrs

from launchcore.builtin.archive.extract import RATIO_FLOOR_BYTES, ExtractLimits
from launchcore.builtin.archive.scan import Entry, PackLimits, Scan
from launchcore.builtin.text import shown, size
from launchcore.plugin import LaunchError, Reason

_LEVEL = 6


@attrs.frozen(kw_only=True)
class PackSummary:
    """What was packed. ``bytes`` is the content, ``packed_bytes`` the archive.

    ``skipped`` has one line for each thing that could not be packed, or changed while it was read.
    """

    files: int
    directories: int
    bytes: int
    packed_bytes: int
    skipped: tuple[str, ...] = ()


def pack(directory: Path, out: IO[bytes], *, limits: PackLimits | None = None) -> PackSummary:
    """Write the archive of ``directory`` to ``out``, respecting .gitignore and .launchignore files.

    :raises LaunchError: ``source_failed``: too large, unreadable, changed while read, unfit names. What
        was written to ``out`` by then is of no use.
    """
    scan = Scan(directory, limits or PackLimits())
    entries = scan.run()
    counted = _Counted(out)
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=counted, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 16) as tar,
    ):
        for entry in entries:
            if (note := _add(tar, entry)) is not None:
                scan.skipped.append(note)
    _check_ratio(entries, counted.count, scan.bytes)
    files = sum(not entry.directory for entry in entries)
    return PackSummary(
        files=files,
        directories=len(entries) - files,
        bytes=scan.bytes,
        packed_bytes=counted.count,
        skipped=tuple(scan.skipped),
    )


def _add(tar: tarfile.TarFile, entry: Entry) -> str | None:
    """Write one member; gives a warning when there is one."""
    info = tarfile.TarInfo(entry.name)
    info.mode = 0o755 if entry.directory or entry.executable else 0o644
    if entry.directory:
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
        return None
    try:
        # No blocking open, in case that somebody has put a pipe there since the walk.
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _failed(
            f"cannot read {shown(entry.name)}: {error.strerror}",
            "mend its permissions, or leave it out with a line in .launchignore",
        ) from error
    with os.fdopen(descriptor, "rb") as stream:
        before = os.fstat(descriptor)
        info.size = entry.bytes
        if before.st_size < entry.bytes:
            raise _changed(entry)
        try:
            tar.addfile(info, stream)
        except OSError as error:
            if error.errno is None:  # tarfile's own: the content ended early
                raise _changed(entry) from error
            raise
        after = os.fstat(descriptor)
    if after.st_size > entry.bytes:
        return f"{shown(entry.name)} grew while it was packed: its first {size(entry.bytes)} are in"
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise _changed(entry)
    return None


def _changed(entry: Entry) -> LaunchError:
    return _failed(
        f"{shown(entry.name)} changed while it was packed",
        "try again when nothing writes to it, or leave it out with a line in .launchignore",
    )


def _check_ratio(entries: list[Entry], packed: int, content: int) -> None:
    """Agents refuse what unpacks to far more than it is: better said here than there."""
    most = ExtractLimits().max_ratio
    if content > RATIO_FLOOR_BYTES and content > most * packed // 2:
        biggest = max(entries, key=lambda entry: entry.bytes)
        raise _failed(
            f"the archive would unpack to {content // packed} times its size, as an attack does; "
            f"the biggest file: {shown(biggest.name)} {size(biggest.bytes)}",
            "leave empty or repetitive data out with .launchignore, or make it in the run",
        )


class _Counted:
    """Counts what passes through to ``out``."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self.count = 0

    def write(self, data: bytes) -> int:
        self._out.write(data)
        self.count += len(data)
        return len(data)

    def flush(self) -> None:
        self._out.flush()


def _failed(detail: str, hint: str) -> LaunchError:
    return LaunchError(detail, reason=Reason.SOURCE_FAILED, hint=hint)

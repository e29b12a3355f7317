"""Extraction of an archive from a stranger.

``tarfile`` only decodes single headers here; its extraction and its filters are not used (CVE-2025-4517
and its kin). What is written: regular files and directories, under names that :mod:`.names` accepts,
each created new (``O_EXCL``, ``O_NOFOLLOW``) relative to a directory that is already open, so that
nothing in the archive can lead out of the target. Everything is counted before it is done.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import attrs

from launchcore.builtin.archive.members import Member, read_members
from launchcore.builtin.archive.names import BadName, Names, split
from launchcore.builtin.archive.stream import RATIO_FLOOR_BYTES as RATIO_FLOOR_BYTES  # noqa: PLC0414
from launchcore.builtin.archive.stream import BadArchive, Unpacked
from launchcore.builtin.text import shown, size
from launchcore.builtin.trees import empty
from launchcore.plugin import LaunchError, Reason

_CHUNK = 1 << 20


@attrs.frozen(kw_only=True)
class ExtractLimits:
    """How much one archive may be. ``max_ratio`` is unpacked to packed bytes."""

    max_bytes: int = 4 << 30
    max_files: int = 100_000
    max_ratio: int = 400


@attrs.frozen(kw_only=True)
class Extracted:
    """What was written."""

    files: int
    bytes: int


def extract(
    stream: IO[bytes],
    target: Path,
    *,
    limits: ExtractLimits | None = None,
    check: Callable[[], None] = lambda: None,
) -> Extracted:
    """Extract a gzip-compressed tar into the empty directory ``target``.

    :param check: called now and then; may raise. Whatever is raised, ``target`` is empty again then.
    :raises LaunchError: ``source_failed`` (fault: user), naming the member: hostile, broken or too large.
    """
    limits = limits or ExtractLimits()
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    writer = _Writer(root, limits, check)
    try:
        unpacked = Unpacked(stream, max_ratio=limits.max_ratio, check=check)
        for member in read_members(unpacked, max_members=limits.max_files):
            writer.write(member, unpacked)
        return Extracted(files=writer.files, bytes=writer.bytes)
    except (BadArchive, BadName) as error:
        empty(target)
        raise LaunchError(
            f"the archive is refused: {error}",
            reason=Reason.SOURCE_FAILED,
            hint="upload a directory with `launch submit`, which packs it safely",
        ) from error
    except BaseException:
        empty(target)
        raise
    finally:
        writer.close()
        os.close(root)


class _Writer:
    """Writes members below an open directory. The directories on the way to the last one stay open."""

    def __init__(self, root: int, limits: ExtractLimits, check: Callable[[], None]) -> None:
        self._root = root
        self._limits = limits
        self._check = check
        self._names = Names()
        self._way: list[tuple[str, int]] = []
        self.files = 0
        self.bytes = 0

    def write(self, member: Member, unpacked: Unpacked) -> None:
        parts = split(member.name)
        if not parts:
            if member.directory:
                return  # "./", the target itself
            raise BadArchive("a file without a name")
        if not member.directory and member.name.endswith("/"):
            raise BadName(f"{shown(member.name)} is a file with the name of a directory")
        self._names.add(parts, directory=member.directory)
        if self.bytes + member.size > self._limits.max_bytes:
            raise BadArchive(
                f"with {shown(member.name)} ({size(member.size)}) it is more than "
                f"{size(self._limits.max_bytes)}"
            )
        if member.directory:
            self._enter(parts)
            return
        self._file(self._enter(parts[:-1]), parts[-1], member, unpacked)
        self.files += 1
        self.bytes += member.size
        if self.files % 256 == 0:
            self._check()

    def _enter(self, parts: tuple[str, ...]) -> int:
        """Open, or make, a directory; nothing on the way may be a link."""
        common = 0
        for (name, _), part in zip(self._way, parts, strict=False):
            if name != part:
                break
            common += 1
        while len(self._way) > common:
            os.close(self._way.pop()[1])
        for part in parts[common:]:
            above = self._way[-1][1] if self._way else self._root
            try:
                os.mkdir(part, 0o755, dir_fd=above)
            except FileExistsError:
                pass
            else:
                os.chmod(part, 0o755, dir_fd=above)  # noqa: S103  # whatever the umask is
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            self._way.append((part, os.open(part, flags, dir_fd=above)))
        return self._way[-1][1] if self._way else self._root

    def _file(self, above: int, name: str, member: Member, unpacked: Unpacked) -> None:
        mode = 0o755 if member.executable else 0o644  # no setuid, no setgid, no sticky bit
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, mode, dir_fd=above)
        try:
            if os.fstat(descriptor).st_mode & 0o7777 != mode:
                os.fchmod(descriptor, mode)
            left = member.size
            while left:
                data = memoryview(unpacked.exactly(min(left, _CHUNK), member.name))
                left -= len(data)
                while data:
                    data = data[os.write(descriptor, data) :]
        finally:
            os.close(descriptor)

    def close(self) -> None:
        while self._way:
            os.close(self._way.pop()[1])

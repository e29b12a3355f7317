"""A cache of fetched trees: made once, copied for each attempt, bounded, the least used removed first.

Attempts get copies and never hard links, since a run may write to its tree. Entries of an earlier
boot are not trusted: after a power failure their files may be empty.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import msgspec

from launchcore.builtin.locks import locked, same, try_lock
from launchcore.plugin import LaunchError

_CHUNK = 1 << 20
_STALE_SECONDS = 60.0


@attrs.frozen(kw_only=True)
class TreeInfo:
    """What a tree holds. ``notes`` are lines for the log of every run that uses it."""

    files: int
    bytes: int
    notes: tuple[str, ...] = ()
    entries: int = 0
    """How many files, directories and links a copy has to have; the cache counts them."""


class TreeCache:
    """Trees under ``root`` by key (letters, digits, ``-``); at most about ``max_bytes`` together."""

    def __init__(self, root: Path, *, max_bytes: int) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._made = itertools.count()
        self._boot = _boot()

    def place(
        self, key: str, into: Path, make: Callable[[Path], TreeInfo], check: Callable[[], None]
    ) -> TreeInfo:
        """Put the tree ``key`` into the empty directory ``into``.

        :param make: fills the empty directory it is given, when the tree is not in the cache.
        """
        entry = self._root / f"{self._boot}-{key}"
        if (info := self._copy(entry, into, check)) is not None:
            return info
        with locked(self._root / "locks" / key[:3], check=check):
            info = self._copy(entry, into, check)  # somebody else may have made it meanwhile
            return info if info is not None else self._make(entry, into, make, check)

    def _copy(self, entry: Path, into: Path, check: Callable[[], None]) -> TreeInfo | None:
        try:
            descriptor = os.open(entry, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)  # the one who prunes holds it for one rename
            if not same(entry, descriptor):
                return None
            info = msgspec.json.decode((entry / "info").read_bytes(), type=TreeInfo)
            if copy_tree(entry / "tree", into, check) == info.entries:
                os.utime(descriptor)
                return info
        except FileNotFoundError:
            pass
        finally:
            os.close(descriptor)
        empty(into)  # somebody deletes the cache at this moment: half a tree is none
        return None

    def _make(
        self, entry: Path, into: Path, make: Callable[[Path], TreeInfo], check: Callable[[], None]
    ) -> TreeInfo:
        work = self._root / f"tmp-{os.getpid()}-{secrets.token_hex(6)}"
        work.mkdir(parents=True)
        holder = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(holder, fcntl.LOCK_SH)  # says that somebody is at work in here
            (work / "tree").mkdir()
            info = make(work / "tree")
            if info.bytes > self._max_bytes // 4:
                move_tree(work / "tree", into, check)  # too large to keep, and to write twice
                return info
            info = attrs.evolve(info, entries=copy_tree(work / "tree", into, check))
            (work / "info").write_bytes(msgspec.json.encode(info))
            if entry.exists():  # what is left of it
                self._remove(entry)
            work.rename(entry)
        finally:
            os.close(holder)
            shutil.rmtree(work, ignore_errors=True)
        if next(self._made) % 16 == 0 or info.bytes > self._max_bytes // 16:
            self.prune()
        return info

    def prune(self) -> None:
        """Remove what dead processes left, what an earlier boot made, and the least used beyond the bound."""
        entries, total = [], 0
        for path in self._root.iterdir():
            with contextlib.suppress(OSError, msgspec.DecodeError):
                used = path.stat().st_mtime
                if path.name.startswith("tmp-"):
                    if time.time() - used > _STALE_SECONDS:
                        self._remove(path)
                elif path.name.startswith(f"{self._boot}-"):
                    info = msgspec.json.decode((path / "info").read_bytes(), type=TreeInfo)
                    count = info.bytes + 4096 * (info.files + 1)
                    entries.append((used, count, path))
                    total += count
                elif path.name != "locks":
                    self._remove(path)
        for _, count, path in sorted(entries):
            if total <= self._max_bytes:
                break
            with contextlib.suppress(OSError):
                if self._remove(path):
                    total -= count

    def _remove(self, path: Path) -> bool:
        """Remove an entry that nobody copies or makes right now."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        trash = self._root / f"tmp-trash-{secrets.token_hex(6)}"
        try:
            if not try_lock(descriptor):
                return False
            path.rename(trash)
        finally:
            os.close(descriptor)
        shutil.rmtree(trash, ignore_errors=True)
        return True


def copy_tree(source: Path, into: Path, check: Callable[[], None]) -> int:
    """Copy directories, regular files and links of a tree of ours into an existing directory; counts them."""
    count = 0
    with os.scandir(source) as found:
        for one in found:
            count += 1
            target = into / one.name
            if one.is_symlink():
                target.symlink_to(Path(one.path).readlink())
            elif one.is_dir():
                target.mkdir()
                count += copy_tree(Path(one.path), target, check)
            else:
                _copy_file(one.path, target, check)
    return count


def _copy_file(source: str, target: Path, check: Callable[[], None]) -> None:
    reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(reader)
        mode = 0o755 if status.st_mode & 0o100 else 0o644
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            if os.fstat(writer).st_mode & 0o777 != mode:
                os.fchmod(writer, mode)
            if status.st_size <= _CHUNK:
                _write(writer, os.read(reader, _CHUNK))
            else:
                _copy_large(reader, writer, check)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _copy_large(reader: int, writer: int, check: Callable[[], None]) -> None:
    """By the kernel, which shares the blocks where the file system can; else by hand."""
    by_kernel = getattr(os, "copy_file_range", None)
    if by_kernel is not None:
        try:
            while by_kernel(reader, writer, 64 * _CHUNK):
                check()
            return
        except OSError:
            os.lseek(reader, 0, os.SEEK_SET)
            os.lseek(writer, 0, os.SEEK_SET)
            os.ftruncate(writer, 0)
    while data := os.read(reader, _CHUNK):
        _write(writer, data)
        check()


def _write(writer: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(writer, rest) :]


def move_tree(source: Path, into: Path, check: Callable[[], None]) -> None:
    """Move a whole tree to the place of the empty directory ``into``."""
    try:
        source.rename(into)
    except OSError:  # another file system
        copy_tree(source, into, check)


def empty(directory: Path) -> None:
    """Remove everything in a directory of ours, and keep the directory itself."""
    with os.scandir(directory) as found:
        for one in list(found):
            if one.is_dir(follow_symlinks=False):
                shutil.rmtree(one.path)
            else:
                Path(one.path).unlink()


@contextlib.contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """A full or broken disk is the machine's fault, not a plugin's bug."""
    try:
        yield
    except OSError as error:
        raise LaunchError(
            f"{doing}: {error.strerror or type(error).__name__}",
            hint="look at the free space and the permissions of the agent's cache and state directories",
            retryable=True,
        ) from error


def _boot() -> str:
    """Names this boot of the machine, where the system tells."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip().split("-")[0]
    except OSError:
        return "0"

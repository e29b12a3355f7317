"""The context store in a claim that the agent has mounted: files, written beside and renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Self

from launch_kaniko.store_errors import disk_error, not_mounted
from launch_kaniko.store_gzip import gzipped, threads
from launch_kaniko.store_options import StoreOptions
from launch_kaniko.store_places import StorePlace, file_name, name_of
from launch_kaniko.store_source import Source

_PART: Final = ".part"
_ABANDONED_SECONDS: Final = 3600.0
"""A file in the making that nobody has written to for so long is of an agent that is no more."""


class ClaimStore:
    """A :class:`~launch_kaniko.store_objects.ContextStore` in a directory; see there for what is promised.

    Here :meth:`has` makes a file young again by touching it.
    """

    def __init__(self, place: StorePlace, options: StoreOptions) -> None:
        assert options.mount is not None
        self._place = place
        self._options = options
        self._mount = Path(options.mount)
        self._root = self._mount / place.prefix

    def has(self, name: str) -> bool:
        path = self._root / file_name(name)
        try:
            self._mounted()
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode):
                return False
            if time.time() - found.st_mtime > self._options.keep_seconds / 2:
                os.utime(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise disk_error(self._place, error, "read") from None
        return True

    def put(self, name: str, pieces: Iterable[bytes], check: Callable[[], None]) -> None:
        path = self._root / file_name(name)
        check()
        made: Path | None = None
        source = Source(pieces)
        try:
            self._mounted()
            self._directories()
            made = self._root / f".{path.name}.{secrets.token_hex(4)}{_PART}"
            with made.open("xb", buffering=0) as file:
                os.fchmod(file.fileno(), 0o644)  # the executor is another user than the agent
                with contextlib.closing(gzipped(source, self._options.compression, threads())) as packed:
                    for piece in packed:
                        check()
                        _write(file.fileno(), piece)
                os.fsync(file.fileno())
            check()
            made.rename(path)
            made = None
            _sync(self._root)
        except OSError as error:
            if source.error is error:
                raise
            raise disk_error(self._place, error, "write to") from None
        finally:
            if made is not None:
                with contextlib.suppress(OSError):
                    made.unlink()

    def sweep(self, keep_seconds: float | None = None) -> int:
        keep = self._options.keep_seconds if keep_seconds is None else keep_seconds
        deleted = 0
        try:
            self._mounted()
            with os.scandir(self._root) as listed:
                for one in listed:
                    deleted += self._deleted(one, keep)
        except FileNotFoundError:
            return deleted
        except OSError as error:
            raise disk_error(self._place, error, "list and delete in") from None
        return deleted

    def _deleted(self, one: os.DirEntry[str], keep: float) -> bool:
        part = one.name.startswith(".") and one.name.endswith(_PART)
        ours = name_of(one.name[1:].rsplit(".", 2)[0] if part else one.name)
        if ours is None:
            return False
        with contextlib.suppress(FileNotFoundError):
            age = time.time() - one.stat(follow_symlinks=False).st_mtime
            if age > (_ABANDONED_SECONDS if part else keep):
                os.unlink(one.path)  # noqa: PTH108
                return not part
        return False

    def _mounted(self) -> None:
        if not self._mount.is_dir():
            raise not_mounted(self._place, str(self._mount))

    def _directories(self) -> None:
        """Below the mount, as far as they are missing; whoever the executor is may read them."""
        at = self._mount
        for part in self._place.prefix.split("/") if self._place.prefix else ():
            at /= part
            with contextlib.suppress(FileExistsError):
                at.mkdir()
                at.chmod(0o755)

    def close(self) -> None:
        """There is nothing to forget."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _write(descriptor: int, piece: bytes) -> None:
    left = memoryview(piece)
    while left:
        left = left[os.write(descriptor, left) :]


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Fetches an uploaded archive: verified, extracted safely, cached by its digest."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import IO, cast

from launchcore.builtin.archive.extract import Extracted, ExtractLimits, extract
from launchcore.builtin.archive.settings import ArchiveFields, ArchiveSettings
from launchcore.builtin.fields import enter, read_fields, tidy, variant
from launchcore.builtin.text import size
from launchcore.builtin.trees import TreeCache, TreeInfo, disk_errors, empty
from launchcore.plugin import (
    Fault,
    FetchPlan,
    LaunchError,
    Reason,
    SourceTree,
    StageContext,
)

_ROOM = 64 << 20
"""An archive of incompressible content is a little larger than its content."""


class ArchiveSource:
    """The source ``archive``."""

    def __init__(self, settings: ArchiveSettings) -> None:
        self._settings = settings
        self._limits = ExtractLimits(
            max_bytes=settings.max_bytes, max_files=settings.max_files, max_ratio=settings.max_ratio
        )
        self._caches: dict[Path, TreeCache] = {}
        self._lock = threading.Lock()

    def fetch(self, plan: FetchPlan, into: Path, context: StageContext) -> SourceTree:
        """See :meth:`launchcore.plugin.Source.fetch`."""
        fields = read_fields(ArchiveFields, plan.source)

        def make(tree: Path) -> TreeInfo:
            with context.open_archive(fields.digest) as stream:
                found = extract_verified(stream, tree, fields.digest, self._limits, context)
            return TreeInfo(files=found.files, bytes=found.bytes)

        with disk_errors("cannot unpack the archive"):
            key = fields.digest.removeprefix("sha256:")
            info = self._cache(plan.cache).place(key, into, make, context.check)
            path = enter(into, fields.subdir)
        return SourceTree(
            path=path,
            identity=variant(fields.digest, subdir=tidy(fields.subdir)),
            pinned=plan.source,
            summary=f"{fields.digest[:19]}, {info.files} files, {size(info.bytes)}",
        )

    def _cache(self, root: Path) -> TreeCache:
        with self._lock:
            if root not in self._caches:
                self._caches[root] = TreeCache(root / "trees", max_bytes=self._settings.cache_bytes)
            return self._caches[root]


def extract_verified(
    stream: IO[bytes], target: Path, digest: str, limits: ExtractLimits, context: StageContext
) -> Extracted:
    """Extract, and make sure that the bytes are those that the digest names.

    :raises LaunchError: ``source_failed``; the fault is the infrastructure's when the bytes are not
        those that were uploaded, and the user's when they are and are refused.
    """
    hashed = Hashed(stream, limits.max_bytes + _ROOM)
    try:
        found = extract(cast("IO[bytes]", hashed), target, limits=limits, check=context.check)
    except LaunchError as error:
        if error.reason is Reason.SOURCE_FAILED and not hashed.matches(digest) and not hashed.spent:
            raise _damaged(digest) from error
        raise
    if not hashed.matches(digest):
        empty(target)
        raise _damaged(digest)
    return found


class Hashed:
    """Reads through, and hashes what it reads; ends after ``most`` bytes, whatever follows."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream = stream
        self._left = most
        self._sha256 = hashlib.sha256()

    def read(self, count: int) -> bytes:
        data = self._stream.read(min(count, self._left))
        self._left -= len(data)
        self._sha256.update(data)
        return data

    @property
    def spent(self) -> bool:
        """Whether there was more than could be read: then nothing is known about the digest."""
        return self._left == 0

    def matches(self, digest: str) -> bool:
        """Read the rest, and compare."""
        while self.read(1 << 20):
            pass
        return f"sha256:{self._sha256.hexdigest()}" == digest


def _damaged(digest: str) -> LaunchError:
    return LaunchError(
        f"the stored archive {digest[:19]}… is not what was uploaded: its SHA-256 differs",
        reason=Reason.SOURCE_FAILED,
        fault=Fault.INFRASTRUCTURE,
        hint="submit the directory again, and look at the disk of the queue's store",
        retryable=True,
    )

"""What would be packed: names and sizes, in a fixed order, before a byte is read."""

from __future__ import annotations

import collections
import heapq
import os
import stat
from pathlib import Path

import attrs

from launchcore.builtin.archive.ignore import Fate, Ignore
from launchcore.builtin.archive.names import BadName, Names, split
from launchcore.builtin.text import shown, size
from launchcore.plugin import LaunchError, Reason

_HINT = "leave it out with a line in .launchignore (the language of .gitignore)"


@attrs.frozen(kw_only=True)
class PackLimits:
    """What an archive may hold, so that agents take it. ``max_bytes`` counts the content."""

    max_bytes: int = 2 << 30
    max_files: int = 100_000


@attrs.frozen
class Entry:
    """One member: its name in the archive, and the file (behind a link, its target) that it comes from."""

    name: str
    path: str
    directory: bool
    bytes: int = 0
    executable: bool = False


@attrs.frozen
class _Place:
    """A directory on the walk: its name in the archive, its real path in the tree, and what became of it."""

    name: str
    real: str
    fate: Fate
    around: tuple[tuple[int, int], ...]


class Scan:
    """A walk over ``directory``; iterating gives the entries, sorted within each directory.

    ``skipped`` has a line for everything that was left out and not asked to be.
    """

    def __init__(self, directory: Path, limits: PackLimits) -> None:
        self._root = directory.resolve()
        self._limits = limits
        self._ignore = Ignore(self._root)
        self._names = Names()
        self.skipped: list[str] = []
        self.entries: list[Entry] = []
        self.bytes = 0

    def run(self) -> list[Entry]:
        """Walk.

        :raises LaunchError: ``source_failed``: no such directory, unreadable, too much, unfit names.
        """
        try:
            status = self._root.stat()
        except OSError as error:
            raise _failed(f"cannot read {shown(str(self._root))}: {error.strerror}") from error
        if not stat.S_ISDIR(status.st_mode):
            raise _failed(
                f"{shown(str(self._root))} is not a directory", "give the directory that holds the code"
            )
        self._walk(_Place("", "", Fate.KEPT, ((status.st_dev, status.st_ino),)))
        if self.bytes > self._limits.max_bytes:
            raise _failed(
                f"{size(self.bytes)} of files are more than the {size(self._limits.max_bytes)} that a "
                f"source may have; the biggest: {self._biggest()}",
                "leave data and checkpoints out with .launchignore, or fetch them in the run",
            )
        return self.entries

    def _walk(self, place: _Place) -> None:
        path = self._root / place.real
        try:
            found = sorted(os.scandir(path), key=lambda one: one.name)
        except OSError as error:
            raise _failed(
                f"cannot read directory {shown(place.name or '.')}: {error.strerror}", _HINT
            ) from error
        for one in found:
            try:
                self._visit(place, one)
            except FileNotFoundError:
                self.skipped.append(f"{shown(one.name)} vanished while it was looked at")

    def _visit(self, place: _Place, one: os.DirEntry[str]) -> None:
        name, real = (f"{at}/{one.name}" if at else one.name for at in (place.name, place.real))
        if one.is_symlink():
            self._link(place, name, real)
        elif one.is_dir():
            fate = self._ignore.fate(real, directory=True, parent=place.fate)
            self._directory(_Place(name, real, fate, place.around), one.stat())
        elif self._ignore.fate(real, directory=False, parent=place.fate) is Fate.KEPT:
            self._file(name, one.path, one.stat(follow_symlinks=False))

    def _directory(self, place: _Place, status: os.stat_result) -> None:
        if place.fate is Fate.KEPT:
            self._add(Entry(place.name, str(self._root / place.real), True))
        elif place.fate is Fate.GONE or not self._ignore.may_come_back(place.real):
            return
        self._walk(attrs.evolve(place, around=(*place.around, (status.st_dev, status.st_ino))))

    def _file(self, name: str, path: str, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            self.skipped.append(f"{shown(name)} is no regular file")
            return
        self._add(Entry(name, path, False, status.st_size, bool(status.st_mode & 0o100)))
        self.bytes += status.st_size

    def _link(self, place: _Place, name: str, real: str) -> None:
        """A link inside the tree becomes a copy of what it points to; any other is left out, aloud."""
        if self._ignore.fate(real, directory=False, parent=place.fate) is not Fate.KEPT:
            return
        try:
            target = Path(os.path.realpath(self._root / real, strict=True))
            status = target.stat()
        except OSError:
            self.skipped.append(f"{shown(name)} is a link to nothing")
            return
        if not target.is_relative_to(self._root):
            self.skipped.append(f"{shown(name)} is a link out of the directory")
            return
        directory, inside = stat.S_ISDIR(status.st_mode), target.relative_to(self._root).as_posix()
        if directory and (status.st_dev, status.st_ino) in place.around:
            self.skipped.append(f"{shown(name)} is a link to a directory that it is in")
        elif self._ignore.whole_fate(inside, directory=directory) is not Fate.KEPT:
            self.skipped.append(f"{shown(name)} is a link to something that is left out")
        elif directory:
            self._directory(_Place(name, inside, Fate.KEPT, place.around), status)
        else:
            self._file(name, str(target), status)

    def _add(self, entry: Entry) -> None:
        try:
            self._names.add(split(entry.name), directory=entry.directory)
        except BadName as error:
            raise _failed(f"cannot pack this directory: {error}", f"rename it, or {_HINT}") from error
        self.entries.append(entry)
        if len(self.entries) > self._limits.max_files:
            raise _failed(
                f"more than the {self._limits.max_files} files that a source may have; "
                f"most are in {self._fullest()}",
                "leave them out with .launchignore",
            )

    def _biggest(self) -> str:
        found = heapq.nlargest(5, self.entries, key=lambda entry: entry.bytes)
        return ", ".join(f"{shown(entry.name, 60)} {size(entry.bytes)}" for entry in found)

    def _fullest(self) -> str:
        counts = collections.Counter(entry.name.partition("/")[0] for entry in self.entries)
        return ", ".join(f"{shown(name, 60)} ({count})" for name, count in counts.most_common(3))


def _failed(detail: str, hint: str | None = None) -> LaunchError:
    return LaunchError(detail, reason=Reason.SOURCE_FAILED, hint=hint)

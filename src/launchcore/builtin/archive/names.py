"""Which names an archive may have: one rule for the one who packs and the one who extracts."""

from __future__ import annotations

import re
import unicodedata

from launchcore.builtin.text import shown

MAX_NAME_BYTES = 1024
MAX_PART_BYTES = 255
MAX_DEPTH = 64

_DRIVE = re.compile(r"[A-Za-z]:")
_DOT_GIT = re.compile(r"\.git[ .]*|git~\d+", re.IGNORECASE)
_IGNORABLE = dict.fromkeys([0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070)])
"""Code points that some file systems drop from a name: a hidden ``.git`` (CVE-2014-9390)."""


class BadName(Exception):
    """A name that is refused; the text says which (escaped), and why."""


def split(name: str) -> tuple[str, ...]:
    """The parts of a member's name; ``()`` for the root itself.

    :raises BadName: it leads elsewhere, or is no name that every file system can hold.
    """
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise BadName(f"{shown(name, 60)} is longer than {MAX_NAME_BYTES} bytes")
    if not name.isprintable() and any(_unfit(one) for one in name):
        raise BadName(f"{shown(name)} has control characters, or is not UTF-8")
    if name.startswith("/"):
        raise BadName(f"{shown(name)} is an absolute path")
    if "\\" in name or _DRIVE.match(name):
        raise BadName(f"{shown(name)} is a Windows path")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if len(parts) > MAX_DEPTH:
        raise BadName(f"{shown(name, 60)} is deeper than {MAX_DEPTH} directories")
    for part in parts:
        if part == "..":
            raise BadName(f"{shown(name)} leads out with '..'")
        if len(part.encode()) > MAX_PART_BYTES:
            raise BadName(f"{shown(name, 60)} has a part longer than {MAX_PART_BYTES} bytes")
        if is_dot_git(part):
            raise BadName(f"{shown(name)}: a source never brings its own .git")
    return parts


def _unfit(one: str) -> bool:
    return unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp")


def is_dot_git(part: str) -> bool:
    """Whether some file system would take this name for ``.git``."""
    return bool(_DOT_GIT.fullmatch(part if part.isascii() else part.translate(_IGNORABLE)))


class Names:
    """The members seen so far: no two may be one name on any file system, no file may be a directory."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}
        self._explicit: set[str] = set()
        self._directories: set[str] = set()

    def add(self, parts: tuple[str, ...], *, directory: bool) -> None:
        """Take note of a member.

        :raises BadName: a duplicate, a collision of cases, a file in the place of a directory.
        """
        parent = "/".join(parts[:-1])
        if parent and parent not in self._directories:
            for depth in range(1, len(parts)):
                self._directory("/".join(parts[:depth]))
        name = "/".join(parts)
        if name in self._explicit:
            raise BadName(f"{shown(name)} is there twice")
        if directory:
            self._directory(name)
        else:
            if name in self._directories:
                raise BadName(f"{shown(name)} is a directory and a file")
            self._claim(name)
        self._explicit.add(name)

    def _directory(self, name: str) -> None:
        if name not in self._directories:
            if name in self._explicit:
                raise BadName(f"{shown(name)} is a file and a directory")
            self._claim(name)
            self._directories.add(name)

    def _claim(self, name: str) -> None:
        folded = fold(name)
        other = self._seen.setdefault(folded, name)
        if other != name:
            raise BadName(f"{shown(name)} and {shown(other)} are one name where case does not count")


def fold(name: str) -> str:
    """The name as a file system sees it that ignores case and Unicode composition."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())

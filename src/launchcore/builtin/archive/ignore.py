"""What of a directory is left out of its archive.

Two layers. ``.gitignore`` files work as in git, also those between the packed directory and the top of
its repository. ``.launchignore`` files, at any level, have the same language and the last word: they
can leave out more, and bring back what git or the built-in list leaves out (``!data/small.csv`` reaches
into a directory that ``.gitignore`` leaves out; a bare ``!*.csv`` does not, as in git).
"""

from __future__ import annotations

import enum
import os
from pathlib import Path

from launchcore.builtin.archive.names import is_dot_git
from launchcore.builtin.archive.patterns import Rule, read_rules

ALWAYS_LEFT_OUT = frozenset({".launchcore", "__pycache__", ".venv"})
"""Left out unless a ``.launchignore`` brings them back. ``.git`` is never packed at all."""

_MAX_RULES_BYTES = 1 << 20


class Fate(enum.Enum):
    """What becomes of a path."""

    KEPT = "kept"
    LEFT_OUT = "left out"
    """By a .gitignore or the built-in list: something below may be brought back."""
    GONE = "gone"
    """By a .launchignore, or since it is a ``.git``: nothing below comes back."""


class Ignore:
    """Answers for the paths below ``root``, in any order; reads every ignore file once."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._prefix = self._inside_repository()
        self._rules: dict[tuple[str, str], tuple[Rule, ...]] = {}

    def _inside_repository(self) -> str:
        """The path of ``root`` in its repository, so that ignore files above it count."""
        for parent in (self._root, *self._root.parents):
            if os.path.lexists(parent / ".git"):
                inside = self._root.relative_to(parent).as_posix()
                self._root = parent
                return "" if inside == "." else inside
        return ""

    def fate(self, path: str, *, directory: bool, parent: Fate = Fate.KEPT) -> Fate:
        """The fate of ``path`` (relative, with ``/``), when that of its directory is ``parent``."""
        name = path.rpartition("/")[2]
        if parent is Fate.GONE or is_dot_git(name):
            return Fate.GONE
        full = f"{self._prefix}/{path}" if self._prefix else path
        said = self._last_word(".launchignore", full, directory=directory)
        if said is not None:
            return Fate.GONE if said else Fate.KEPT
        if parent is Fate.LEFT_OUT or name in ALWAYS_LEFT_OUT:
            return Fate.LEFT_OUT
        return Fate.LEFT_OUT if self._last_word(".gitignore", full, directory=directory) else Fate.KEPT

    def may_come_back(self, path: str) -> bool:
        """Whether a ``.launchignore`` may bring back something below this directory that is left out."""
        full = f"{self._prefix}/{path}" if self._prefix else path
        return any(
            rule.negated and rule.reaches_into(relative)
            for directory, relative in _above(full)
            for rule in self._read(directory, ".launchignore")
        )

    def whole_fate(self, path: str, *, directory: bool) -> Fate:
        """The fate of a path with all its parents: for what a link points to."""
        fate, parts = Fate.KEPT, path.split("/")
        for depth in range(1, len(parts) + 1):
            last = depth == len(parts)
            fate = self.fate("/".join(parts[:depth]), directory=directory or not last, parent=fate)
        return fate

    def _last_word(self, file: str, full: str, *, directory: bool) -> bool | None:
        for above, relative in _above(full):
            for rule in reversed(self._read(above, file)):
                if rule.matches(relative, directory=directory):
                    return not rule.negated
        return None

    def _read(self, directory: str, file: str) -> tuple[Rule, ...]:
        key = (directory, file)
        if key not in self._rules:
            self._rules[key] = self._load(self._root / directory / file)
        return self._rules[key]

    def _load(self, path: Path) -> tuple[Rule, ...]:
        if path.is_symlink() or not path.is_file():  # as git: a link is not followed here
            return ()
        with path.open("rb") as stream:
            return read_rules(stream.read(_MAX_RULES_BYTES).decode("utf-8", "surrogateescape"))


def _above(full: str) -> list[tuple[str, str]]:
    """The directories above a path, nearest first, each with the rest of the path."""
    parts = full.split("/")
    return [("/".join(parts[:depth]), "/".join(parts[depth:])) for depth in range(len(parts) - 1, -1, -1)]

"""The build context: which files of a tree go to the build, their digest, and a deterministic tar of them."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs

from launchcore.plugin import LaunchError, Reason
from launchcore.recipes.ignore import Ignore, read_ignore

PIECE = 1 << 20
WHEN = 315619200
"""1980-01-02: the time of every file in a context. Zip files (wheels) know no time before 1980."""
_ALWAYS_OUT = frozenset({".git", ".hg", ".svn"})
_MOST_IGNORE = 1 << 20


@attrs.frozen(kw_only=True)
class Entry:
    """One file, link or directory of a context. ``size`` is a file's, in bytes."""

    name: str
    kind: str
    """``f``, ``x`` (an executable file), ``l`` or ``d``."""
    path: Path | None = None
    size: int = 0
    link: str = ""
    data: bytes | None = None
    """Its content, if it is not a file of the tree."""

    @property
    def mode(self) -> int:
        return {"f": 0o644, "x": 0o755, "l": 0o777, "d": 0o755}[self.kind]


@attrs.frozen(kw_only=True)
class Context:
    """What goes to a build, in the order in which it goes."""

    entries: tuple[Entry, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries)


def collect(
    root: Path,
    *,
    keep: tuple[str, ...] = (),
    added: Mapping[str, bytes] | None = None,
    git: bool = False,
    ignore: Ignore | None = None,
) -> Context:
    """Walk ``root``, following no link.

    :param keep: files that go in whatever `.dockerignore` says: the Dockerfile.
    :param added: generated files, by name.
    :param ignore: without it, ``root/.dockerignore`` is read.
    """
    rules = _rules(root) if ignore is None else ignore
    found: list[Entry] = []
    _walk(root, "", rules, git, found)
    have = {entry.name for entry in found}
    for name in keep:
        path = root / name
        if name not in have and path.is_file() and not path.is_symlink():
            found.append(_file(name, path, path.stat()))
    extra = dict(added or {})
    entries = [entry for entry in found if entry.name not in extra]
    entries += [Entry(name=name, kind="f", size=len(data), data=data) for name, data in extra.items()]
    return Context(
        entries=tuple(sorted(entries, key=lambda entry: entry.name.encode("utf-8", "surrogateescape")))
    )


def _rules(root: Path) -> Ignore:
    path = root / ".dockerignore"
    if path.is_symlink() or not path.is_file():
        return Ignore()
    with path.open("rb") as file:
        return read_ignore(file.read(_MOST_IGNORE).decode("utf-8", "surrogateescape"))


def _walk(root: Path, under: str, rules: Ignore, git: bool, found: list[Entry]) -> None:
    with os.scandir(root / under if under else root) as listed:
        entries = sorted(listed, key=lambda one: one.name)
    for one in entries:
        name = f"{under}/{one.name}" if under else one.name
        if one.name in _ALWAYS_OUT and not (git and one.name == ".git"):
            continue
        out = rules.ignored(name)
        if one.is_symlink():
            if not out:
                found.append(Entry(name=name, kind="l", link=os.readlink(one.path)))  # noqa: PTH115
        elif one.is_dir(follow_symlinks=False):
            if not out:
                found.append(Entry(name=name, kind="d"))
            if not out or rules.takes_back:
                _walk(root, name, rules, git, found)
        elif one.is_file(follow_symlinks=False) and not out:
            found.append(_file(name, Path(one.path), one.stat(follow_symlinks=False)))


def _file(name: str, path: Path, status: os.stat_result) -> Entry:
    kind = "x" if status.st_mode & stat.S_IXUSR else "f"
    return Entry(name=name, kind=kind, path=path, size=status.st_size)


def digest(context: Context, check: Callable[[], None]) -> str:
    """SHA-256 of names, kinds and contents: all that a build can see of a context but the fixed times.

    Names and lengths are framed, so that no two contexts give the same bytes.
    """
    total = hashlib.sha256()
    for entry in context.entries:
        name = entry.name.encode("utf-8", "surrogateescape")
        link = entry.link.encode("utf-8", "surrogateescape")
        total.update(f"{entry.kind} {len(name)} {len(link)} {entry.size}\n".encode() + name + link)
        if entry.kind in "fx":
            for piece in _content(entry):
                check()
                total.update(piece)
    return total.hexdigest()


def pack(context: Context, check: Callable[[], None], *, under: str | None = None) -> Iterator[bytes]:
    """The tar, piece by piece; never whole in memory. The same context gives the same bytes.

    :param under: a directory in the tar that everything is below.
    """
    if under is not None:
        yield from pack(Context(entries=(Entry(name=under, kind="d"), *_moved(context, under))), check)
        return
    for entry in context.entries:
        check()
        info = tarfile.TarInfo(entry.name)
        info.mtime, info.mode = WHEN, entry.mode
        info.type = {"l": tarfile.SYMTYPE, "d": tarfile.DIRTYPE}.get(entry.kind, tarfile.REGTYPE)
        info.linkname, info.size = entry.link, entry.size
        yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        if entry.kind in "fx":
            for piece in _content(entry):
                check()
                yield piece
            yield b"\0" * (-entry.size % tarfile.BLOCKSIZE)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _moved(context: Context, under: str) -> Iterator[Entry]:
    return (attrs.evolve(entry, name=f"{under}/{entry.name}") for entry in context.entries)


def _content(entry: Entry) -> Iterator[bytes]:
    """Exactly ``entry.size`` bytes.

    :raises LaunchError: the file has changed since it was listed.
    """
    if entry.data is not None:
        yield entry.data
        return
    assert entry.path is not None
    left = entry.size
    try:
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            while left and (piece := os.read(descriptor, min(left, PIECE))):
                left -= len(piece)
                yield piece
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _changed(entry) from error
    if left:
        raise _changed(entry)


def _changed(entry: Entry) -> LaunchError:
    name = entry.name.encode("utf-8", "backslashreplace").decode()[:120]
    return LaunchError(
        f"the source changed while its build context was read: {name!r}",
        reason=Reason.INFRASTRUCTURE,
        retryable=True,
    )

"""Requirements files, flattened: what they include, made one list, with the paths that hold in the image.

The format is pip's (https://pip.pypa.io/en/stable/reference/requirements-file-format/). A file of the tree
that is named is among ``files``, so that it is there before the code; a directory is a package of the tree
and is installed after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

from launchcore.plugin import LaunchError, Reason

CODE = "/launch/code"
"""Where the source tree is in a generated image."""
DEEPEST = 20
MOST_BYTES = 4 * 1024 * 1024
_SAFE = re.compile(r"[A-Za-z0-9._+@=,~/-]+")
_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz")


@attrs.frozen(kw_only=True)
class Package:
    """A directory of the tree that is to be installed. ``folder`` is relative, ``.`` for the tree itself.

    ``built``: there is something that can build it. ``complete``: what it needs is among the lines.
    """

    folder: str
    extras: tuple[str, ...] = ()
    editable: bool = False
    built: bool = True
    complete: bool = False


@attrs.define(kw_only=True)
class Flat:
    """The result so far. ``read``: the files that were read."""

    lines: list[str] = attrs.field(factory=list)
    constraints: list[str] = attrs.field(factory=list)
    files: list[str] = attrs.field(factory=list)
    read: list[str] = attrs.field(factory=list)
    packages: dict[str, Package] = attrs.field(factory=dict)

    def package(self, top: Path, folder: Path, extras: tuple[str, ...], *, editable: bool) -> None:
        """One more; the same one twice is one with the extras of both."""
        name = relative(top, folder)
        before = self.packages.get(name, Package(folder=name))
        self.packages[name] = Package(
            folder=name,
            extras=tuple(dict.fromkeys((*before.extras, *extras))),
            editable=editable or before.editable,
        )


def bad(detail: str) -> LaunchError:
    """The source asks for something that cannot be."""
    return LaunchError(detail, reason=Reason.BUILD_FAILED, hint="correct the source's files")


def inside(top: Path, path: Path, asker: str) -> Path:
    """``path`` with all links resolved, if it is in the tree and there.

    :raises LaunchError: it is not: a source may not make the agent read its other files.
    """
    resolved = path.resolve()
    if not resolved.is_relative_to(top):
        raise bad(f"{asker} names a path outside of the source: {path.name[:80]!r}")
    if not resolved.exists():
        raise bad(f"{asker} names a file that the source does not have: {path.name[:80]!r}")
    return resolved


def read_text(top: Path, path: Path, asker: str) -> str:
    """The text of a file of the tree, of a sane size."""
    found = inside(top, path, asker)
    if not found.is_file() or found.stat().st_size > MOST_BYTES:
        raise bad(f"{asker} names {path.name[:80]!r}, which is no file or too large")
    return found.read_text(encoding="utf-8-sig", errors="replace")


def relative(top: Path, path: Path) -> str:
    """The name of ``path`` in the tree, fit for a line of a Dockerfile."""
    name = path.relative_to(top).as_posix()
    if not _SAFE.fullmatch(name) or name.startswith("-"):
        raise bad(f"the name of {name[:80]!r} has characters that a generated Dockerfile cannot have")
    return name


def flatten(top: Path, file: Path, flat: Flat) -> None:
    """Read ``file`` and what it includes into ``flat``.

    :raises LaunchError: ``build_failed``: a file is missing, outside of the tree, or includes itself.
    """
    _read(top, file, flat, constraint=False, depth=0)


def _read(top: Path, file: Path, flat: Flat, *, constraint: bool, depth: int) -> None:
    if depth > DEEPEST:
        raise bad(f"requirements include each other without end: {file.name[:80]!r}")
    text = read_text(top, file, "a requirements file" if depth else "the source")
    flat.read.append(relative(top, inside(top, file, "the source")))
    for line in logical_lines(text):
        _line(top, file, line, flat, constraint=constraint, depth=depth)


def logical_lines(text: str) -> Iterator[str]:
    """Lines without comments, continued lines joined."""
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        bare = re.sub(r"(^|\s)#.*$", "", line).strip()
        if bare:
            yield bare


def _line(top: Path, file: Path, line: str, flat: Flat, *, constraint: bool, depth: int) -> None:
    into = flat.constraints if constraint else flat.lines
    option, value = option_of(line)
    if option in ("-r", "--requirement", "-c", "--constraint") and "://" not in value:
        inner = constraint or option in ("-c", "--constraint")
        _read(top, file.parent / value, flat, constraint=inner, depth=depth + 1)
    elif option in ("-f", "--find-links") and "://" not in value:
        folder = relative(top, inside(top, file.parent / value, file.name))
        flat.files.append(folder)
        into.append(f"--find-links {CODE}/{folder}")
    elif option in ("-e", "--editable"):
        _requirement(top, file, value, flat, into, editable=True)
    elif option:
        into.append(line)
    else:
        _requirement(top, file, line, flat, into, editable=False)


def option_of(line: str) -> tuple[str, str]:
    """``-r x``, ``-rx``, ``--requirement=x`` → option and value; an ordinary requirement has no option."""
    if not line.startswith("-"):
        return "", line
    if line.startswith("--"):
        name, _, value = re.sub(r"^(--[\w-]+)[=\s]+", r"\1 ", line).partition(" ")
        return name, value.strip()
    return line[:2], line[2:].strip().lstrip("=").strip()


def _requirement(top: Path, file: Path, text: str, flat: Flat, into: list[str], *, editable: bool) -> None:
    name, at, where = text.partition(" @ ")
    where = where if at else text
    match = re.fullmatch(r"(?:file:(?://)?)?([^\s;\[]+)(?:\[([^\]]*)\])?\s*((?:;|--).*)?", where.strip())
    path = match[1] if match else ""
    by_path = (
        path.startswith((".", "/")) or where.strip().startswith("file:") or (editable and "://" not in path)
    )
    is_archive = path.endswith(_ARCHIVES) and "://" not in path
    if match is None or not (by_path or is_archive):
        into.append(f"-e {text}" if editable else text)
        return
    found = inside(top, file.parent / path, file.name)
    if found.is_dir():
        extras = tuple(each.strip() for each in (match[2] or "").split(",") if each.strip())
        if any(not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", each) for each in extras):
            raise bad(f"{file.name[:80]!r} asks for extras that are no names: {match[2][:80]!r}")
        flat.package(top, found, extras, editable=editable)
        return
    inner = relative(top, found)
    flat.files.append(inner)
    extras_text = f"[{match[2]}]" if match[2] else ""
    place = f"{name.strip()} @ file://{CODE}/{inner}" if at else f"{CODE}/{inner}{extras_text}"
    into.append(f"{place} {match[3] or ''}".strip())

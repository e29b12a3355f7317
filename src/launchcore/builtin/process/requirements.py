"""Requirements files, flattened: what they include, made one list, with paths that hold anywhere.

The format is pip's (https://pip.pypa.io/en/stable/reference/requirements-file-format/). Local
directories among the requirements are the source's own packages: they are not installed, since the
environment is shared between commits; their dependencies are, and their code is found in the tree.
"""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from launchcore.plugin import LaunchError, Reason
from launchcore.recipes.requirements import DEEPEST, logical_lines, option_of

MOST_BYTES = 4 * 1024 * 1024


@attrs.define(kw_only=True)
class Flat:
    """The result: lines for one requirements file, and for one constraints file."""

    lines: list[str] = attrs.field(factory=list)
    constraints: list[str] = attrs.field(factory=list)
    packages: dict[Path, tuple[str, ...]] = attrs.field(factory=dict)
    """Directories of the tree that are packages, and their extras."""
    files: list[Path] = attrs.field(factory=list)
    """Everything that was read or is to be installed: what the result depends on."""


def flatten(tree: Path, file: Path, into: Flat | None = None) -> Flat:
    """Read ``file`` of ``tree`` and what it includes.

    :raises LaunchError: ``build_failed``: a file is missing, or outside of the tree.
    """
    flat = Flat() if into is None else into
    _read(tree.resolve(), file, flat, constraint=False, depth=0)
    return flat


def inside(tree: Path, path: Path, asker: str) -> Path:
    """``path`` with all links resolved, if it is in the tree.

    :raises LaunchError: it is not: a run may not make the agent read its other files.
    """
    resolved = path.resolve()
    if not resolved.is_relative_to(tree.resolve()):
        raise _failed(f"{asker} names a path outside of the source: {path.name}")
    if not resolved.exists():
        raise _failed(f"{asker} names a file that the source does not have: {path.name}")
    return resolved


def _failed(detail: str) -> LaunchError:
    return LaunchError(detail, reason=Reason.BUILD_FAILED, hint="correct the source's requirements")


def _read(tree: Path, file: Path, flat: Flat, *, constraint: bool, depth: int) -> None:
    if depth > DEEPEST:
        raise _failed(f"requirements include each other without end: {file.name}")
    path = inside(tree, file, "a requirements file" if depth else "the queue or the source")
    if path.stat().st_size > MOST_BYTES:
        raise _failed(f"{file.name} is too large for a requirements file")
    flat.files.append(path)
    for line in logical_lines(path.read_text(encoding="utf-8-sig", errors="replace")):
        _line(tree, path, line, flat, constraint=constraint, depth=depth)


def _line(tree: Path, file: Path, line: str, flat: Flat, *, constraint: bool, depth: int) -> None:
    into = flat.constraints if constraint else flat.lines
    option, value = option_of(line)
    if option in ("-r", "--requirement", "-c", "--constraint") and "://" not in value:
        included = constraint or option in ("-c", "--constraint")
        _read(tree, file.parent / value, flat, constraint=included, depth=depth + 1)
    elif option in ("-f", "--find-links") and "://" not in value:
        folder = inside(tree, file.parent / value, file.name)
        flat.files += sorted(each for each in folder.glob("*") if each.is_file()) if folder.is_dir() else []
        into.append(f"--find-links {folder}")
    elif option in ("-e", "--editable"):
        _requirement(tree, file, value, flat, into)
    elif option:
        into.append(line)
    else:
        _requirement(tree, file, line, flat, into)


def _requirement(tree: Path, file: Path, text: str, flat: Flat, into: list[str]) -> None:
    """One requirement. ``./lib[extra]``, ``name @ file:lib`` and ``lib.whl`` are local."""
    name, at, url = text.partition("@")
    where = url.strip() if at and url.strip().startswith("file:") else text
    where, options = [*re.split(r"\s+(?=--|;)", where, maxsplit=1), ""][:2]
    local = re.fullmatch(r"(?P<path>[^\[]+?)(?:\[(?P<extras>[^\]]*)\])?", where.strip())
    path = re.sub(r"^file:(//)?", "", local["path"]) if local else ""
    is_path = path.startswith((".", "/")) or where.startswith("file:")
    is_archive = path.endswith((".whl", ".tar.gz", ".zip")) and "://" not in path
    if local is None or not (is_path or is_archive):
        into.append(text)
        return
    found = inside(tree, file.parent / path, file.name)
    if found.is_dir():
        extras = tuple(each.strip() for each in (local["extras"] or "").split(",") if each.strip())
        flat.packages[found] = (*flat.packages.get(found, ()), *extras)
        return
    flat.files.append(found)
    extras_text = f"[{local['extras']}]" if local["extras"] else ""
    prefix = f"{name.strip()} @ file://" if at and where != text else ""
    into.append(f"{prefix}{found}{extras_text} {options}".strip())

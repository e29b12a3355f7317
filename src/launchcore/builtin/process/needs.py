"""What a source tree needs of Python: which version, what to install, and where its own code is.

Looked for, unless the queue names files: ``uv.lock``; else ``requirements.txt`` together with
``pyproject.toml`` (or ``setup.py``, ``setup.cfg``). :attr:`Needs.key` names the environment that
follows: the same files and the same interpreter give the same key.
"""

from __future__ import annotations

import hashlib
import os
import sysconfig
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from launchcore.builtin.process.package import Package, package_of, read_pyproject
from launchcore.builtin.process.requirements import Flat, flatten, inside
from launchcore.builtin.process.settings import ProcessConfig
from launchcore.plugin import LaunchError, Reason, SourceTree

FORMAT = "1"
"""Part of every key: another way of making environments gives others."""

SIGNS = frozenset(
    {"uv.lock", "requirements.txt", "pyproject.toml", "setup.py", "setup.cfg", ".python-version"}
)


@attrs.frozen(kw_only=True)
class Needs:
    """``bare``: nothing is to be installed."""

    python: str | None = None
    """A version (``3.11``) or range (``>=3.10``) that the source asks for."""
    locked: bool = False
    """uv.lock says exactly what to install."""
    lines: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    metadata: tuple[Path, ...] = ()
    """Files from which uv reads dependencies: pyproject.toml, setup.py, setup.cfg."""
    extras: tuple[str, ...] = ()
    packages: tuple[Package, ...] = ()
    content: str = ""
    """A digest of everything that this depends on."""

    @property
    def bare(self) -> bool:
        return not (self.locked or self.lines or self.metadata)

    def key(self, python: str) -> str:
        """The environment's name, for an interpreter given by path and version."""
        parts = (FORMAT, sysconfig.get_platform(), python, "bare" if self.bare else self.content)
        digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:24]
        return f"bare-{digest}" if self.bare else digest


def look(tree: SourceTree | None, config: ProcessConfig) -> Needs:
    """Read the tree's dependency files.

    :raises LaunchError: ``build_failed``: one cannot be read, or is not there; ``infrastructure``.
    """
    if tree is None:
        return Needs()
    try:
        names = {entry.name for entry in os.scandir(tree.path)}
    except OSError as error:
        raise LaunchError(f"the directory of the source cannot be read: {error.strerror}") from None
    if not (names & SIGNS) and not config.requirements:
        return Needs()
    top = tree.path.resolve()
    pyproject = read_pyproject(top)
    python = _python(top, pyproject)
    flat = Flat()
    if config.requirements:
        metadata = _named(top, config.requirements, flat)
    elif "uv.lock" in names and "pyproject.toml" in names:
        return _locked(top, pyproject, python, config)
    else:
        metadata = [top] if _declares(top, pyproject) else []
        if "requirements.txt" in names:
            flatten(top, top / "requirements.txt", flat)
    own = package_of(top, pyproject)
    packages = [own] if own else []
    extras = [*config.extras]
    for folder, wanted in flat.packages.items():
        extras += wanted
        if folder not in metadata:
            metadata.append(folder)
        if folder != top:
            packages.append(
                package_of(folder, read_pyproject(folder)) or Package(folder=folder, roots=(folder,))
            )
    files, dynamic = _metadata_files(top, metadata)
    identity = tree.identity if dynamic else ""
    return Needs(
        python=python,
        lines=tuple(flat.lines),
        constraints=tuple(flat.constraints),
        metadata=tuple(files),
        extras=tuple(dict.fromkeys(extras)),
        packages=tuple(packages),
        content=_digest(top, [*flat.files, *files], identity, *flat.lines, *flat.constraints, *extras),
    )


def _named(top: Path, names: tuple[str, ...], flat: Flat) -> list[Path]:
    """The files that the queue names: directories with metadata; requirements go into ``flat``."""
    metadata = []
    for name in names:
        path = inside(top, top / name, "the queue's `requirements`")
        if path.name in ("pyproject.toml", "setup.py", "setup.cfg"):
            metadata.append(path.parent)
        else:
            flatten(top, path, flat)
    return metadata


def _declares(folder: Path, pyproject: Mapping[str, Any]) -> bool:
    """Whether there are dependencies to be read from it."""
    about = pyproject.get("project")
    if isinstance(about, dict):
        return bool(about.get("dependencies") or about.get("optional-dependencies") or about.get("dynamic"))
    return "build-system" in pyproject or any((folder / each).is_file() for each in ("setup.py", "setup.cfg"))


def _metadata_files(top: Path, folders: list[Path]) -> tuple[list[Path], bool]:
    """The file of each directory that uv reads, and whether code must be run to know what it says."""
    files, dynamic = [], False
    for folder in folders:
        found = [folder / each for each in ("pyproject.toml", "setup.py", "setup.cfg")]
        file = next((each for each in found if each.is_file()), None)
        if file is None:
            raise LaunchError(
                f"{folder.relative_to(top)} is among the requirements, but is no package",
                reason=Reason.BUILD_FAILED,
                hint="it needs a pyproject.toml or a setup.py",
            )
        about = read_pyproject(folder).get("project")
        static = isinstance(about, dict) and "dependencies" not in (about.get("dynamic") or ())
        dynamic = dynamic or not static
        files.append(inside(top, file, "the source"))
    return files, dynamic


def _locked(top: Path, pyproject: Mapping[str, Any], python: str | None, config: ProcessConfig) -> Needs:
    lock = inside(top, top / "uv.lock", "the source")
    try:
        locked = tomllib.loads(lock.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LaunchError(
            f"uv.lock cannot be read: {str(error).splitlines()[0]}",
            reason=Reason.BUILD_FAILED,
            hint="make it again with `uv lock`",
        ) from None
    own = package_of(top, pyproject)
    packages = [own] if own else []
    for entry in locked.get("package", ()):
        origin = entry.get("source", {}) if isinstance(entry, dict) else {}
        where = origin.get("editable") or origin.get("directory")
        if isinstance(where, str) and (folder := inside(top, top / where, "uv.lock")) != top:
            packages.append(
                package_of(folder, read_pyproject(folder)) or Package(folder=folder, roots=(folder,))
            )
    return Needs(
        python=python,
        locked=True,
        extras=config.extras,
        packages=tuple(packages),
        content=_digest(top, [lock, top / "pyproject.toml"], "locked", *config.extras),
    )


def _python(top: Path, pyproject: Mapping[str, Any]) -> str | None:
    """``.python-version``, else ``requires-python``."""
    file = top / ".python-version"
    if file.is_file():
        lines = inside(top, file, "the source").read_text(errors="replace")[:1000].splitlines()
        wanted = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if wanted:
            return wanted[0]
    about = pyproject.get("project")
    required = about.get("requires-python") if isinstance(about, dict) else None
    return required if isinstance(required, str) else None


def _digest(top: Path, files: list[Path], *more: str) -> str:
    """Of the files' content, and of settings for uv that the tree brings along."""
    total = hashlib.sha256()
    for file in [*files, top / "pyproject.toml", top / "uv.toml"]:
        if file.is_file() and file.resolve().is_relative_to(top):
            with file.open("rb") as opened:
                total.update(hashlib.file_digest(opened, "sha256").digest())
        total.update(b"\0")
    # Names of files, not where this tree happens to lie.
    total.update("\0".join(more).replace(str(top), "").encode("utf-8", "surrogateescape"))
    return total.hexdigest()

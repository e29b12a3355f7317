"""What a source tree needs, as a generated Dockerfile wants to know it: read from its files, nothing is run.

Looked for, in this order, unless the settings name files: ``uv.lock``, ``environment.yml``, frozen
requirements, ``requirements.txt`` together with ``pyproject.toml`` or ``setup.py``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from launchcore.plugin import LaunchError
from launchcore.recipes.requirements import CODE, Flat, Package, bad, flatten, inside, read_text

DEFAULT_PYTHON = "3.12"
KNOWN_PYTHONS = ("3.14", "3.13", "3.12", "3.11", "3.10", "3.9", "3.8")
FROZEN = ("requirements.frozen.txt", "requirements.lock", "requirements.lock.txt")


@attrs.frozen(kw_only=True)
class Needs:
    """``kind``: ``pip`` (also when there is nothing to install), ``uv`` or ``conda``."""

    kind: str = "pip"
    python: str = DEFAULT_PYTHON
    lines: tuple[str, ...] = ()
    """One flat requirements file; paths are those in the image."""
    constraints: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    """What of the tree has to be there before the dependencies are installed."""
    packages: tuple[Package, ...] = ()
    """The tree's own packages: installed after the code."""
    extras: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    """uv: names of packages of the lock whose code is in the tree."""
    environment: str | None = None
    """conda: the environment's file."""
    frozen: bool = False
    """The lines are complete: nothing else is to be installed."""


def look(
    root: Path, *, python: str | None = None, named: tuple[str, ...] = (), extras: tuple[str, ...] = ()
) -> Needs:
    """Read the files of the tree.

    :param named: the files that say what to install, instead of those that are looked for.
    :raises LaunchError: ``build_failed``: one is missing, cannot be read, or leads out of the tree.
    """
    top = root.resolve()
    pyproject = _toml(top, "pyproject.toml")
    version = python or _python(top, pyproject)
    if named:
        return _pip(
            top, [inside(top, top / each, "the builder's `requirements`") for each in named], version, extras
        )
    if pyproject and (top / "uv.lock").is_file():
        return _uv(top, version, extras)
    for name in ("environment.yml", "environment.yaml"):
        if (top / name).is_file():
            return _conda(top, name, version, extras)
    for name in FROZEN:
        if (top / name).is_file():
            return attrs.evolve(_pip(top, [top / name], version, extras), frozen=True)
    files = [top / each for each in ("requirements.txt",) if (top / each).is_file()]
    if _installable(top, pyproject):
        files.append(top)
    return _pip(top, files, version, extras)


def _pip(top: Path, files: list[Path], version: str, extras: tuple[str, ...]) -> Needs:
    flat = Flat()
    for file in files:
        if file.is_dir() or file.name in ("pyproject.toml", "setup.py", "setup.cfg"):
            folder = file if file.is_dir() else file.parent
            flat.package(top, folder, extras, editable=True)
        else:
            flatten(top, file, flat)
    packages = []
    for package in flat.packages.values():
        resolved, lines = _dependencies(top, package)
        packages.append(resolved)
        flat.lines += [line for line in lines if line not in flat.lines]
    return Needs(
        python=version,
        lines=tuple(flat.lines),
        constraints=tuple(flat.constraints),
        files=tuple(dict.fromkeys(flat.files)),
        packages=tuple(each for each in packages if each.built),
        extras=extras,
    )


def _dependencies(top: Path, package: Package) -> tuple[Package, list[str]]:
    """What a package of the tree says it needs, where that can be read without running it."""
    folder = top / package.folder
    pyproject = _toml(folder, "pyproject.toml")
    about = _table(pyproject, "project")
    dynamic = about.get("dynamic") or ()
    setup = any((folder / each).is_file() for each in ("setup.py", "setup.cfg"))
    built = "build-system" in pyproject or setup
    if not about or "dependencies" in dynamic or "optional-dependencies" in dynamic:
        return attrs.evolve(package, built=built, complete=False), []
    lines = _texts(about.get("dependencies"))
    optional = _table(about, "optional-dependencies")
    wanted = {_fold(each): each for each in package.extras}
    for name, those in optional.items():
        if _fold(name) in wanted:
            lines += _texts(those)
            del wanted[_fold(name)]
    if wanted:
        known = ", ".join(sorted(optional)) or "none"
        raise bad(f"pyproject.toml has no extra {next(iter(wanted.values()))[:60]!r} (it has: {known})")
    # An extra that refers to the package itself ("mine[a,b]") is for pip to resolve.
    own = _fold(str(about.get("name") or ""))
    if own and any(_fold(re.split(r"[\[\s;@<>=!~]", line, maxsplit=1)[0]) == own for line in lines):
        return attrs.evolve(package, built=built, complete=False), []
    return attrs.evolve(package, built=built, complete=True), lines


def _uv(top: Path, version: str, extras: tuple[str, ...]) -> Needs:
    lock = _toml(top, "uv.lock")
    local = []
    for package in lock.get("package", ()):
        source = _table(package, "source") if isinstance(package, dict) else {}
        where = source.get("editable") or source.get("directory")
        if isinstance(where, str):
            inside(top, top / where, "uv.lock")
            local.append(str(package.get("name", "")))
    if wrong := [name for name in local if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name)]:
        raise bad(f"uv.lock has a package of the name {wrong[0][:60]!r}")
    files = ("pyproject.toml", "uv.lock", *(["uv.toml"] if (top / "uv.toml").is_file() else []))
    return Needs(kind="uv", python=version, files=files, extras=extras, local=tuple(local))


def _conda(top: Path, name: str, version: str, extras: tuple[str, ...]) -> Needs:
    text = read_text(top, top / name, "the source")
    flat = Flat()
    for match in re.finditer(r"^\s*-\s+[\"']?(?:-r|--requirement)[\s=]+([^\"'\s#]+)", text, re.MULTILINE):
        if "://" not in match[1]:
            flatten(top, top / match[1], flat)
    return Needs(
        kind="conda",
        python=version,
        environment=name,
        files=tuple(dict.fromkeys((name, *flat.read, *flat.files))),
        extras=extras,
    )


def _installable(top: Path, pyproject: Mapping[str, Any]) -> bool:
    about = _table(pyproject, "project")
    if about.get("dependencies") or about.get("optional-dependencies") or "build-system" in pyproject:
        return True
    return any((top / each).is_file() for each in ("setup.py", "setup.cfg"))


def _python(top: Path, pyproject: Mapping[str, Any]) -> str:
    """``.python-version``, ``runtime.txt``, else the default or newest version in ``requires-python``."""
    for name in (".python-version", "runtime.txt"):
        if not (top / name).is_file():
            continue
        for line in read_text(top, top / name, "the source").splitlines():
            if match := re.match(r"\s*(?:cpython-|python-)?(3\.\d{1,2}(?:\.\d{1,2})?)\s*$", line):
                return match[1]
    required = _table(pyproject, "project").get("requires-python")
    return choose_python(required) if isinstance(required, str) else DEFAULT_PYTHON


def choose_python(required: str) -> str:
    """A version that ``requires-python`` allows: the default if it does, else the newest known.

    >>> choose_python(">=3.9,<3.12")
    '3.11'

    :raises LaunchError: ``build_failed``: no specifier, or nothing that we know fits.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        allowed = SpecifierSet(required)
    except InvalidSpecifier:
        raise bad(f"requires-python {required[:80]!r} is no range of versions") from None
    for version in (DEFAULT_PYTHON, *KNOWN_PYTHONS):
        if allowed.contains(f"{version}.99") or allowed.contains(f"{version}.0"):
            return version
    if match := re.fullmatch(r"\s*={2,3}\s*(3\.\d{1,2}\.\d{1,2})\s*", required):
        return match[1]
    raise bad(f"no version of Python that is known here fits requires-python {required[:80]!r}")


def _toml(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(read_text(folder, path, "the source"))
    except ValueError as error:
        raise _unreadable(name, error) from None


def _unreadable(name: str, error: ValueError) -> LaunchError:
    return bad(f"{name} cannot be read: {str(error).splitlines()[0][:160]}")


def _table(within: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = within.get(key)
    return found if isinstance(found, dict) else {}


def _texts(found: Any) -> list[str]:
    return [" ".join(each.split()) for each in found or () if isinstance(each, str)]


def _fold(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


__all__ = ["CODE", "Needs", "choose_python", "look"]

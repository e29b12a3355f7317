"""A source that is itself a Python package: found in the tree, not installed.

The environment with its dependencies is shared between commits, so the code cannot be in it. It is
put on ``PYTHONPATH`` instead, and two things that only an installation would make are made beside
the run: its commands (``[project.scripts]``) and its metadata (for ``importlib.metadata.version``
and entry points). What has to be compiled is not: for that there are images, or wheels in the source.
"""

from __future__ import annotations

import configparser
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from launchcore.plugin import LaunchError, Reason


@attrs.frozen(kw_only=True)
class Package:
    """One package of the tree: what its pyproject.toml says, and where its code is."""

    folder: Path
    name: str | None = None
    version: str = "0"
    roots: tuple[Path, ...] = ()
    scripts: Mapping[str, str] = attrs.field(factory=dict)
    entry_points: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict)


def read_pyproject(folder: Path) -> dict[str, Any]:
    """``pyproject.toml``; empty when there is none.

    :raises LaunchError: ``build_failed``: it is not TOML.
    """
    try:
        return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        line = str(error).splitlines()[0]
        raise LaunchError(
            f"pyproject.toml cannot be read: {line}", reason=Reason.BUILD_FAILED, hint="correct the file"
        ) from None


def package_of(folder: Path, pyproject: Mapping[str, Any]) -> Package | None:
    """The package of this directory, or ``None``: it has code, but is no package."""
    is_package = "build-system" in pyproject or any(
        (folder / file).is_file() for file in ("setup.py", "setup.cfg")
    )
    tool = _table(pyproject, "tool")
    if not is_package or _table(tool, "uv").get("package") is False:
        return None
    about = _table(pyproject, "project")
    groups = {
        "console_scripts": _texts(about.get("scripts")),
        "gui_scripts": _texts(about.get("gui-scripts")),
    }
    for group, points in _table(about, "entry-points").items():
        groups[group] = _texts(points)
    name = about.get("name") or _table(tool, "poetry").get("name")
    version = about.get("version") or _table(tool, "poetry").get("version") or "0"
    scripts = {**groups["console_scripts"], **groups["gui_scripts"]} or _texts(
        _table(tool, "poetry").get("scripts")
    )
    return Package(
        folder=folder,
        name=str(name) if name else None,
        version=str(version),
        roots=_roots(folder, tool),
        scripts=scripts,
        entry_points={group: points for group, points in groups.items() if points},
    )


def _roots(folder: Path, tool: Mapping[str, Any]) -> tuple[Path, ...]:
    """Where ``import`` starts: what setuptools is told, else ``src``, else the directory itself."""
    setuptools = _table(tool, "setuptools")
    told = [_table(setuptools, "package-dir").get("")]
    where = _table(_table(setuptools, "packages"), "find").get("where")
    told += where if isinstance(where, list) else []
    named = [folder / each for each in told if isinstance(each, str)]
    roots = [each for each in named if each.is_dir() and each.resolve().is_relative_to(folder.resolve())]
    if not roots:
        roots = [folder / "src"] if (folder / "src").is_dir() else [folder]
    return tuple(dict.fromkeys(roots))


def _table(within: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = within.get(key)
    return found if isinstance(found, dict) else {}


def _texts(found: Any) -> dict[str, str]:
    return {str(k): v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}


def lay_out(packages: tuple[Package, ...], python: Path, into: Path) -> tuple[list[Path], list[Path]]:
    """Write commands and metadata below ``into``; directories for ``PATH`` and for ``PYTHONPATH``."""
    programs, site = into / "bin", into / "site"
    for package in packages:
        for name, target in package.scripts.items():
            _write_script(programs, name, target, python)
        if package.name:
            _write_metadata(site, package.name, package)
    return [each for each in (programs,) if each.is_dir()], [each for each in (site,) if each.is_dir()]


def _write_script(programs: Path, name: str, target: str, python: Path) -> None:
    module, _, function = target.partition("[")[0].strip().partition(":")
    words = [*module.split("."), *function.split(".")]
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name) or not all(word.isidentifier() for word in words):
        return  # not something that an installer would accept either
    programs.mkdir(parents=True, exist_ok=True)
    script = programs / name
    # `sh` in between, since a first line may have no blanks and few characters.
    script.write_text(
        f"#!/bin/sh\n'''exec' {_quoted(str(python))} \"$0\" \"$@\"\n' '''\n"
        f"import sys\nfrom {module} import {function.split('.')[0]}\n"
        f"sys.exit({function}())\n"
    )
    script.chmod(0o755)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _write_metadata(site: Path, name: str, package: Package) -> None:
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name) or not re.fullmatch(r"[A-Za-z0-9._+!-]+", package.version):
        return
    folder = site / f"{re.sub(r'[-_.]+', '_', name)}-{package.version}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {package.version}\n"
    (folder / "METADATA").write_text(about)
    if package.entry_points:
        points = configparser.ConfigParser(delimiters=("=",), interpolation=None)
        points.optionxform = str  # type: ignore[assignment,method-assign]
        points.read_dict({group: dict(found) for group, found in package.entry_points.items()})
        with (folder / "entry_points.txt").open("w") as file:
            points.write(file)

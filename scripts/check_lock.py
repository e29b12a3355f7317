"""Does requirements.lock still fit pyproject.toml? Looks at the two files only, never at the network.

Every requirement of the package, its extras and the dev group has to be pinned by a version that it
allows; every pin has hashes; and the lock names no host.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
OWN = re.compile(r"launchcore(-|$)")
"""What comes from this repository is not pinned."""


def wanted(pyproject: str) -> Iterator[Requirement]:
    """Every direct requirement in the text of a pyproject.toml."""
    data = tomllib.loads(pyproject)
    groups = [
        data["project"].get("dependencies", []),
        *data["project"].get("optional-dependencies", {}).values(),
        *data.get("dependency-groups", {}).values(),
    ]
    for text in (text for group in groups for text in group if isinstance(text, str)):
        requirement = Requirement(text)
        if not OWN.match(canonicalize_name(requirement.name)):
            yield requirement


def pins(lock: str) -> dict[str, tuple[str, int]]:
    """Name → (version, number of hashes), from the text of a lock."""
    found: dict[str, tuple[str, int]] = {}
    for block in re.split(r"\n(?=\S)", lock):
        match = re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", block)
        if match:
            found[canonicalize_name(match[1])] = (match[2], block.count("--hash=sha256:"))
    return found


def problems(pyproject: str, lock: str) -> list[str]:
    """What does not fit, one line each."""
    pinned = pins(lock)
    found = [f"{name} has no hash" for name, (_, hashes) in pinned.items() if not hashes]
    if "://" in lock:
        found.append("the lock names a host")
    for requirement in wanted(pyproject):
        version, _ = pinned.get(canonicalize_name(requirement.name), ("", 0))
        if not version:
            found.append(f"{requirement} is not in the lock")
        elif not requirement.specifier.contains(version, prereleases=True):
            found.append(f"{requirement} does not allow the pinned {version}")
    return found


def main() -> int:
    found = problems((ROOT / "pyproject.toml").read_text(), (ROOT / "requirements.lock").read_text())
    for line in found:
        print(f"requirements.lock: {line} (make lock)", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

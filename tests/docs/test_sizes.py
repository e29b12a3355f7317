"""Modules stay small: about 100 lines, seldom above 300, never above 400."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT

AIM, LIMIT = 300, 400
TOPS = ("src", "plugins", "benchmarks", "scripts")
MODULES = [path for top in TOPS for path in sorted((ROOT / top).rglob("*.py"))]


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


@pytest.mark.filterwarnings("default::UserWarning")
def test_modules_are_small() -> None:
    sizes = {str(path.relative_to(ROOT)): lines(path) for path in MODULES}
    for name, count in sizes.items():
        if AIM < count <= LIMIT:
            warnings.warn(f"{name} has {count} lines: are these two modules in one?", stacklevel=1)

    assert {name: count for name, count in sizes.items() if count > LIMIT} == {}

"""Distributions that are installed as far as Python can tell: real metadata, real modules, no pip."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from launchcore.host import Host


class Installed:
    """A directory on ``sys.path`` into which distributions are written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(
        self,
        name: str,
        source: str,
        *,
        version: str = "1.0",
        requires: Sequence[str] = ("launchcore",),
        entry: str | None = None,
        points: Mapping[str, str] | None = None,
    ) -> str:
        """Install a distribution whose module has ``source``; its entry point is called ``entry``."""
        module = name.replace("-", "_")
        (self.path / f"{module}.py").write_text(textwrap.dedent(source))
        info = self.path / f"{module}-{version}.dist-info"
        info.mkdir()
        needs = "".join(f"Requires-Dist: {need}\n" for need in requires)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        points = points or {entry or name.removeprefix("launch-"): module}
        lines = "".join(f"{key} = {value}\n" for key, value in points.items())
        (info / "entry_points.txt").write_text(f"[console_scripts]\nx = y:z\n\n[launchcore]\n{lines}")
        return module

    def load(self, **options: object) -> Host:
        """A host that sees these distributions and no others."""
        return Host.load(path=[str(self.path)], builtin=(), **options)  # type: ignore[arg-type]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    path = tmp_path / "site"
    path.mkdir()
    monkeypatch.syspath_prepend(str(path))
    yield Installed(path)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(path)):
            del sys.modules[name]

"""Wheels, and environments that know nothing of this checkout."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import attrs
import uv

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def run_uv(*args: str | Path) -> None:
    done = subprocess.run([uv.find_uv_bin(), *map(str, args)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@attrs.frozen
class Fresh:
    """An environment that knows nothing of this checkout."""

    path: Path
    home: Path

    def environ(self) -> dict[str, str]:
        return {
            "PATH": f"{self.path / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
        }

    def run(self, *args: str | Path, code: int = 0) -> str:
        """Run a program of this environment; its standard output."""
        command = [str(self.path / "bin" / args[0]), *map(str, args[1:])]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=self.home, env=self.environ()
        )
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def install(self, *what: str | Path, dependencies: bool = True) -> None:
        flags = [] if dependencies else ["--no-deps"]
        run_uv("pip", "install", "--quiet", "--python", self.path / "bin" / "python", *flags, *what)


def wheel(wheels: Path, name: str) -> Path:
    [found] = wheels.glob(f"{name.replace('-', '_')}-*.whl")
    return found


def make(root: Path, name: str, what: Sequence[str | Path]) -> Fresh:
    fresh = Fresh(root / name, root / f"{name}-home")
    fresh.home.mkdir()
    run_uv("venv", "--quiet", "--python", "3.11", fresh.path)
    fresh.install(*what)
    return fresh

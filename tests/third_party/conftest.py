"""Fresh environments with the built wheels of launchcore and of plugins from elsewhere."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
import uv

from tests.third_party.broken import BROKEN

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

# Its tests run where it is installed: test_third_party.py starts them there.
collect_ignore_glob = ["launch_hello/*"]


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


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel of launchcore and that of every plugin here."""
    out = tmp_path_factory.mktemp("wheels")
    sources = tmp_path_factory.mktemp("sources")
    projects = [ROOT, HERE / "launch_hello", *(broken.write(sources) for broken in BROKEN)]
    for project in projects:
        run_uv("build", "--quiet", "--wheel", "--out-dir", out, project)
    return out


def wheel(wheels: Path, name: str) -> Path:
    [found] = wheels.glob(f"{name.replace('-', '_')}-*.whl")
    return found


def make(root: Path, name: str, what: Sequence[str | Path]) -> Fresh:
    fresh = Fresh(root / name, root / f"{name}-home")
    fresh.home.mkdir()
    run_uv("venv", "--quiet", "--python", "3.11", fresh.path)
    fresh.install(*what)
    return fresh


@pytest.fixture(scope="session")
def clean(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """launchcore, its testing extra, and one good plugin."""
    root = tmp_path_factory.mktemp("clean")
    core = f"launchcore[testing] @ {wheel(wheels, 'launchcore').as_uri()}"
    return make(root, "venv", [core, wheel(wheels, "launch-hello")])


@pytest.fixture(scope="session")
def littered(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """The same without the extra, and with every broken plugin."""
    root = tmp_path_factory.mktemp("littered")
    fresh = make(root, "venv", [wheel(wheels, "launchcore"), wheel(wheels, "launch-hello")])
    # Without dependencies: no resolver would install some of these.
    fresh.install(*(wheel(wheels, broken.name) for broken in BROKEN), dependencies=False)
    return fresh

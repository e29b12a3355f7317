"""A home of its own for every test, and ``launch`` as a function."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import attrs
import pytest

from launchcore.cli import run


@attrs.frozen(kw_only=True)
class Result:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Launch = Callable[..., Result]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of whoever runs the tests is seen or touched."""
    for name in list(os.environ):
        if name.startswith(("LAUNCHCORE_", "XDG_", "GIT_")):
            monkeypatch.delenv(name)
    directory = tmp_path / "home"
    directory.mkdir()
    monkeypatch.setenv("HOME", str(directory))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("LAUNCHCORE_BASE_URL", f"sqlite:///{tmp_path}/queue/queue.db")
    monkeypatch.setenv("LAUNCHCORE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("LAUNCHCORE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("LAUNCHCORE_DISABLED_PLUGINS", ",".join(sorted(_plugins_from_elsewhere())))
    monkeypatch.chdir(directory)
    return directory


def _plugins_from_elsewhere() -> set[str]:
    """What else happens to be installed beside launchcore: none of it takes part in these tests."""
    return {entry.dist.name for entry in entry_points(group="launchcore") if entry.dist is not None}


@pytest.fixture
def launch(capsys: pytest.CaptureFixture[str]) -> Launch:
    """``launch("queue", "list")``, in this process."""

    def execute(*words: object) -> Result:
        capsys.readouterr()
        code = run([str(word) for word in words])
        captured = capsys.readouterr()
        return Result(code=code, out=captured.out, err=captured.err)

    return execute


@pytest.fixture
def launch_process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The same, as a process of its own."""

    def execute(
        *words: object, env: Mapping[str, str] | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "launchcore.cli", *map(str, words)],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )

    return execute

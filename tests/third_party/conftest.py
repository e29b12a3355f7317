"""Fresh environments with the built wheels of launchcore and of plugins from elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.third_party.broken import BROKEN
from tests.third_party.environments import HERE, ROOT, Fresh, make, run_uv, wheel

# Its tests run where it is installed: test_third_party.py starts them there.
collect_ignore_glob = ["launch_hello/*"]


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel of launchcore and that of every plugin here."""
    out = tmp_path_factory.mktemp("wheels")
    sources = tmp_path_factory.mktemp("sources")
    projects = [ROOT, HERE / "launch_hello", *(broken.write(sources) for broken in BROKEN)]
    for project in projects:
        run_uv("build", "--quiet", "--wheel", "--out-dir", out, project)
    return out


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

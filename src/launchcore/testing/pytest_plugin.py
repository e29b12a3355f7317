"""Fixtures for everybody who tests with launchcore: ``launch_host``, ``launch_site``, ``stage_context``.

This module is imported in every pytest run of an environment that has launchcore, so it imports
nothing but pytest; the rest waits until a fixture is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from launchcore.host import Host
    from launchcore.plugin import Site
    from launchcore.testing.context import RecordingContext

# The suites' asserts explain themselves, like those of a test file.
pytest.register_assert_rewrite("launchcore.testing.conformance")


@pytest.fixture
def launch_host() -> Host:
    """All installed plugins, and the echo plugin."""
    from launchcore.host import Host

    return Host.load(extra=("launchcore.testing.echo",))


@pytest.fixture
def launch_site(tmp_path: Path) -> Site:
    """An agent's directories, empty, under the test's own."""
    from launchcore.testing.sites import make_site

    return make_site(tmp_path / "site")


@pytest.fixture
def stage_context() -> RecordingContext:
    """What a stage gives to a source, builder or runner; remembers what was logged."""
    from launchcore.testing.context import RecordingContext

    return RecordingContext()

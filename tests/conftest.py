"""For all tests: a slow machine is no failure of a property test."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests.postgres import own_postgres, postgres

__all__ = ["own_postgres", "postgres"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On another database than SQLite, what is about SQLite's files is left out."""
    if os.environ.get("LAUNCHCORE_TEST_DATABASE", "sqlite") == "sqlite":
        return
    left_out = [item for item in items if item.get_closest_marker("sqlite")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("sqlite")]


settings.register_profile("launchcore", deadline=None)
settings.load_profile("launchcore")

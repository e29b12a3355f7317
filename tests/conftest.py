"""For all tests: a slow machine is no failure of a property test."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests.postgres import own_postgres, postgres

__all__ = ["own_postgres", "postgres"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is about SQLite's files is left out on another database, and what is about the embedded queue's
    own threads through a server."""
    wrong = []
    if os.environ.get("LAUNCHCORE_TEST_DATABASE", "sqlite") != "sqlite":
        wrong.append("sqlite")
    if os.environ.get("LAUNCHCORE_TEST_DOOR", "embedded") != "embedded":
        wrong.append("embedded")
    left_out = [item for item in items if any(map(item.get_closest_marker, wrong))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


settings.register_profile("launchcore", deadline=None)
settings.load_profile("launchcore")

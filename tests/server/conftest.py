from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.world import World
from tests.server.world import world as make_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A server of its own, with a queue ``default``."""
    with make_world(tmp_path) as made:
        made.queue()
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One server for the tests of a module that change little."""
    with make_world(tmp_path_factory.mktemp("server")) as made:
        made.queue("default", "other")
        yield made

"""A world for each test, in a directory whose path is short enough for a socket."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.world import World, make_world


@pytest.fixture
def world() -> Iterator[World]:
    with make_world(Path(tempfile.mkdtemp(prefix="lc-"))) as made:
        yield made

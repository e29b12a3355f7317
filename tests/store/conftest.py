from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A queue service with one queue, "default"."""
    made = Rig(tmp_path)
    made.queue()
    yield made
    made.service.close()

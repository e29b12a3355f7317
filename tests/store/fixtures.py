from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.rig import Rig

SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture
def quick_path() -> Iterator[Path]:
    """A directory for tests of rules, which need no disk: in memory where that is possible."""
    folder = Path(
        tempfile.mkdtemp(prefix="launch-test-", dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None)
    )
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def rig(quick_path: Path) -> Iterator[Rig]:
    """A queue service with one queue, "default"."""
    made = Rig(quick_path)
    made.queue()
    yield made
    made.service.close()

"""An agent's place in the world, for tests."""

from __future__ import annotations

import platform
import uuid
from pathlib import Path

from launchcore.plugin import Site


def make_site(root: Path, owner: str | None = None) -> Site:
    """Fresh directories under ``root``; its owner label is nobody else's."""
    for name in ("state", "cache"):
        (root / name).mkdir(parents=True, exist_ok=True)
    return Site(
        state=root / "state",
        cache=root / "cache",
        owner=owner or f"test-{uuid.uuid4().hex[:12]}",
        host=platform.node(),
    )

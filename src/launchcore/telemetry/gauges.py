"""An agent at one moment, in numbers."""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen(kw_only=True)
class Gauges:
    """Ages are in seconds."""

    attempts: Mapping[str, int]
    """How many attempts are in each state."""
    free: int | None
    """How many more it would take; ``None``: no limit."""
    renewed_age: float
    """Since the leases were last renewed."""
    queue_away: float
    """Since when the queue service cannot be reached; 0: it can."""
    watched_age: Mapping[str, float]
    """For each runner in use, since it was last heard of."""
    draining: bool

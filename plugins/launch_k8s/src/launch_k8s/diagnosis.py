"""What the cluster says about an attempt → :class:`RunStatus`. Pure: no client, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from launch_k8s.kinds import JOB, KindInfo
from launchcore.plugin import RunStatus


@attrs.frozen(kw_only=True)
class Observed:
    """All that is known of one attempt's objects, as the API gives them (trimmed by ``pods.trim_…``).

    ``main`` is ``None`` when the API server answers and has no such object. ``deleted``: it was there
    before. ``at``: when this was seen, UNIX seconds. ``stopped``: we asked for its end ourselves.
    """

    main: Mapping[str, Any] | None
    pods: tuple[Mapping[str, Any], ...] = ()
    events: tuple[Mapping[str, Any], ...] = ()
    deleted: bool = False
    at: float
    kind: KindInfo = JOB
    main_container: str = "main"


def diagnose(observed: Observed) -> RunStatus:
    """The status of an attempt. Warnings, while it waits or runs, are in ``message``."""
    raise NotImplementedError

"""What observers are told."""

from __future__ import annotations

import attrs

from launchcore.plugin.failures import Failure, Stage


@attrs.frozen(kw_only=True)
class StageEvent:
    """One boundary of one stage of one attempt, given to ``launch_observe``.

    ``at`` is UNIX seconds; ``seconds`` is the stage's duration when it has ended, else ``None``.
    """

    run_id: str
    attempt_id: str
    queue: str
    stage: Stage
    what: str
    """``started``, ``finished``, ``skipped`` or ``failed``."""
    at: float
    seconds: float | None = None
    failure: Failure | None = None

"""What the core relies on in every runner."""

from __future__ import annotations

from launchcore.testing.conformance.runner_ends import RunnerEnds
from launchcore.testing.conformance.runner_logs import RunnerLogs
from launchcore.testing.conformance.runner_reach import RunnerReach
from launchcore.testing.conformance.runner_starts import RunnerStarts
from launchcore.testing.conformance.runner_status import RunnerStatuses


class RunnerConformance(RunnerStarts, RunnerStatuses, RunnerLogs, RunnerReach, RunnerEnds):
    """Subclass it, set ``plugin`` and ``name``, and override what is different for your runner."""

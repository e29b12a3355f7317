"""The process runner passes the kit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar

import psutil

from launchcore.plugin import RunHandle
from launchcore.testing.conformance import RunnerConformance
from launchcore.testing.conformance.bench import RunnerBench
from launchcore.testing.conformance.suite import eventually


class TestProcess(RunnerConformance):
    plugin = "launchcore.builtin.process.plugin"
    name = "process"
    settings: ClassVar = {"idle_seconds": 0.2}
    config: ClassVar = {"python": "none"}

    def labels_of(self, bench: RunnerBench, handle: RunHandle) -> Mapping[str, str]:
        """From the environment of its processes, where the run itself finds them."""

        def look() -> dict[str, str] | None:
            for process in psutil.process_iter(["environ"]):
                env = process.info["environ"] or {}
                if env.get("LAUNCHCORE_ATTEMPT") == handle.attempt_id and "LAUNCH_LABELS" in env:
                    return dict(json.loads(env["LAUNCH_LABELS"]))
            return None

        return eventually("its process to be seen", look, patience=bench.patience)

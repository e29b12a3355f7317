"""The process runner passes the kit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar

from launchcore.plugin import RunHandle
from launchcore.testing.conformance import RunnerConformance
from launchcore.testing.conformance.bench import RunnerBench


class TestProcess(RunnerConformance):
    plugin = "launchcore.builtin.process.plugin"
    name = "process"
    settings: ClassVar = {"idle_seconds": 0.2}
    config: ClassVar = {"python": "none"}

    def labels_of(self, bench: RunnerBench, handle: RunHandle) -> Mapping[str, str]:
        for record in (bench.site.state / "process").rglob("started.json"):
            started = json.loads(record.read_text())
            if started["attempt"] == handle.attempt_id:
                return dict(started["labels"])
        return {}

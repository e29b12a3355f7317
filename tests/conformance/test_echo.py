"""The echo plugin passes the kit: so the kit can be passed, and the plugin can be trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from launchcore.plugin import RunHandle
from launchcore.testing.conformance import Example, Program, RunnerConformance, SourceConformance
from launchcore.testing.conformance.bench import RunnerBench
from launchcore.testing.context import RecordingContext
from launchcore.testing.echo.objects import Objects
from launchcore.testing.echo.script import EchoObject


class EchoConformance(RunnerConformance):
    """The echo runner takes words of a script instead of a shell command."""

    plugin = "launchcore.testing.echo"
    patience = 10.0

    def command(self, program: Program) -> Sequence[str]:
        script = {
            "run_for": program.seconds,
            "exit_code": program.exit_code,
            "signal": 9 if program.kills_itself else None,
            "lines": [*program.lines, *program.errors],
            "show_env": program.show_env,
            "show_files": program.show_files,
            "ignore_cancel_for": 1e9 if program.deaf else 0,
        }
        return [f"{key}={json.dumps(value)}" for key, value in script.items()]

    def labels_of(self, bench: RunnerBench, handle: RunHandle) -> Mapping[str, str]:
        return self.object_of(handle).labels

    def logins_of(self, bench: RunnerBench, handle: RunHandle) -> Sequence[str]:
        return self.object_of(handle).logins

    def volumes_of(self, bench: RunnerBench, handle: RunHandle) -> Mapping[str, str]:
        return self.object_of(handle).volumes

    def object_of(self, handle: RunHandle) -> EchoObject:
        found = Objects(Path(handle.data["directory"])).read(handle.attempt_id)
        assert found is not None
        return found


class TestEcho(EchoConformance):
    name = "echo"


@pytest.mark.slow
class TestEchoImage(EchoConformance):
    name = "echo-image"


class TestEchoSource(SourceConformance):
    plugin = "launchcore.testing.echo"
    name = "echo"

    def example(self, root: Path, context: RecordingContext) -> Example:
        return Example(
            fields={"files": {"a.txt": "a", "deep/b.txt": "b"}},
            files={"a.txt": b"a", "deep/b.txt": b"b"},
            missing={"error": "no such echo"},
        )

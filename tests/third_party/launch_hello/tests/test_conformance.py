"""launch-hello does what launchcore relies on."""

from pathlib import Path

from launchcore.testing.conformance import Example, PackagingConformance, RunnerConformance, SourceConformance
from launchcore.testing.context import RecordingContext


class TestHelloPackage(PackagingConformance):
    distribution = "launch-hello"


class TestHelloRunner(RunnerConformance):
    plugin = "launch_hello.plugin:Hello"
    name = "hello-runner"


class TestHelloSource(SourceConformance):
    plugin = "launch_hello.plugin:Hello"
    name = "hello"

    def example(self, root: Path, context: RecordingContext) -> Example:
        return Example(
            fields={"name": "world"},
            files={"hello.txt": b"hello, world\n"},
            missing={"name": "nobody"},
        )

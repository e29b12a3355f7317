"""What the parts of the runner suite share: what an author says, and the bench."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from launchcore.plugin import (
    Contribution,
    Kind,
    Login,
    RunHandle,
    Secret,
)
from launchcore.testing.conformance.bench import RunnerBench
from launchcore.testing.conformance.program import Program
from launchcore.testing.conformance.suite import Suite


class RunnerSuite(Suite):
    """What an author says of a runner; the tests are in the subclasses."""

    plugin: ClassVar[str]
    """The plugin's module, as its entry point names it."""
    name: ClassVar[str]
    """The runner's name."""
    settings: ClassVar[Mapping[str, Any]] = {}
    """The agent's settings: ``plugins.<name>``."""
    config: ClassVar[Mapping[str, Any]] = {}
    """A queue's target configuration."""
    environment: ClassVar[tuple[str, Mapping[str, Any]] | None] = None
    """For runners that require one: its plugin's module, and what a configuration says: ``{"type": …}``."""
    image: ClassVar[str] = "busybox:stable"
    """For runners that need one: an image with a POSIX shell."""
    patience: ClassVar[float] = 30.0
    """Seconds that anything may take: raise it for a slow backend."""
    long: ClassVar[float] = 300.0
    """Seconds of a program that is still running when it is looked at."""

    def command(self, program: Program) -> Sequence[str]:
        """How this runner is told to do what ``program`` does. Most execute shell commands."""
        return program.shell()

    def labels_of(self, bench: RunnerBench, handle: RunHandle) -> Mapping[str, str]:
        """The labels on what was started, asked from the backend. For runners that apply LABEL."""
        raise NotImplementedError(f"{self.name} applies labels: override labels_of")

    def login(self) -> Login:
        """The login that a run is given. A runner that shows logins by pulling needs a real registry's."""
        return Login(host="registry.invalid", username="u", password=Secret("p"))

    def logins_of(self, bench: RunnerBench, handle: RunHandle) -> Sequence[str]:
        """The registry hosts that what was started can log in to. For runners that apply LOGIN."""
        raise NotImplementedError(f"{self.name} applies logins: override logins_of")

    def volumes_of(self, bench: RunnerBench, handle: RunHandle) -> Mapping[str, str]:
        """Mount path → source of what was started. For runners that apply VOLUME."""
        raise NotImplementedError(f"{self.name} applies volumes: override volumes_of")

    def make_bench(self, root: Path) -> RunnerBench:
        return RunnerBench(
            root,
            plugin=self.plugin,
            name=self.name,
            command=self.command,
            settings=self.settings,
            config=self.config,
            image=self.image,
            patience=self.patience,
            environment=self.environment,
        )

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[RunnerBench]:
        made = self.make_bench(tmp_path)
        yield made
        made.close()

    def shown(
        self, bench: RunnerBench, program: Program, *contributions: Contribution, **changes: Any
    ) -> list[str]:
        handle = bench.start(bench.plan(program, **changes), *contributions)
        bench.end(handle)
        return [line for line in bench.log(handle).decode().splitlines() if line]


def owned(bench: RunnerBench) -> list[str]:
    return [handle.attempt_id for handle in bench.again().owned()]


def needs(bench: RunnerBench, kind: Kind) -> None:
    if kind not in bench.spec.applies:
        pytest.skip(f"{bench.spec.name} does not apply {kind.value}")

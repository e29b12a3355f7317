"""A runner on the bench: made through its descriptor, told what to run, cleaned up after."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import msgspec

from launchcore.host.merging import merge
from launchcore.host.settings import structure
from launchcore.plugin import (
    ATTEMPT_LABEL,
    OWNER_LABEL,
    QUEUE_LABEL,
    RUN_LABEL,
    Contribution,
    Given,
    ImageRef,
    Phase,
    RunHandle,
    Runner,
    RunPlan,
    RunStatus,
    SourceRef,
    SourceTree,
)
from launchcore.testing.conformance.program import Program
from launchcore.testing.conformance.suite import eventually, load_plugin, make_environment
from launchcore.testing.context import RecordingContext
from launchcore.testing.sites import make_site


class RunnerBench:
    """One runner of one test. ``command`` turns a program into what this runner executes."""

    def __init__(
        self,
        root: Path,
        *,
        plugin: str,
        name: str,
        command: Callable[[Program], Sequence[str]],
        settings: Mapping[str, Any],
        config: Mapping[str, Any],
        image: str,
        patience: float,
        environment: tuple[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.root = root
        self.plugin = plugin
        self.spec = load_plugin(plugin).catalog.runner(name).spec
        self.command = command
        self.settings = settings
        self.config: Any = structure(self.spec.config, config, path="config")
        self.image = image
        self.patience = patience
        self.environment = environment
        site = make_site(root / "site")
        self.site = attrs.evolve(site, environment=make_environment(environment, site))
        self.context = RecordingContext()
        self.runner = self.again()
        self._run = uuid.uuid4().hex[:10]
        self._numbers = itertools.count(1)
        self._handles: dict[str, RunHandle] = {}

    def again(self) -> Runner:
        """Another runner object at the same site: what a restarted agent has."""
        return self.spec.create(structure(self.spec.settings, self.settings, path="settings"), self.site)

    def plan(self, program: Program, **changes: Any) -> RunPlan:
        """A plan for a new attempt."""
        number = next(self._numbers)
        attempt_id = f"{self._run}-{number}"
        scratch = self.root / "scratch" / attempt_id
        scratch.mkdir(parents=True)
        plan = RunPlan(
            run_id=self._run,
            attempt_id=attempt_id,
            attempt=number,
            queue="conformance",
            name=f"launch-{attempt_id}",
            settings=self.config,
            command=tuple(self.command(program)),
            image=ImageRef(name=self.image) if self.spec.needs_image else None,
            tree=None if self.spec.needs_image else self._tree(attempt_id),
            labels={
                OWNER_LABEL: self.site.owner,
                RUN_LABEL: self._run,
                ATTEMPT_LABEL: attempt_id,
                QUEUE_LABEL: "conformance",
            },
            scratch=scratch,
            start_before=time.time() + 120,
        )
        return attrs.evolve(plan, **changes)

    def given(self, *contributions: Contribution) -> Given:
        """Contributions as the core merges them."""
        pairs = [("the suite", one) for one in contributions]
        return merge(pairs, applies=self.spec.applies, receiver=self.spec.name, fixed={})

    def start(self, what: Program | RunPlan, *contributions: Contribution) -> RunHandle:
        """Prepare and start, as the core does it."""
        plan = what if isinstance(what, RunPlan) else self.plan(what)
        given = self.given(*contributions)
        self.runner.prepare(plan, given, self.context)
        handle = self.runner.start(plan, given)
        self._handles[plan.attempt_id] = handle
        return handle

    def keep(self, handle: RunHandle) -> RunHandle:
        """Clean this one up, too."""
        self._handles.setdefault(handle.attempt_id, handle)
        return handle

    def status(self, handle: RunHandle, runner: Runner | None = None) -> RunStatus:
        return (runner or self.runner).poll([handle])[handle.key]

    def running(self, handle: RunHandle) -> RunStatus:
        """Wait until it runs."""
        return self._until(handle, "it to run", lambda status: status.phase is Phase.RUNNING)

    def end(self, handle: RunHandle) -> RunStatus:
        """Wait until it has ended."""
        return self._until(handle, "its end", lambda status: status.phase.final)

    def log(
        self,
        handle: RunHandle,
        cursor: str | None = None,
        *,
        runner: Runner | None = None,
        limit: int = 65536,
    ) -> bytes:
        """The rest of a log after ``cursor``, read to its end."""
        return b"".join(data for _, data in self.batches(handle, cursor, runner=runner, limit=limit))

    def batches(
        self,
        handle: RunHandle,
        cursor: str | None = None,
        *,
        runner: Runner | None = None,
        limit: int = 65536,
    ) -> list[tuple[str | None, bytes]]:
        """The rest of a log in pieces, each with the cursor that it was asked for with."""
        found: list[tuple[str | None, bytes]] = []
        reader = runner or self.runner
        at = cursor

        def look() -> bool | None:
            nonlocal at
            for _ in range(100):  # then look at the clock: a reader that goes in circles must end
                batch = reader.logs(handle, at, limit)
                found.append((at, batch.data))
                at = batch.cursor
                if batch.end:
                    return True
                if not batch.data:
                    break
            return None

        eventually("the end of the log", look, patience=self.patience)
        return found

    def elsewhere(self, handle: RunHandle) -> tuple[RunStatus, bytes]:
        """What another Python process sees that has only the handle's JSON: its end, and its log."""
        question = {
            "plugin": self.plugin,
            "name": self.spec.name,
            "settings": dict(self.settings),
            "site": msgspec.to_builtins(attrs.evolve(self.site, environment=None), enc_hook=str),
            "environment": self.environment,
            "handle": msgspec.to_builtins(handle),
            "patience": self.patience,
        }
        done = subprocess.run(
            [sys.executable, "-m", "launchcore.testing.conformance.elsewhere"],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert done.returncode == 0, f"a fresh process could not use the handle:\n{done.stderr}"
        answer = json.loads(done.stdout)
        return msgspec.convert(answer["status"], RunStatus), bytes.fromhex(answer["log"])

    def close(self) -> None:
        """Stop and remove whatever this test has started."""
        runner = self.again()
        for handle in self._handles.values():
            for undo in (lambda one: runner.cancel(one, 0.0), runner.cleanup):
                with contextlib.suppress(Exception):
                    undo(handle)

    def _until(self, handle: RunHandle, what: str, good: Callable[[RunStatus], bool]) -> RunStatus:
        def look() -> RunStatus | None:
            status = self.status(handle)
            assert good(status) or not status.phase.final, f"waited for {what}, but it ended: {status}"
            return status if good(status) else None

        return eventually(what, look, patience=self.patience)

    def _tree(self, attempt_id: str) -> SourceTree:
        path = self.root / "trees" / attempt_id
        path.mkdir(parents=True)
        (path / "hello.txt").write_text("hello\n")
        return SourceTree(path=path, identity="sha256:hello", pinned=SourceRef(type="archive"))

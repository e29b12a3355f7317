"""A runner on the scripted API server, without an agent."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from launch_k8s.clusters import Clusters
from launch_k8s.runner import KubernetesRunner
from launch_k8s.settings import ClusterSettings, RunConfig
from launch_k8s.testing.api_server import ApiServer
from launchcore.plugin import (
    ATTEMPT_LABEL,
    OWNER_LABEL,
    QUEUE_LABEL,
    RUN_LABEL,
    Given,
    ImageRef,
    Phase,
    RunHandle,
    RunPlan,
    RunStatus,
)
from launchcore.testing.sites import make_site

PATIENCE = 30.0


def wait_until(what: str, look: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Look again and again until there is something to see."""
    until = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < until, f"waited {seconds} s in vain for {what}"
        time.sleep(0.02)


class Bench:
    """One runner at one site, what it has started, and what it was told by its watch."""

    def __init__(self, root: Path, server: ApiServer, **settings: Any) -> None:
        self.server = server
        self.root = root
        self.site = make_site(root / "site")
        self.config = server.kubeconfig(root / "kubeconfig")
        self.settings = ClusterSettings(kubeconfig=str(self.config), **settings)
        self.runner = self.again()
        self.told: list[tuple[str, RunStatus]] = []
        self._run = uuid.uuid4().hex[:8]
        self._number = 0
        self._lock = threading.Lock()

    def again(self) -> KubernetesRunner:
        """Another runner at the same site: what a restarted agent has."""
        return KubernetesRunner(Clusters(self.settings, {}), self.site)

    def plan(self, *command: str, config: RunConfig | None = None, **changes: Any) -> RunPlan:
        with self._lock:
            self._number += 1
            attempt = f"{self._run}-{self._number}"
        labels = {
            OWNER_LABEL: self.site.owner,
            RUN_LABEL: self._run,
            ATTEMPT_LABEL: attempt,
            QUEUE_LABEL: "q",
        }
        made: dict[str, Any] = {
            "run_id": self._run,
            "attempt_id": attempt,
            "attempt": self._number,
            "queue": "q",
            "name": f"launch-{attempt}",
            "settings": config or RunConfig(),
            "command": command or ("true",),
            "image": ImageRef(name="busybox:stable"),
            "labels": {**labels, QUEUE_LABEL: "q"},
            "scratch": self.root,
            "start_before": time.time() + 60,
        }
        return RunPlan(**{**made, **changes})

    def start(self, *command: str, given: Given | None = None, **changes: Any) -> RunHandle:
        return self.runner.start(self.plan(*command, **changes), given or Given())

    @contextlib.contextmanager
    def watching(self, runner: KubernetesRunner | None = None) -> Iterator[None]:
        """What is told is in :attr:`told`."""

        def tell(handle: RunHandle, status: RunStatus) -> None:
            self.told.append((handle.key, status))

        with (runner or self.runner).watch(tell):
            yield

    def phases(self, handle: RunHandle) -> list[Phase]:
        """What was told of an attempt, in order."""
        return [status.phase for key, status in list(self.told) if key == handle.key]

    def wait_told(self, handle: RunHandle, phase: Phase) -> RunStatus:
        """Wait until this was told."""

        def look() -> RunStatus | None:
            found = [status for key, status in list(self.told) if key == handle.key and status.phase is phase]
            return found[-1] if found else None

        found: RunStatus = wait_until(f"{phase} to be told", look)
        return found

    def status(self, handle: RunHandle, runner: KubernetesRunner | None = None) -> RunStatus:
        return (runner or self.runner).poll([handle])[handle.key]

    def end(self, handle: RunHandle, runner: KubernetesRunner | None = None) -> RunStatus:
        wait_until("the end", lambda: self.status(handle, runner).phase.final)
        return self.status(handle, runner)

    def job(self, handle: RunHandle) -> dict[str, Any]:
        return self.server.store.get("jobs", handle.data["namespace"], handle.data["name"])

    def pod(self, handle: RunHandle) -> dict[str, Any]:
        """The run's pod, once it is there."""

        def look() -> dict[str, Any] | None:
            selector = f"job-name={handle.data['name']}"
            found = self.server.store.items("pods", handle.data["namespace"], selector)
            return found[0] if found else None

        pod: dict[str, Any] = wait_until("a pod", look)
        return pod

    def log(
        self,
        handle: RunHandle,
        cursor: str | None = None,
        *,
        limit: int = 65536,
        runner: KubernetesRunner | None = None,
        between: Callable[[], object] = lambda: None,
    ) -> tuple[bytes, list[str]]:
        """The rest of a log, read to its end, and the gaps that were told; ``between`` two reads."""
        found, gaps = bytearray(), []
        reader = runner or self.runner

        def read() -> bool:
            nonlocal cursor
            batch = reader.logs(handle, cursor, limit)
            cursor = batch.cursor
            found.extend(batch.data)
            if batch.gap:
                gaps.append(batch.gap)
            between()
            return batch.end

        wait_until("the end of the log", read)
        return bytes(found), gaps

"""The agent's GPUs, given to runs: waited for before a start, and seen in the labels of containers."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from launch_docker.engine import Engine
from launch_docker.errors import EngineAway, away
from launch_docker.gpus import Gpus
from launch_docker.manifest import GPUS_LABEL
from launchcore.plugin import ATTEMPT_LABEL, LaunchError, Reason, RunPlan, StageContext


class GpuShare:
    """Shares out what the settings list, among all runs on the engine."""

    def __init__(self, engine: Engine, state: Path) -> None:
        self._engine = engine
        said = engine.settings.gpu_directory
        self.gpus = Gpus(engine.settings.gpus, Path(said).expanduser() if said else state)

    def wait(self, plan: RunPlan, count: int, context: StageContext) -> None:
        """Until ``count`` GPUs are kept for this attempt, or it is cancelled."""
        listed = len(self.gpus.listed)
        if count > listed:
            raise LaunchError(
                f"the queue gives each run {count} GPUs, and this agent has {listed}",
                reason=Reason.UNSCHEDULABLE,
                hint="list the GPUs in plugins.docker.gpus of the agent's configuration",
            )
        said = False
        pause = threading.Event()
        with context.on_cancel(pause.set):
            while self.gpus.take(plan.attempt_id, count, self.in_use) is None:
                if not said:
                    context.log(f"waiting for {count} of {listed} GPUs")
                    said = True
                pause.wait(1.0)
                context.check()

    def take(self, plan: RunPlan) -> tuple[str, ...]:
        """Those of this attempt, for its start."""
        if not plan.settings.gpus:
            return ()
        taken = self.gpus.take(plan.attempt_id, plan.settings.gpus, self.in_use)
        if taken is None:
            raise LaunchError(
                "its GPUs have gone to another run", reason=Reason.UNSCHEDULABLE, retryable=True
            )
        return taken

    def in_use(self) -> Mapping[str, str]:
        """GPU → attempt, from the labels of all containers that run or are about to, whoever owns them."""
        filters = {"label": [GPUS_LABEL], "status": ["created", "running", "paused"]}
        try:
            containers = self._engine.get("/containers/json", all=True, filters=filters)
        except EngineAway as error:
            raise away(error) from None
        found = {}
        for container in containers:
            labels = container.get("Labels") or {}
            for gpu in filter(None, str(labels.get(GPUS_LABEL) or "").split(",")):
                found[gpu] = str(labels.get(ATTEMPT_LABEL) or "")
        return found

    def release(self, attempt_id: str) -> None:
        """Idempotent."""
        self.gpus.release(attempt_id)

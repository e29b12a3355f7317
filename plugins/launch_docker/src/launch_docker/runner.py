"""The Docker runner: one container for each attempt."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from launch_docker.containers import Containers
from launch_docker.engine import Engine
from launch_docker.errors import EngineAway, EngineError, away
from launch_docker.gpu_share import GpuShare
from launch_docker.images import Images
from launch_docker.manifest import Surroundings, body, secret_files
from launch_docker.marks import CANCELLED, REFUSED, Marks
from launch_docker.observer import Observer
from launch_docker.settings import RunConfig, Settings
from launch_docker.starter import Starter, handle_of
from launch_docker.tails import Tails
from launch_docker.vault import Vault
from launchcore.plugin import (
    ATTEMPT_LABEL,
    Given,
    LaunchError,
    LogBatch,
    OnChange,
    RunHandle,
    RunPlan,
    RunStatus,
    Site,
    StageContext,
)


def make_runner(settings: Settings, site: Site) -> DockerRunner:
    """The runner on the engine that settings and environment name. Connects to nothing yet."""
    return DockerRunner(Engine(settings), site)


class DockerRunner:
    """Implements :class:`launchcore.plugin.Runner`. Keeps nothing that another process would miss."""

    def __init__(self, engine: Engine, site: Site) -> None:
        self.engine = engine
        self.site = site
        settings, state = engine.settings, site.state / "docker"
        self._marks = Marks(state / "marks")
        self._vault = Vault(settings.secrets_directory, site.owner, os.environ, os.getuid())
        self._gpus = GpuShare(engine, state)
        self.images = Images(engine, site.owner, state, settings.prune)
        self._observer = Observer(engine, site, self._marks, self.images, self.cancel)
        self._tails = Tails(engine, self._observer.has_ended)
        self._containers = Containers(engine, site.owner)
        self._starter = Starter(
            engine,
            images=self.images,
            marks=self._marks,
            vault=self._vault,
            gpus=self._gpus,
            observer=self._observer,
        )

    def __repr__(self) -> str:
        return f"DockerRunner({self.engine.endpoint.url})"

    # -- starting ------------------------------------------------------------------------------

    def prepare(self, plan: RunPlan, given: Given, context: StageContext) -> None:
        config: RunConfig = plan.settings
        assert plan.image is not None
        image = self.images.get(
            plan.image, policy=config.pull, platform=config.platform, logins=given.logins, context=context
        )
        # What cannot be started is known now, before anything is.
        body(plan, given, image, Surroundings(socket=self.engine.endpoint.socket))
        secret_files(plan, given)
        if config.gpus:
            self._gpus.wait(plan, config.gpus, context)

    def start(self, plan: RunPlan, given: Given) -> RunHandle:
        self._starter.check_wanted(plan)
        try:
            found = self._starter.create(plan, given)
            return self._starter.run(plan, found)
        except EngineAway as error:
            # Nothing runs: what may have been created is not started by anybody but this call.
            self._starter.undo(plan)
            raise away(error) from None

    def find(self, attempt_id: str) -> RunHandle | None:
        # Marked first, looked for then: a start that has not seen the mark has created already.
        self._marks.set(REFUSED, attempt_id)
        try:
            for container in self._containers.of_attempt(attempt_id):
                if self._containers.is_there(container):
                    self._marks.unset(REFUSED, attempt_id)
                    return handle_of(attempt_id, str(container["Id"]), container.get("Labels") or {})
        except EngineAway as error:
            raise away(error) from None
        except EngineError as error:
            raise LaunchError(f"the engine cannot say whether it runs: {error}", retryable=True) from None
        self._vault.remove(attempt_id)
        self._gpus.release(attempt_id)
        return None

    # -- looking -------------------------------------------------------------------------------

    def poll(self, handles: Sequence[RunHandle]) -> Mapping[str, RunStatus]:
        return self._observer.look(handles) if handles else {}

    def watch(self, on_change: OnChange) -> contextlib.AbstractContextManager[None]:
        return self._observer.watching(on_change)

    def logs(self, handle: RunHandle, cursor: str | None, limit: int) -> LogBatch:
        container, tty = handle.data.get("id"), bool(handle.data.get("tty"))
        if not container:
            raise LaunchError("the log is gone with its container")
        return self._tails.read(str(container), tty=tty, cursor=cursor, limit=limit)

    def owned(self) -> Sequence[RunHandle]:
        try:
            containers = self._containers.owned()
        except EngineAway as error:
            raise away(error) from None
        found = {}
        for container in containers:
            labels = container.get("Labels") or {}
            attempt = labels.get(ATTEMPT_LABEL)
            if attempt:
                found[attempt] = handle_of(attempt, str(container["Id"]), labels)
        for attempt in self._vault.attempts():  # secrets of a start that was killed before it created
            found.setdefault(attempt, RunHandle(runner="docker", attempt_id=attempt))
        self._marks.forget_old()
        return list(found.values())

    # -- ending --------------------------------------------------------------------------------

    def cancel(self, handle: RunHandle, grace: float) -> None:
        try:
            container = handle.data.get("id") or self._containers.id_of(handle.attempt_id)
            if container is None:
                return
            self._marks.set(CANCELLED, handle.attempt_id)
            began = self._marks.since(CANCELLED, handle.attempt_id) or time.time()
            if grace <= 0 or time.time() - began > grace + 5:
                self._containers.force(str(container))
            else:
                self._containers.ask(str(container), grace)
        except EngineAway as error:
            raise away(error) from None

    def cleanup(self, handle: RunHandle) -> None:
        attempt = handle.attempt_id
        self._marks.set(REFUSED, attempt)
        self._observer.forget(attempt)
        try:
            known = handle.data.get("id")
            if known is not None and self._containers.remove(str(known)):
                left: list[dict[str, Any]] = []
            else:
                left = self._containers.of_attempt(attempt)
            for container in left:
                self._containers.remove(str(container["Id"]))
        except EngineAway as error:
            raise away(error) from None
        if known is not None:
            self._tails.forget(str(known))
        self._vault.remove(attempt)
        self._gpus.release(attempt)
        self._marks.unset(CANCELLED, attempt)

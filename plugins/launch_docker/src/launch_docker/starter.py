"""One attempt, one container: created under its name or found there, started once, or undone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

from launch_docker import unseen
from launch_docker.engine import Engine
from launch_docker.errors import EngineAway, EngineError, removed, start_failed
from launch_docker.gpu_share import GpuShare
from launch_docker.handover import Handover
from launch_docker.images import Images
from launch_docker.manifest import TTY_LABEL, Surroundings, body, container_name, secret_files
from launch_docker.marks import REFUSED, Marks
from launch_docker.observer import Observer
from launch_docker.vault import Vault
from launchcore.plugin import (
    ATTEMPT_LABEL,
    OWNER_LABEL,
    Given,
    LaunchError,
    Reason,
    RunHandle,
    RunPlan,
)

UNCLEAR = 20.0
"""Seconds for which an unclear start is looked after before it is left to the polls."""


class Starter:
    """Creates and starts containers. Raises :class:`EngineAway` when the engine cannot be asked."""

    def __init__(
        self,
        engine: Engine,
        *,
        images: Images,
        marks: Marks,
        vault: Vault,
        gpus: GpuShare,
        observer: Observer,
    ) -> None:
        self._engine = engine
        self._images = images
        self._marks = marks
        self._vault = vault
        self._gpus = gpus
        self._observer = observer
        self._handover = Handover(engine, vault)

    def check_wanted(self, plan: RunPlan) -> None:
        """:raises LaunchError: ``lost``: it was given up, or is too late."""
        if self._marks.has(REFUSED, plan.attempt_id):
            raise LaunchError(
                f"{plan.attempt_id} was given up; it is not started any more", reason=Reason.LOST
            )
        if plan.start_before is not None and time.time() >= plan.start_before:
            raise LaunchError(
                f"the engine was too slow: {plan.attempt_id} could not start within its lease",
                reason=Reason.LOST,
                retryable=True,
            )

    def create(self, plan: RunPlan, given: Given) -> Mapping[str, Any]:
        """The container of this attempt, made or found: its id, labels and whether it was made now."""
        assert plan.image is not None
        image = self._images.find(plan.image)
        if image is None:
            raise removed(str(plan.image))
        files = secret_files(plan, given)
        mounted = bool(files) and self._handover.mounts()
        place = self._vault.put(plan.attempt_id, files) if mounted else None
        around = Surroundings(
            secrets=place,
            gpus=self._gpus.take(plan),
            gpu_access=self._engine.settings.gpu_access,
            podman=self._engine.is_podman(),
            socket=self._engine.endpoint.socket,
        )
        made = body(plan, given, image, around)
        name = container_name(plan.name)
        params = {"name": name, "platform": plan.settings.platform}
        try:
            answer = self._engine.request("POST", "/containers/create", params=params, body=made).json()
        except EngineError as error:
            if error.conflict:
                return self._existing(name, plan)
            self.undo(plan)
            if error.missing and "image" in str(error).lower():
                self._images.forget(plan.image)
                raise removed(str(plan.image)) from None
            raise start_failed(str(error), command=_first_word(made)) from None
        found = {"id": str(answer["Id"]), "labels": made["Labels"], "new": True, "word": _first_word(made)}
        try:
            if "env" in files:
                self._handover.need_shell(str(answer["Id"]), image, plan)
            if files and not mounted:
                self._handover.copy(str(answer["Id"]), files)
        except (LaunchError, EngineAway):
            self.undo(plan, str(answer["Id"]))
            raise
        return found

    def _existing(self, name: str, plan: RunPlan) -> Mapping[str, Any]:
        """Somebody has created it: an earlier or a simultaneous start of this attempt, or a stranger."""
        until = time.monotonic() + UNCLEAR
        while True:
            try:
                container = self._engine.get(f"/containers/{name}/json")
                break
            except EngineError as error:
                # The engine gives the name away first, and has the container a moment later.
                if not error.missing or time.monotonic() > until:
                    raise LaunchError(
                        f"the container's name {name} is taken, and it is not there: {error}", retryable=True
                    ) from None
            time.sleep(0.05)
        labels = (container.get("Config") or {}).get("Labels") or {}
        ours = (labels.get(OWNER_LABEL), labels.get(ATTEMPT_LABEL))
        if ours != (plan.labels.get(OWNER_LABEL), plan.attempt_id):
            raise LaunchError(
                f"a container called {name} is there, and it is not this attempt's",
                reason=Reason.INFRASTRUCTURE,
                hint=f"see what it is (`docker inspect {name}`), and remove it",
            )
        state = str((container.get("State") or {}).get("Status") or "")
        return {"id": str(container["Id"]), "labels": labels, "new": state == "created", "word": "?"}

    def run(self, plan: RunPlan, found: Mapping[str, Any]) -> RunHandle:
        """Start what :meth:`create` has made; what was running already is adopted."""
        container = str(found["id"])
        handle = handle_of(plan.attempt_id, container, found["labels"])
        if not found["new"]:
            return handle
        try:
            self.check_wanted(plan)
        except LaunchError:
            self.undo(plan, container)
            raise
        self._observer.expect(plan.attempt_id)
        try:
            self._engine.request("POST", f"/containers/{container}/start")
        except EngineError as error:
            self._observer.forget(plan.attempt_id)
            if error.missing and "container" in str(error).lower():
                self.undo(plan, container)
                raise LaunchError(
                    f"{plan.attempt_id} was given up while it started", reason=Reason.LOST
                ) from None
            raise self._refused(plan, container, error, command=str(found["word"])) from None
        except EngineAway:
            self._settle(plan, container)
        return handle

    def _settle(self, plan: RunPlan, container: str) -> None:
        """The answer to a start was lost. Look, and start again: a second start changes nothing."""
        until = time.monotonic() + UNCLEAR
        while time.monotonic() < until:
            time.sleep(0.2)
            with contextlib.suppress(EngineAway):
                try:
                    state = self._engine.get(f"/containers/{container}/json")["State"]
                    if state.get("Status") != "created":
                        return
                    self.check_wanted(plan)
                    self._engine.request("POST", f"/containers/{container}/start")
                    return
                except (EngineError, LaunchError) as error:
                    self._observer.forget(plan.attempt_id)
                    if isinstance(error, LaunchError):
                        self.undo(plan, container)
                        raise
                    raise self._refused(plan, container, error, command="?") from None

    def _refused(self, plan: RunPlan, container: str, error: EngineError, *, command: str) -> LaunchError:
        """The engine refuses to start it: nothing of it runs, and nothing is left."""
        lost = "id already in use" in str(error)
        ended = lost and self._engine.endpoint.socket is not None and unseen.end(container)
        self.undo(plan, container)
        return start_failed(str(error), command=command, ended=ended)

    def undo(self, plan: RunPlan, container: str | None = None) -> None:
        """Nothing was started: leave nothing. Never touches a container that runs."""
        with contextlib.suppress(EngineAway, EngineError):
            if container is not None:
                params = {"v": True, "force": False}
                self._engine.request("DELETE", f"/containers/{container}", params=params)
        self._vault.remove(plan.attempt_id)
        with contextlib.suppress(OSError):
            self._gpus.release(plan.attempt_id)


def handle_of(attempt_id: str, container: str, labels: Mapping[str, str]) -> RunHandle:
    """The handle of an attempt's container."""
    data = {"id": container, "tty": labels.get(TTY_LABEL) == "1"}
    return RunHandle(runner="docker", attempt_id=attempt_id, data=data)


def _first_word(made: Mapping[str, Any]) -> str:
    words = [*(made.get("Entrypoint") or ()), *(made.get("Cmd") or ())]
    return str(words[0]) if words else "?"

"""The Docker runner: one container for each attempt."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launch_docker.engine import Engine
from launch_docker.errors import EngineAway, EngineError, away, one_line, pull_failed, start_failed
from launch_docker.gpus import Gpus
from launch_docker.images import Images
from launch_docker.manifest import (
    GPUS_LABEL,
    SECRETS,
    TTY_LABEL,
    Image,
    Surroundings,
    body,
    container_name,
    secret_files,
)
from launch_docker.marks import CANCELLED, REFUSED, Marks
from launch_docker.observer import Observer
from launch_docker.settings import RunConfig, Settings
from launch_docker.tails import Tails
from launch_docker.vault import Vault, archive
from launchcore.plugin import (
    ATTEMPT_LABEL,
    OWNER_LABEL,
    Fault,
    Given,
    LaunchError,
    LogBatch,
    OnChange,
    Reason,
    RunHandle,
    RunPlan,
    RunStatus,
    Site,
    StageContext,
)

UNCLEAR = 20.0
"""Seconds for which an unclear start is looked after before it is left to the polls."""
STOP_ANSWER = 1.0
"""Seconds that a cancel waits for the engine's answer; the engine stops the container by itself."""


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
        directory = Path(settings.gpu_directory).expanduser() if settings.gpu_directory else state
        self._gpus = Gpus(settings.gpus, directory)
        self.images = Images(engine, site.owner, state, settings.prune)
        self._observer = Observer(engine, site, self._marks, self.images, self.cancel)
        self._tails = Tails(engine, self._observer.has_ended)
        self._shells: set[str] = set()
        self._podman: bool | None = None
        self._here: bool | None = None

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
            self._wait_for_gpus(plan, config.gpus, context)

    def start(self, plan: RunPlan, given: Given) -> RunHandle:
        self._check_wanted(plan)
        try:
            found = self._create(plan, given)
            return self._run(plan, found)
        except EngineAway as error:
            # Nothing runs: what may have been created is not started by anybody but this call.
            self._undo(plan)
            raise away(error) from None

    def find(self, attempt_id: str) -> RunHandle | None:
        # Marked first, looked for then: a start that has not seen the mark has created already.
        self._marks.set(REFUSED, attempt_id)
        try:
            for container in self._of_attempt(attempt_id):
                if self._is_there(container):
                    self._marks.unset(REFUSED, attempt_id)
                    return self._handle(attempt_id, str(container["Id"]), container.get("Labels") or {})
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
            containers = self._list({OWNER_LABEL: self.site.owner})
        except EngineAway as error:
            raise away(error) from None
        found = {}
        for container in containers:
            labels = container.get("Labels") or {}
            attempt = labels.get(ATTEMPT_LABEL)
            if attempt:
                found[attempt] = self._handle(attempt, str(container["Id"]), labels)
        for attempt in self._vault.attempts():  # secrets of a start that was killed before it created
            found.setdefault(attempt, RunHandle(runner="docker", attempt_id=attempt))
        self._marks.forget_old()
        return list(found.values())

    # -- ending --------------------------------------------------------------------------------

    def cancel(self, handle: RunHandle, grace: float) -> None:
        try:
            container = handle.data.get("id") or self._id_of(handle.attempt_id)
            if container is None:
                return
            self._marks.set(CANCELLED, handle.attempt_id)
            began = self._marks.since(CANCELLED, handle.attempt_id) or time.time()
            if grace <= 0 or time.time() - began > grace + 5:
                self._force(str(container))
            else:
                self._ask(str(container), grace)
        except EngineAway as error:
            raise away(error) from None

    def cleanup(self, handle: RunHandle) -> None:
        attempt = handle.attempt_id
        self._marks.set(REFUSED, attempt)
        self._observer.forget(attempt)
        try:
            known = handle.data.get("id")
            if known is not None and self._remove(str(known)):
                left: list[dict[str, Any]] = []
            else:
                left = self._of_attempt(attempt)
            for container in left:
                self._remove(str(container["Id"]))
        except EngineAway as error:
            raise away(error) from None
        if known is not None:
            self._tails.forget(str(known))
        self._vault.remove(attempt)
        self._gpus.release(attempt)
        self._marks.unset(CANCELLED, attempt)

    # -- creating ------------------------------------------------------------------------------

    def _check_wanted(self, plan: RunPlan) -> None:
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

    def _create(self, plan: RunPlan, given: Given) -> Mapping[str, Any]:
        """The container of this attempt, made or found: its id, labels and whether it was made now."""
        assert plan.image is not None
        image = self.images.find(plan.image)
        if image is None:
            raise pull_failed(str(plan.image), "no such image on the engine", login=False)
        files = secret_files(plan, given)
        mounted = bool(files) and self._mounts_secrets()
        place = self._vault.put(plan.attempt_id, files) if mounted else None
        around = Surroundings(
            secrets=place,
            gpus=self._take_gpus(plan),
            gpu_access=self.engine.settings.gpu_access,
            podman=self._is_podman(),
            socket=self.engine.endpoint.socket,
        )
        made = body(plan, given, image, around)
        name = container_name(plan.name)
        params = {"name": name, "platform": plan.settings.platform}
        try:
            answer = self.engine.request("POST", "/containers/create", params=params, body=made).json()
        except EngineError as error:
            if error.conflict:
                return self._existing(name, plan)
            self._undo(plan)
            if error.missing and "image" in str(error).lower():
                raise pull_failed(str(plan.image), str(error), login=False) from None
            raise start_failed(str(error), command=_first_word(made)) from None
        found = {"id": str(answer["Id"]), "labels": made["Labels"], "new": True, "word": _first_word(made)}
        if "env" in files:
            self._need_shell(str(answer["Id"]), image, plan)
        if files and not mounted:
            self._copy_secrets(str(answer["Id"]), files, plan)
        return found

    def _existing(self, name: str, plan: RunPlan) -> Mapping[str, Any]:
        """Somebody has created it: an earlier or a simultaneous start of this attempt, or a stranger."""
        until = time.monotonic() + UNCLEAR
        while True:
            try:
                container = self.engine.get(f"/containers/{name}/json")
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

    def _run(self, plan: RunPlan, found: Mapping[str, Any]) -> RunHandle:
        container = str(found["id"])
        handle = self._handle(plan.attempt_id, container, found["labels"])
        if not found["new"]:
            return handle
        try:
            self._check_wanted(plan)
        except LaunchError:
            self._undo(plan, container)
            raise
        self._observer.expect(plan.attempt_id)
        try:
            self.engine.request("POST", f"/containers/{container}/start")
        except EngineError as error:
            self._observer.forget(plan.attempt_id)
            self._undo(plan, container)
            if error.missing and "container" in str(error).lower():
                raise LaunchError(
                    f"{plan.attempt_id} was given up while it started", reason=Reason.LOST
                ) from None
            raise start_failed(str(error), command=str(found["word"])) from None
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
                    state = self.engine.get(f"/containers/{container}/json")["State"]
                    if state.get("Status") != "created":
                        return
                    self._check_wanted(plan)
                    self.engine.request("POST", f"/containers/{container}/start")
                    return
                except (EngineError, LaunchError) as error:
                    self._observer.forget(plan.attempt_id)
                    self._undo(plan, container)
                    if isinstance(error, LaunchError):
                        raise
                    raise start_failed(str(error), command="?") from None

    def _undo(self, plan: RunPlan, container: str | None = None) -> None:
        """Nothing was started: leave nothing. Never touches a container that runs."""
        with contextlib.suppress(EngineAway, EngineError):
            if container is not None:
                params = {"v": True, "force": False}
                self.engine.request("DELETE", f"/containers/{container}", params=params)
        self._vault.remove(plan.attempt_id)
        with contextlib.suppress(OSError):
            self._gpus.release(plan.attempt_id)

    # -- secrets -------------------------------------------------------------------------------

    def _mounts_secrets(self) -> bool:
        """Are secrets mounted from this machine? Otherwise they are copied into the container."""
        how = self.engine.settings.secrets
        if how == "copy":
            return False
        if self._here is None:
            name = str(self.engine.info().get("Name") or "")
            self._here = self.engine.endpoint.socket is not None and name == socket.gethostname()
        if how == "mount" and self._vault.root is None:
            raise LaunchError(
                "there is no directory in memory for secrets on this machine",
                reason=Reason.CONFIG_ERROR,
                fault=Fault.INFRASTRUCTURE,
                hint="name one in plugins.docker.secrets_directory, or set plugins.docker.secrets to copy",
            )
        return how == "mount" or (self._here and self._vault.root is not None)

    def _copy_secrets(self, container: str, files: Mapping[str, bytes], plan: RunPlan) -> None:
        try:
            self.engine.request(
                "PUT",
                f"/containers/{container}/archive",
                params={"path": "/", "noOverwriteDirNonDir": True},
                data=archive(files, SECRETS),
                headers={"Content-Type": "application/x-tar"},
            )
        except EngineError as error:
            self._undo(plan, container)
            raise LaunchError(
                f"the secrets cannot be copied into the container: {error}",
                reason=Reason.CONFIG_ERROR,
                fault=Fault.INFRASTRUCTURE,
                hint="a read-only container gets secrets from an engine on the agent's own machine only",
            ) from None
        except EngineAway:
            self._undo(plan, container)
            raise

    def _need_shell(self, container: str, image: Image, plan: RunPlan) -> None:
        """Secret variables come into the environment by the image's shell. Has it one?"""
        if image.id in self._shells:
            return
        try:
            self.engine.request("HEAD", f"/containers/{container}/archive", params={"path": "/bin/sh"})
        except EngineError as error:
            self._undo(plan, container)
            if not error.missing:
                raise start_failed(str(error), command="/bin/sh") from None
            raise LaunchError(
                f"the image {plan.image} has no /bin/sh, by which secret variables come into the environment",
                reason=Reason.CONFIG_ERROR,
                hint="set the queue's `secrets_as: files`, and read each from the file that NAME_FILE names",
            ) from None
        self._shells.add(image.id)

    # -- GPUs ----------------------------------------------------------------------------------

    def _wait_for_gpus(self, plan: RunPlan, count: int, context: StageContext) -> None:
        listed = len(self._gpus.listed)
        if count > listed:
            raise LaunchError(
                f"the queue gives each run {count} GPUs, and this agent has {listed}",
                reason=Reason.UNSCHEDULABLE,
                hint="list the GPUs in plugins.docker.gpus of the agent's configuration",
            )
        said = False
        pause = threading.Event()
        with context.on_cancel(pause.set):
            while self._gpus.take(plan.attempt_id, count, self._gpus_in_use) is None:
                if not said:
                    context.log(f"waiting for {count} of {listed} GPUs")
                    said = True
                pause.wait(1.0)
                context.check()

    def _take_gpus(self, plan: RunPlan) -> tuple[str, ...]:
        if not plan.settings.gpus:
            return ()
        taken = self._gpus.take(plan.attempt_id, plan.settings.gpus, self._gpus_in_use)
        if taken is None:
            raise LaunchError(
                "its GPUs have gone to another run", reason=Reason.UNSCHEDULABLE, retryable=True
            )
        return taken

    def _gpus_in_use(self) -> Mapping[str, str]:
        """GPU → attempt, from the labels of all containers that run or are about to, whoever owns them."""
        filters = {"label": [GPUS_LABEL], "status": ["created", "running", "paused", "restarting"]}
        try:
            containers = self.engine.get("/containers/json", all=True, filters=filters)
        except EngineAway as error:
            raise away(error) from None
        found = {}
        for container in containers:
            labels = container.get("Labels") or {}
            for gpu in filter(None, str(labels.get(GPUS_LABEL) or "").split(",")):
                found[gpu] = str(labels.get(ATTEMPT_LABEL) or "")
        return found

    # -- the engine ----------------------------------------------------------------------------

    def _is_podman(self) -> bool:
        if self._podman is None:
            parts = self.engine.version().get("Components") or []
            self._podman = any("podman" in str(each.get("Name", "")).lower() for each in parts)
        return self._podman

    def _list(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        wanted = [f"{name}={value}" for name, value in labels.items()]
        return list(self.engine.get("/containers/json", all=True, filters={"label": wanted}))

    def _of_attempt(self, attempt_id: str) -> list[dict[str, Any]]:
        return self._list({OWNER_LABEL: self.site.owner, ATTEMPT_LABEL: attempt_id})

    def _id_of(self, attempt_id: str) -> str | None:
        return next((str(each["Id"]) for each in self._of_attempt(attempt_id)), None)

    def _is_there(self, container: Mapping[str, Any]) -> bool:
        """It runs or has run. One that was created and not started is removed, so that it never will."""
        if container.get("State") not in ("created", "initialized", "configured"):
            return container.get("State") != "removing"
        try:
            params = {"v": True, "force": False}
            self.engine.request("DELETE", f"/containers/{container['Id']}", params=params)
        except EngineError as error:
            # The start was faster.
            return not error.missing
        return False

    def _handle(self, attempt_id: str, container: str, labels: Mapping[str, str]) -> RunHandle:
        data = {"id": container, "tty": labels.get(TTY_LABEL) == "1"}
        return RunHandle(runner="docker", attempt_id=attempt_id, data=data)

    def _ask(self, container: str, grace: float) -> None:
        """Stop it: its stop signal, and the engine forces it after the grace, whoever lives then."""
        try:
            params = {"t": math.ceil(grace)}
            # The engine answers when it is over, and goes on if nobody waits for the answer.
            self.engine.request("POST", f"/containers/{container}/stop", params=params, seconds=STOP_ANSWER)
        except EngineAway as error:
            if error.refused:
                raise
        except EngineError as error:
            if not error.missing and error.status != 304:
                self._force(container)

    def _force(self, container: str) -> None:
        for attempt in range(2):
            try:
                self.engine.request("POST", f"/containers/{container}/kill", params={"signal": "KILL"})
                return
            except EngineError as error:
                if error.missing or "is not running" in str(error):
                    return
                if attempt:
                    raise LaunchError(f"the engine cannot stop it: {one_line(str(error))}") from None
                with contextlib.suppress(EngineError):  # a paused container cannot be killed everywhere
                    self.engine.request("POST", f"/containers/{container}/unpause")

    def _remove(self, container: str) -> bool:
        """Remove it with its anonymous volumes, running or not. True: it is not there any more."""
        until = time.monotonic() + 10.0
        while True:
            try:
                params = {"force": True, "v": True}
                self.engine.request("DELETE", f"/containers/{container}", params=params)
                return True
            except EngineError as error:
                if error.missing:
                    return True
                if not error.conflict or time.monotonic() > until:
                    raise LaunchError(f"a container cannot be removed: {error}") from None
            time.sleep(0.1)  # its removal is in progress


def _first_word(made: Mapping[str, Any]) -> str:
    words = [*(made.get("Entrypoint") or ()), *(made.get("Cmd") or ())]
    return str(words[0]) if words else "?"

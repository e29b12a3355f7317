"""A queue for ``launch demo``: an image with Python that needs no network, and nothing left afterwards."""

from __future__ import annotations

import contextlib
import platform
import re
import tarfile
import tempfile
import uuid
from types import TracebackType
from typing import IO, Any

import attrs

from launch_docker import machine_image
from launch_docker.engine import Engine
from launch_docker.errors import EngineAway, EngineError, away, one_line
from launch_docker.settings import Settings
from launchcore.plugin import Fault, LaunchError, QueueConfig, Reason

_PYTHON = re.compile(r"(?:docker\.io/)?(?:library/)?python:3\.(?:1[0-9]|2[0-9])(?:[.-][\w.-]+)?")
"""Official images that are new enough for the demo's job."""
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


class Sample:
    """Entered, it has an image, and gives the queue. Left, it has removed what it and the queue's runs made.

    Touches nothing that it has not made: its images have a name of their own.
    """

    def __init__(self, settings: Settings) -> None:
        self._engine = Engine(attrs.evolve(settings, connect_seconds=min(settings.connect_seconds, 3.0)))
        self._name = f"launch-demo-{uuid.uuid4().hex[:8]}"

    def __enter__(self) -> QueueConfig:
        """:raises LaunchError: no engine answers, or there is no image to be had without network."""
        try:
            base = self._base()
        except BaseException as error:
            self._leave()
            if isinstance(error, EngineAway):
                raise away(error) from None
            if isinstance(error, EngineError):
                raise _cannot(f"the engine refuses: {one_line(str(error), 200)}") from None
            raise
        builder = {
            "type": "docker",
            "base_image": base,
            "destination": f"{self._name}/job",
            # The classic builder leaves no cache behind.
            "buildkit": "never",
            "network": "none",
        }
        return QueueConfig(
            type="docker",
            config={"network": "none", "pull": "never"},
            builder=builder,
            registry={"type": "local"},
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        with contextlib.suppress(EngineAway, EngineError, LaunchError):
            self._remove()
        self._engine.close()

    def _base(self) -> str:
        """One that the engine has, else one that is made of this machine's Python."""
        info = self._engine.info()
        for image in self._engine.get("/images/json"):
            for name in image.get("RepoTags") or ():
                if _PYTHON.fullmatch(name):
                    return str(name)
        why = machine_image.missing() or _other_machine(info)
        if why is not None:
            raise _cannot(f"the engine has no image of Python, and this machine cannot lend one: {why}")
        with tempfile.TemporaryFile() as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                machine_image.write_files(tar)
            file.seek(0)
            return self._import(file)

    def _import(self, file: IO[bytes]) -> str:
        answer = self._engine.request(
            "POST",
            "/images/create",
            params={"fromSrc": "-", "repo": f"{self._name}/python", "tag": "3", "changes": machine_image.ENV},
            data=iter(lambda: file.read(1 << 20), b""),
        )
        said = answer.text
        if '"error"' in said:
            raise _cannot(f"the engine cannot import an image: {one_line(said, 200)}")
        return f"{self._name}/python:3"

    def _remove(self) -> None:
        """The job's image, then what it was built on; and the container of a run that was left."""
        mine = [
            name
            for image in self._engine.get("/images/json")
            for name in image.get("RepoTags") or ()
            if name.startswith(f"{self._name}/")
        ]
        for name in sorted(mine):
            for each in self._engine.get("/containers/json", all=True, filters={"ancestor": [name]}):
                self._delete(f"/containers/{each['Id']}", force=True, v=True)
            self._delete(f"/images/{name}", force=False)

    def _delete(self, path: str, **params: Any) -> None:
        with contextlib.suppress(EngineError):
            self._engine.request("DELETE", path, params=params)


def _other_machine(info: dict[str, Any]) -> str | None:
    theirs, ours = str(info.get("Architecture") or ""), platform.machine()
    if info.get("OSType", "linux") != "linux":
        return "the engine's containers are not Linux"
    same = _MACHINES.get(theirs, theirs) == _MACHINES.get(ours, ours)
    return None if same else f"the engine's machine is {theirs}, this one {ours}"


def _cannot(detail: str) -> LaunchError:
    return LaunchError(
        detail,
        reason=Reason.INFRASTRUCTURE,
        fault=Fault.INFRASTRUCTURE,
        hint="`docker pull python:3.12-slim` brings one, where there is network",
    )

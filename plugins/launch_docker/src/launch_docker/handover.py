"""How secrets come into a container: from a directory in memory, or copied; as variables by a shell."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from launch_docker.engine import Engine
from launch_docker.errors import EngineError, start_failed
from launch_docker.manifest import SECRETS, Image
from launch_docker.vault import Vault, archive
from launchcore.plugin import Fault, LaunchError, Reason, RunPlan


class Handover:
    """Hands secrets to containers that do not run yet. Whoever calls removes them when that fails."""

    def __init__(self, engine: Engine, vault: Vault) -> None:
        self._engine = engine
        self._vault = vault
        self._here: bool | None = None
        self._shells: set[str] = set()

    def mounts(self) -> bool:
        """Are secrets mounted from this machine? Otherwise they are copied into the container."""
        how = self._engine.settings.secrets
        if how == "copy":
            return False
        if self._here is None:
            name = str(self._engine.info().get("Name") or "")
            self._here = self._engine.endpoint.socket is not None and name == socket.gethostname()
        if how == "mount" and self._vault.root is None:
            raise LaunchError(
                "there is no directory in memory for secrets on this machine",
                reason=Reason.CONFIG_ERROR,
                fault=Fault.INFRASTRUCTURE,
                hint="name one in plugins.docker.secrets_directory, or set plugins.docker.secrets to copy",
            )
        return how == "mount" or (self._here and self._vault.root is not None)

    def copy(self, container: str, files: Mapping[str, bytes]) -> None:
        """Into the container's own layer: the way for an engine elsewhere."""
        try:
            self._engine.request(
                "PUT",
                f"/containers/{container}/archive",
                params={"path": "/", "noOverwriteDirNonDir": True},
                data=archive(files, SECRETS),
                headers={"Content-Type": "application/x-tar"},
            )
        except EngineError as error:
            raise LaunchError(
                f"the secrets cannot be copied into the container: {error}",
                reason=Reason.CONFIG_ERROR,
                fault=Fault.INFRASTRUCTURE,
                hint="a read-only container gets secrets from an engine on the agent's own machine only",
            ) from None

    def need_shell(self, container: str, image: Image, plan: RunPlan) -> None:
        """Secret variables come into the environment by the image's shell. Has it one?"""
        if image.id in self._shells:
            return
        try:
            self._engine.request("HEAD", f"/containers/{container}/archive", params={"path": "/bin/sh"})
        except EngineError as error:
            if not error.missing:
                raise start_failed(str(error), command="/bin/sh") from None
            raise LaunchError(
                f"the image {plan.image} has no /bin/sh, by which secret variables come into the environment",
                reason=Reason.CONFIG_ERROR,
                hint="set the queue's `secrets_as: files`, and read each from the file that NAME_FILE names",
            ) from None
        self._shells.add(image.id)

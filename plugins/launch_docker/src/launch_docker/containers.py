"""The containers of one owner on the engine: found by their labels, asked to stop, forced, removed."""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Mapping
from typing import Any

from launch_docker import unseen
from launch_docker.engine import Engine
from launch_docker.errors import EngineAway, EngineError, one_line
from launchcore.plugin import ATTEMPT_LABEL, OWNER_LABEL, LaunchError

STOP_ANSWER = 1.0
"""Seconds that a cancel waits for the engine's answer; the engine stops the container by itself."""


class Containers:
    """All calls raise :class:`EngineAway` when the engine cannot be asked. Thread-safe."""

    def __init__(self, engine: Engine, owner: str) -> None:
        self._engine = engine
        self._owner = owner

    def owned(self) -> list[dict[str, Any]]:
        """All of this owner, whatever their state."""
        return self._list({OWNER_LABEL: self._owner})

    def of_attempt(self, attempt_id: str) -> list[dict[str, Any]]:
        """Mostly one, or none."""
        return self._list({OWNER_LABEL: self._owner, ATTEMPT_LABEL: attempt_id})

    def id_of(self, attempt_id: str) -> str | None:
        return next((str(each["Id"]) for each in self.of_attempt(attempt_id)), None)

    def is_there(self, container: Mapping[str, Any]) -> bool:
        """It runs or has run. One that was created and not started is removed, so that it never will.

        :raises LaunchError: it runs, and the engine does not know of it.
        """
        if container.get("State") not in ("created", "initialized", "configured"):
            return container.get("State") != "removing"
        if self._engine.endpoint.socket is not None and unseen.processes(str(container["Id"])):
            raise LaunchError(
                f"container {container['Id'][:12]} runs without the engine's knowing, which was killed when"
                " it started it",
                hint="it is waited for; killing its processes ends it",
                retryable=True,
            )
        try:
            params = {"v": True, "force": False}
            self._engine.request("DELETE", f"/containers/{container['Id']}", params=params)
        except EngineError as error:
            # The start was faster.
            return not error.missing
        return False

    def ask(self, container: str, grace: float) -> None:
        """Stop it: its stop signal, and the engine forces it after the grace, whoever lives then."""
        try:
            params = {"t": math.ceil(grace)}
            # The engine answers when it is over, and goes on if nobody waits for the answer.
            self._engine.request("POST", f"/containers/{container}/stop", params=params, seconds=STOP_ANSWER)
        except EngineAway as error:
            if error.refused:
                raise
        except EngineError as error:
            if not error.missing and error.status != 304:
                self.force(container)

    def force(self, container: str) -> None:
        """Kill it. One that has ended or is not there needs no force."""
        for attempt in range(2):
            try:
                self._engine.request("POST", f"/containers/{container}/kill", params={"signal": "KILL"})
                return
            except EngineError as error:
                if error.missing or re.search("is not running|can only kill running", str(error)):
                    return
                if attempt:
                    raise LaunchError(f"the engine cannot stop it: {one_line(str(error))}") from None
                with contextlib.suppress(EngineError):  # a paused container cannot be killed everywhere
                    self._engine.request("POST", f"/containers/{container}/unpause")

    def remove(self, container: str) -> bool:
        """Remove it with its anonymous volumes, running or not. True: it is not there any more."""
        until = time.monotonic() + 10.0
        while True:
            try:
                params = {"force": True, "v": True}
                self._engine.request("DELETE", f"/containers/{container}", params=params)
                return True
            except EngineError as error:
                if error.missing:
                    return True
                if not error.conflict or time.monotonic() > until:
                    raise LaunchError(f"a container cannot be removed: {error}") from None
            time.sleep(0.1)  # its removal is in progress

    def _list(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        wanted = [f"{name}={value}" for name, value in labels.items()]
        return list(self._engine.get("/containers/json", all=True, filters={"label": wanted}))

"""An engine behind ssh: one ``ssh`` process forwards its socket to a local one, for all connections."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from launchcore.plugin import LaunchError, Reason


@attrs.frozen(kw_only=True)
class Target:
    """``ssh://user@host:port/socket`` in its parts."""

    destination: str
    port: int | None
    socket: str


def target(url: str) -> Target:
    """Pure. A path after the host is the socket there; without one, the system's.

    :raises LaunchError: ``config_error``: no host, or one that ``ssh`` would read as an option.
    """
    parts = urlsplit(url)
    host, user = parts.hostname or "", parts.username
    words = [host, *([user] if user else [])]
    if not all(re.fullmatch(r"[A-Za-z0-9_.:%][A-Za-z0-9_.:%-]*", word) for word in words) or parts.password:
        raise LaunchError(
            "the engine's ssh:// URL is not ssh://[USER@]HOST[:PORT][/SOCKET]",
            reason=Reason.CONFIG_ERROR,
            hint="ssh keys log in; a password has no place in the URL",
        )
    path = parts.path if parts.path not in ("", "/") else "/var/run/docker.sock"
    return Target(destination=f"{user}@{host}" if user else host, port=parts.port, socket=path)


def command(to: Target, local: str) -> list[str]:
    """Pure: the ``ssh`` that forwards. It asks nothing, ends when the connection does, shares nothing."""
    options = {
        "BatchMode": "yes",
        "ExitOnForwardFailure": "yes",
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
        "ConnectTimeout": "10",
        "ControlMaster": "no",
        "ControlPath": "none",
        "StreamLocalBindUnlink": "yes",
    }
    words = ["ssh", "-nNT", *(f"-o{key}={value}" for key, value in options.items())]
    words += ["-p", str(to.port)] if to.port else []
    return [*words, "-L", f"{local}:{to.socket}", "--", to.destination]


class Tunnel:
    """Starts ``ssh`` when it is needed, and again when it has ended. Thread-safe."""

    def __init__(self, url: str) -> None:
        self._target = target(url)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="launch-ssh-"))
        self.socket = str(self._folder / "engine.sock")

    def ensure(self, seconds: float = 15.0) -> None:
        """Have a living tunnel.

        :raises OSError: ``ssh`` could not connect; its last line says why.
        """
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                return
            if shutil.which("ssh") is None:
                raise LaunchError(
                    "the engine is behind ssh, and there is no ssh command here",
                    reason=Reason.CONFIG_ERROR,
                    hint="install an OpenSSH client",
                )
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.socket)  # noqa: PTH108 (a socket)
            errors = self._folder / "errors"
            with errors.open("wb") as out:
                self._process = subprocess.Popen(
                    command(self._target, self.socket),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=out,
                    start_new_session=True,
                )
            self._wait(errors, time.monotonic() + seconds)

    def _wait(self, errors: Path, until: float) -> None:
        assert self._process is not None
        while not Path(self.socket).exists():
            if self._process.poll() is not None or time.monotonic() > until:
                self._process.kill()
                said = errors.read_text(errors="replace").strip().splitlines()
                raise ConnectionError(f"ssh: {said[-1] if said else 'no answer'}")
            time.sleep(0.02)

    def close(self) -> None:
        """End it. Idempotent."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.wait()
                self._process = None
            shutil.rmtree(self._folder, ignore_errors=True)

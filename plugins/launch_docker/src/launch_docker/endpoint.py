"""Which engine: settings, environment, contexts and the usual sockets → one :class:`Endpoint`.

The order is that of the ``docker`` command: what is said, ``DOCKER_HOST``, ``DOCKER_CONTEXT``, the current
context of ``config.json``; then the sockets of a system engine, a rootless one, Docker Desktop and Podman.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from launch_docker.settings import Settings
from launchcore.plugin import LaunchError, Reason

SYSTEM_SOCKET = "/var/run/docker.sock"


@attrs.frozen(kw_only=True)
class Endpoint:
    """Where an engine is. ``found`` says for people how we came to it."""

    url: str
    found: str
    tls: bool = False
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    verify: bool = True

    @property
    def socket(self) -> str | None:
        """The path of a unix socket."""
        return self.url.removeprefix("unix://") if self.url.startswith("unix://") else None


def locate(
    settings: Settings,
    environ: Mapping[str, str],
    exists: Callable[[str], bool] = os.path.exists,
    uid: int | None = None,
) -> Endpoint:
    """The engine to use. Looks at files, connects to nothing.

    :raises LaunchError: ``config_error``: a context that is not there, a URL of an unknown kind.
    """
    if settings.host:
        return _of_url(settings.host, "the agent's settings", settings, environ)
    if settings.context:
        return _of_context(settings.context, "the agent's settings", settings, environ)
    if environ.get("DOCKER_HOST"):
        return _of_url(environ["DOCKER_HOST"], "DOCKER_HOST", settings, environ)
    named = environ.get("DOCKER_CONTEXT") or _current_context(environ)
    if named and named != "default":
        found = "DOCKER_CONTEXT" if environ.get("DOCKER_CONTEXT") else "the current context"
        return _of_context(named, found, settings, environ)
    for path, what in usual_sockets(environ, os.getuid() if uid is None else uid):
        if exists(path):
            return Endpoint(url=f"unix://{path}", found=what)
    return Endpoint(url=f"unix://{SYSTEM_SOCKET}", found="the default (no engine's socket was found)")


def usual_sockets(environ: Mapping[str, str], uid: int) -> list[tuple[str, str]]:
    """(path, what it is), the most usual one first."""
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
    home = environ.get("HOME", "")
    found = [
        (SYSTEM_SOCKET, "the system's engine"),
        (f"{runtime}/docker.sock", "a rootless engine"),
        (f"{home}/.docker/run/docker.sock", "Docker Desktop"),
        (f"{home}/.docker/desktop/docker.sock", "Docker Desktop"),
        (f"{runtime}/podman/podman.sock", "rootless Podman"),
        ("/run/podman/podman.sock", "Podman"),
    ]
    return [(path, what) for path, what in found if path.startswith("/")]


def _of_url(url: str, found: str, settings: Settings, environ: Mapping[str, str]) -> Endpoint:
    scheme, colon, rest = url.partition("://")
    if not colon:
        scheme, rest = ("unix", url) if url.startswith("/") else ("tcp", url)
    if scheme not in ("unix", "tcp", "http", "https", "ssh") or not rest:
        raise LaunchError(
            f"{found} names the engine {_without_password(url)!r}, which is no URL of one",
            reason=Reason.CONFIG_ERROR,
            hint="use unix:///var/run/docker.sock, tcp://host:2376 or ssh://user@host",
        )
    if scheme in ("unix", "ssh"):
        return Endpoint(url=f"{scheme}://{rest}", found=found)
    folder = environ.get("DOCKER_CERT_PATH") or f"{_config_dir(environ)}"
    by_env = bool(environ.get("DOCKER_TLS_VERIFY")) and found == "DOCKER_HOST"
    tls = scheme == "https" or by_env or bool(settings.tls_ca or settings.tls_cert)

    def file(said: str | None, name: str) -> str | None:
        if said:
            return str(Path(said).expanduser())
        return f"{folder}/{name}" if by_env and Path(folder, name).exists() else None

    return Endpoint(
        url=f"tcp://{rest}",
        found=found,
        tls=tls,
        ca=file(settings.tls_ca, "ca.pem"),
        cert=file(settings.tls_cert, "cert.pem"),
        key=file(settings.tls_key, "key.pem"),
        verify=settings.tls_verify,
    )


def _of_context(name: str, found: str, settings: Settings, environ: Mapping[str, str]) -> Endpoint:
    if name == "default":
        return Endpoint(url=f"unix://{SYSTEM_SOCKET}", found=f"context 'default' ({found})")
    folder = Path(_config_dir(environ), "contexts")
    key = hashlib.sha256(name.encode()).hexdigest()
    meta = _json(folder / "meta" / key / "meta.json")
    docker = (meta or {}).get("Endpoints", {}).get("docker", {})
    if not docker.get("Host"):
        raise LaunchError(
            f"the Docker context {name[:80]!r} ({found}) is not there",
            reason=Reason.CONFIG_ERROR,
            hint="`docker context ls` lists those there are",
        )
    base = _of_url(str(docker["Host"]), f"context {name!r} ({found})", settings, environ)
    files = folder / "tls" / key / "docker"
    if not files.is_dir():
        return base
    kept = {
        what: str(files / f"{what}.pem") for what in ("ca", "cert", "key") if (files / f"{what}.pem").exists()
    }
    verify = not docker.get("SkipTLSVerify", False)
    return attrs.evolve(base, tls=True, verify=verify, **kept)


def _config_dir(environ: Mapping[str, str]) -> str:
    return environ.get("DOCKER_CONFIG") or f"{environ.get('HOME', '')}/.docker"


def _current_context(environ: Mapping[str, str]) -> str | None:
    config = _json(Path(_config_dir(environ), "config.json"))
    name = (config or {}).get("currentContext")
    return str(name) if name else None


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    user = head.rpartition("://")[2].partition(":")[0]
    return f"{head.partition('://')[0]}://{user}@{tail}" if at and "://" in head else url

"""What the agent's configuration and a queue's owner may say. A run can set none of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, Literal

import attrs

from launchcore.plugin import setting

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_FACTOR: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def size(text: str) -> int:
    """Bytes from ``512m``, ``1.5g``, ``64 MiB``; a unit is a power of 1024, as the engine has it.

    >>> size("1.5g")
    1610612736

    :raises ValueError: not a size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"must be a size like 512m or 2g, not {text[:40]!r}")
    return int(float(match[1]) * _FACTOR[match[2].lower()])


def mount_parts(text: str) -> tuple[str, str, bool]:
    """``SOURCE:TARGET[:ro|rw]`` → (source, target, read only). A source without ``/`` is a named volume.

    The text may hold macros that a run fills, so nothing that climbs (``..``) is accepted.

    :raises ValueError: not a mount.
    """
    source, *rest = text.split(":")
    if not rest or len(rest) > 2 or (len(rest) == 2 and rest[1] not in ("ro", "rw")):
        raise ValueError(f"must be SOURCE:TARGET or SOURCE:TARGET:ro, not {text[:120]!r}")
    target = rest[0]
    if not target.startswith("/") or not _plain(target):
        raise ValueError(f"the target {target[:80]!r} must be an absolute path without '..'")
    if source.startswith("/"):
        if not _plain(source):
            raise ValueError(f"the source {source[:80]!r} must not climb with '..'")
    elif not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}", source):
        raise ValueError(f"the source {source[:80]!r} must be an absolute path or the name of a volume")
    return source, target, rest[1:] == ["ro"]


def device_parts(text: str) -> tuple[str, str, str]:
    """``/dev/x[:/dev/y][:rwm]`` → (on the host, in the container, permissions).

    :raises ValueError: not a device.
    """
    host, *rest = text.split(":")
    mode = rest.pop() if rest and re.fullmatch(r"[rwm]{1,3}", rest[-1]) else "rwm"
    inside = rest.pop() if rest else host
    if rest or not all(each.startswith("/dev/") and _plain(each) for each in (host, inside)):
        raise ValueError(f"must be /dev/NAME, /dev/NAME:/dev/NAME or with :rwm, not {text[:80]!r}")
    return host, inside, mode


def _plain(path: str) -> bool:
    return ".." not in path.split("/") and "\0" not in path


def _each(read: Callable[[str], object]) -> Callable[[Any, Any, Any], None]:
    """A validator: every text of the value, or the value itself, can be read."""

    def validate(_: Any, attribute: Any, value: Any) -> None:
        for text in (value,) if isinstance(value, str) else value or ():
            try:
                read(text)
            except ValueError as error:
                raise ValueError(f"'{attribute.name}' {error}") from None

    return validate


def _positive(_: Any, attribute: Any, value: Any) -> None:
    if value is not None and value <= 0:
        raise ValueError(f"'{attribute.name}' must be more than 0")


@attrs.frozen(kw_only=True)
class Prune:
    """Which of our images are removed when nobody uses them."""

    after_days: float | None = setting(
        "Remove images that launchcore built and that no run has used for so many days.", default=None
    )
    keep_size: str | None = setting(
        "Remove the longest unused ones while all of them together are larger than this: 20g.",
        default=None,
        validator=_each(size),
    )
    every_hours: float = setting("Hours between two looks.", default=6.0, validator=_positive)


@attrs.frozen(kw_only=True)
class Settings:
    """The agent's settings: ``plugins.docker``. Which engine, and how to speak to it."""

    host: str | None = setting(
        "The engine: unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST[:PORT][/SOCKET]. "
        "Without it: `context`, DOCKER_HOST, DOCKER_CONTEXT, the current context, then the usual sockets.",
        default=None,
    )
    context: str | None = setting("The name of a Docker context to use.", default=None)
    tls_ca: str | None = setting("File of the CA that signed the engine's certificate (tcp).", default=None)
    tls_cert: str | None = setting("File of this agent's client certificate (tcp).", default=None)
    tls_key: str | None = setting("File of the client certificate's key (tcp).", default=None)
    tls_verify: bool = setting("Check the engine's certificate (tcp with TLS).", default=True)
    api_version: str | None = setting(
        "The version of the engine's API to speak, like 1.41; without it, what the engine says.", default=None
    )
    connect_seconds: float = setting(
        "Seconds until a connection to the engine counts as failed.", default=5.0, validator=_positive
    )
    answer_seconds: float = setting(
        "Seconds that the engine may take for an answer.", default=60.0, validator=_positive
    )
    pull_stall_seconds: float = setting(
        "Seconds without any progress after which a pull counts as failed.",
        default=300.0,
        validator=_positive,
    )
    gpus: tuple[str, ...] = setting(
        "Indexes or UUIDs of the GPUs that runs may have, shared out so that no two runs have the same one.",
        default=(),
    )
    gpu_access: Literal["request", "environment"] = setting(
        "How a container gets its GPUs: a device request to the engine, or NVIDIA_VISIBLE_DEVICES, where "
        "NVIDIA's runtime is the engine's default or the queue's `runtime`.",
        default="request",
    )
    gpu_directory: str | None = setting(
        "Directory of the record of who has which GPU; agents that share GPUs share it. "
        "Without it, the agent's state directory.",
        default=None,
    )
    secrets: Literal["auto", "mount", "copy"] = setting(
        "How secrets come into a container: `mount` a private directory in memory (the engine must run on "
        "this machine), or `copy` them into the container's own layer. `auto`: mount where that works.",
        default="auto",
    )
    secrets_directory: str | None = setting(
        "A directory in memory (tmpfs) for the secrets of running containers; without it, the usual ones.",
        default=None,
    )
    prune: Prune = setting("Removing images.", factory=Prune)


@attrs.frozen(kw_only=True)
class RunConfig:
    """A queue's target configuration: what its runs get. Everything unsafe is off unless it is said here."""

    entrypoint: tuple[str, ...] | None = setting(
        "Replaces the image's entry point; [] for none, so that the run's command is what is executed.",
        default=None,
    )
    command: tuple[str, ...] = setting("The command of runs that bring none.", default=())
    workdir: str | None = setting("The working directory; without it, the image's.", default=None)
    user: str | None = setting(
        "User, or USER:GROUP, by name or number; without it, the image's.", default=None
    )
    groups: tuple[str, ...] = setting("Further groups of the user.", default=())
    env: dict[str, str] = setting("Environment variables of every run; a run's own win.", factory=dict)
    labels: dict[str, str] = setting("Labels of every container.", factory=dict)
    hostname: str | None = setting("The container's host name.", default=None)
    mounts: tuple[str, ...] = setting(
        "Host paths or named volumes: SOURCE:TARGET[:ro].", default=(), validator=_each(mount_parts)
    )
    engine_socket: bool = setting(
        "Allow `mounts` to have the engine's socket in them: whoever has it is root on the machine.",
        default=False,
    )
    tmpfs: dict[str, str] = setting("Directories in memory: path to options, like size=64m.", factory=dict)
    read_only: bool = setting("Make the container's own file system read-only.", default=False)
    devices: tuple[str, ...] = setting(
        "Devices: /dev/NAME[:/dev/NAME][:rwm].", default=(), validator=_each(device_parts)
    )
    gpus: int = setting(
        "GPUs for each run, out of the agent's list.", default=0, validator=attrs.validators.ge(0)
    )
    all_gpus: bool = setting("Give every run all GPUs of the machine, shared with all others.", default=False)
    network: str | None = setting(
        "The network: bridge, none, host, or a name; without it, the engine's default.", default=None
    )
    dns: tuple[str, ...] = setting("Addresses of name servers.", default=())
    extra_hosts: tuple[str, ...] = setting("Lines for /etc/hosts: NAME:ADDRESS.", default=())
    privileged: bool = setting(
        "Give up isolation: the container may do everything on the host.", default=False
    )
    cap_add: tuple[str, ...] = setting("Capabilities to add.", default=())
    cap_drop: tuple[str, ...] = setting("Capabilities to drop; ALL for all.", default=())
    security_opt: tuple[str, ...] = setting(
        "Further security options (seccomp, apparmor, label).", default=()
    )
    no_new_privileges: bool = setting(
        "Processes cannot gain privileges (set-uid programs have no effect).", default=True
    )
    ipc: str | None = setting("IPC namespace: private, shareable, host.", default=None)
    pid: str | None = setting("PID namespace: host; without it, the container's own.", default=None)
    userns: str | None = setting("User namespace: host, where the engine maps users.", default=None)
    cgroup_parent: str | None = setting("The parent cgroup.", default=None)
    runtime: str | None = setting("The OCI runtime, by the name that the engine has for it.", default=None)
    sysctls: dict[str, str] = setting("Kernel parameters of the container's namespaces.", factory=dict)
    shm_size: str | None = setting(
        "Size of /dev/shm; data loaders of ML frameworks need more than the 64m of the engine.",
        default=None,
        validator=_each(size),
    )
    memory: str | None = setting(
        "Memory limit of every run, without swap: 8g. A run's smaller limit wins.",
        default=None,
        validator=_each(size),
    )
    cpus: float | None = setting("CPUs that a run may use: 1.5.", default=None, validator=_positive)
    cpuset: str | None = setting("CPUs by number: 0-3,8.", default=None)
    pids_limit: int | None = setting(
        "Most processes and threads of a run.", default=None, validator=_positive
    )
    ulimits: dict[str, str] = setting("Limits of processes: nofile to SOFT or SOFT:HARD.", factory=dict)
    init: bool = setting(
        "Run the engine's init as process 1: it reaps zombies and passes signals.", default=True
    )
    stop_signal: str | None = setting(
        "The signal that asks a run to stop; without it, the image's.", default=None
    )
    tty: bool = setting("Give the run a terminal; its two outputs become one.", default=False)
    platform: str | None = setting("The platform of the image: linux/arm64.", default=None)
    pull: Literal["missing", "always", "never"] = setting(
        "When images are pulled. One with a digest is pulled only if it is missing.", default="missing"
    )
    secrets_as: Literal["environment", "files"] = setting(
        "How secret variables come to a run: in its environment, by the image's /bin/sh, or only as files, "
        "whose paths are in NAME_FILE.",
        default="environment",
    )
    log_driver: Literal["local", "json-file"] = setting(
        "How the engine keeps the log until the agent has it. `local` keeps every byte as it was.",
        default="local",
    )
    log_max_size: str = setting(
        "Size of one of the engine's log files; an agent that is away for longer than they last loses lines.",
        default="100m",
        validator=_each(size),
    )
    log_max_files: int = setting("How many of them.", default=5, validator=_positive)

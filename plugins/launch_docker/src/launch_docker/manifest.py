"""Plan, contributions and the queue's configuration → the body of the engine's "create container". Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from launch_docker.diagnosis import RUN_SECONDS_LABEL
from launch_docker.settings import RunConfig, device_parts, mount_parts, size
from launchcore.plugin import Fault, Given, LaunchError, Reason, RunPlan, Secret

SECRETS: Final = "/run/launch"
"""Where a container finds its secrets: ``env``, ``secrets/NAME``, ``files/NAME``."""
TTY_LABEL: Final = "launchcore.docker.tty"
GPUS_LABEL: Final = "launchcore.docker.gpus"
OURS: Final = "launchcore."
_SH: Final = ("/bin/sh", "-c", f'. {SECRETS}/env && exec "$@"', "launch")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_GPU_ENV: Final = "NVIDIA_VISIBLE_DEVICES"
_SOCKETS: Final = frozenset({"/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock"})


@attrs.frozen(kw_only=True)
class Image:
    """What matters of an image that is on the engine."""

    id: str
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    @classmethod
    def of(cls, inspected: Mapping[str, Any]) -> Image:
        config = inspected.get("Config") or {}
        return cls(
            id=str(inspected.get("Id") or ""),
            entrypoint=tuple(config.get("Entrypoint") or ()),
            command=tuple(config.get("Cmd") or ()),
        )


@attrs.frozen(kw_only=True)
class Surroundings:
    """What the runner has found out or decided for one container.

    ``secrets``: the private directory on the engine's machine that is mounted, if secrets are.
    ``socket``: the engine's own, which no run may have.
    """

    secrets: str | None = None
    gpus: tuple[str, ...] = ()
    gpu_access: str = "request"
    podman: bool = False
    socket: str | None = None


def container_name(name: str) -> str:
    """The plan's name as the engine accepts it: the same one every time."""
    clean = re.sub(r"[^a-zA-Z0-9_.-]", "-", name)
    return clean if re.match(r"[a-zA-Z0-9]", clean) and len(clean) > 1 else f"l{clean}-"


def body(plan: RunPlan, given: Given, image: Image, around: Surroundings) -> dict[str, Any]:
    """The container. It holds names and paths of secrets, never a value.

    :raises LaunchError: ``config_error`` or ``user_error``: what cannot be.
    """
    config: RunConfig = plan.settings
    assert plan.image is not None
    entrypoint, command = _argv(plan, config, image)
    if _needs_shell(config, given):
        entrypoint, command = _SH, (*entrypoint, *command)
    found: dict[str, Any] = {
        "Image": str(plan.image),
        "Entrypoint": list(entrypoint) or None,
        "Cmd": list(command),
        "Env": [f"{name}={value}" for name, value in environment(plan, given, around).items()],
        "Labels": labels(plan, given, around),
        "WorkingDir": config.workdir,
        "User": config.user,
        "Hostname": config.hostname,
        "Tty": config.tty,
        "StopSignal": config.stop_signal,
        "HostConfig": _host(plan, given, config, around),
    }
    return {key: value for key, value in found.items() if value is not None}


def environment(plan: RunPlan, given: Given, around: Surroundings) -> dict[str, str]:
    """All variables in clear, and for each secret the path of its file.

    :raises LaunchError: ``user_error``: a name or value that no process can have.
    """
    config: RunConfig = plan.settings
    env = {**config.env, **plan.env}
    for variable in given.env:
        if isinstance(variable.value, Secret):
            env.setdefault(f"{variable.name}_FILE", f"{SECRETS}/secrets/{variable.name}")
        else:
            env[variable.name] = variable.value
    for file in given.files:
        if file.path_env:
            env[file.path_env] = f"{SECRETS}/files/{_file_name(file.name)}"
    if plan.env.get(_GPU_ENV, "void") not in ("", "none", "void"):
        raise LaunchError(
            f"a run cannot choose its GPUs by {_GPU_ENV}",
            reason=Reason.CONFIG_ERROR,
            fault=Fault.USER,
            hint="the queue's owner gives each run GPUs with the queue's `gpus`",
        )
    if around.gpu_access == "environment":
        # An image may say "all", and NVIDIA's runtime believes it.
        env[_GPU_ENV] = ",".join(around.gpus) or config.env.get(_GPU_ENV) or _no_gpus(config)
    env.update(LAUNCH_RUN_ID=plan.run_id, LAUNCH_ATTEMPT_ID=plan.attempt_id, LAUNCH_QUEUE=plan.queue)
    for name, value in env.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise LaunchError(
                f"the variable {name[:80]!r} cannot be set: it has a character that none may have",
                reason=Reason.USER_ERROR,
                hint="names have no '=' and no zero bytes, values have no zero bytes",
            )
    return env


def _no_gpus(config: RunConfig) -> str:
    return "all" if config.all_gpus else "void"


def labels(plan: RunPlan, given: Given, around: Surroundings) -> dict[str, str]:
    """The core's win over everybody's; ours are always set, so that none comes from the image."""
    config: RunConfig = plan.settings
    for name in config.labels:
        if name.startswith(OURS):
            raise _refused(f"labels that begin with {OURS!r} are launchcore's own, not {name!r}")
    limit = plan.limits.run_seconds
    return {
        **config.labels,
        **{label.name: label.value for label in given.labels},
        RUN_SECONDS_LABEL: f"{limit:g}" if limit is not None else "",
        TTY_LABEL: "1" if config.tty else "",
        GPUS_LABEL: ",".join(around.gpus),
        **plan.labels,
    }


def secret_files(plan: RunPlan, given: Given) -> dict[str, bytes]:
    """Path under :data:`SECRETS` → content; empty when the run has no secret.

    :raises LaunchError: a name that cannot be a variable's, or is not one.
    """
    config: RunConfig = plan.settings
    found: dict[str, bytes] = {}
    lines = []
    for variable in given.env:
        if not isinstance(variable.value, Secret):
            continue
        if not _NAME.fullmatch(variable.name):
            raise LaunchError(
                f"{variable.name[:80]!r} is no name for a secret variable",
                reason=Reason.CONFIG_ERROR,
                hint="use letters, digits and _",
            )
        text = variable.value.reveal()
        found[f"secrets/{variable.name}"] = text.encode()
        lines.append(f"export {variable.name}='" + text.replace("'", "'\\''") + "'\n")
    for file in given.files:
        path = f"files/{_file_name(file.name)}"
        if path in found:
            raise LaunchError(f"two secret files are called {file.name!r}", reason=Reason.PLUGIN_ERROR)
        found[path] = file.content.reveal().encode()
    if lines and config.secrets_as == "environment":
        found["env"] = "".join(lines).encode()
    return found


def _needs_shell(config: RunConfig, given: Given) -> bool:
    return config.secrets_as == "environment" and any(isinstance(each.value, Secret) for each in given.env)


def _file_name(name: str) -> str:
    """One component, nothing odd, and different for different names of any plugin."""
    clean = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    return clean if clean.strip(".") else f"_{clean}"


def _argv(plan: RunPlan, config: RunConfig, image: Image) -> tuple[tuple[str, ...], tuple[str, ...]]:
    entrypoint = image.entrypoint if config.entrypoint is None else config.entrypoint
    command = plan.command or config.command
    if not command and config.entrypoint is None:
        command = image.command
    if not entrypoint and not command:
        raise LaunchError(
            f"the image {plan.image} has no command, and the run brings none",
            reason=Reason.USER_ERROR,
            hint="put the command after `--` when you submit",
        )
    if any("\0" in word for word in (*entrypoint, *command)):
        raise LaunchError("the command has a zero byte in it", reason=Reason.USER_ERROR)
    return entrypoint, command


def _host(plan: RunPlan, given: Given, config: RunConfig, around: Surroundings) -> dict[str, Any]:
    if around.podman:
        _refuse_on_podman(config, around)
    memory = _memory(plan, config)
    options = ["no-new-privileges"] if config.no_new_privileges and not config.privileged else []
    found: dict[str, Any] = {
        "Init": config.init,
        "LogConfig": _log(config, podman=around.podman),
        "RestartPolicy": {"Name": "no"},
        "Mounts": _mounts(given, config, around) or None,
        "Tmpfs": dict(config.tmpfs) or None,
        "ReadonlyRootfs": config.read_only or None,
        "Devices": [_device(each) for each in config.devices] or None,
        "DeviceRequests": _gpus(config, around) or None,
        "NetworkMode": config.network,
        "Dns": list(config.dns) or None,
        "ExtraHosts": list(config.extra_hosts) or None,
        "Privileged": config.privileged or None,
        "CapAdd": list(config.cap_add) or None,
        "CapDrop": list(config.cap_drop) or None,
        "SecurityOpt": [*options, *config.security_opt] or None,
        "GroupAdd": list(config.groups) or None,
        "IpcMode": config.ipc,
        "PidMode": config.pid,
        "UsernsMode": config.userns,
        "CgroupParent": config.cgroup_parent,
        "Runtime": config.runtime,
        "Sysctls": dict(config.sysctls) or None,
        "ShmSize": size(config.shm_size) if config.shm_size else None,
        "Memory": memory,
        # The same limit with swap as without: no swap, so that too much memory shows at once.
        "MemorySwap": memory,
        "NanoCpus": math.ceil(config.cpus * 1e9) if config.cpus else None,
        "CpusetCpus": config.cpuset,
        "PidsLimit": config.pids_limit,
        "Ulimits": [_ulimit(name, text) for name, text in sorted(config.ulimits.items())] or None,
    }
    return {key: value for key, value in found.items() if value is not None}


def _refuse_on_podman(config: RunConfig, around: Surroundings) -> None:
    """What Podman's compatible socket would leave out without a word."""
    if config.runtime:
        raise _refused(f"Podman's compatible socket does not take `runtime: {config.runtime}`")
    if (config.all_gpus or around.gpus) and around.gpu_access == "request":
        raise _refused("Podman's compatible socket gives no GPUs by request; see plugins.docker.gpu_access")


def _memory(plan: RunPlan, config: RunConfig) -> int | None:
    bounds = [size(config.memory)] if config.memory else []
    bounds += [plan.limits.memory_bytes] if plan.limits.memory_bytes else []
    return min(bounds, default=None)


def _mounts(given: Given, config: RunConfig, around: Surroundings) -> list[dict[str, Any]]:
    asked = [mount_parts(text) for text in config.mounts]
    asked += [(volume.source, volume.path, volume.read_only) for volume in given.volumes]
    found = []
    targets: set[str] = set()
    for source, target, read_only in asked:
        if source in _SOCKETS | {around.socket} and not config.engine_socket:
            raise _refused(f"the engine's socket {source} is not mounted into a run")
        clean = target.rstrip("/") or "/"
        if clean == SECRETS or clean.startswith(SECRETS + "/"):
            raise _refused(f"{SECRETS} is where a run's secrets are; nothing can be mounted there")
        if clean in targets:
            raise _refused(f"two volumes are to be mounted at {clean}")
        targets.add(clean)
        kind = "bind" if source.startswith("/") else "volume"
        found.append({"Type": kind, "Source": source, "Target": target, "ReadOnly": read_only})
    if around.secrets is not None:
        found.append({"Type": "bind", "Source": around.secrets, "Target": SECRETS, "ReadOnly": True})
    return found


def _log(config: RunConfig, *, podman: bool) -> dict[str, Any]:
    if podman:
        # One file, which is emptied when it is full.
        room = size(config.log_max_size) * config.log_max_files
        return {"Type": "json-file", "Config": {"max-size": str(room)}}
    limits = {"max-size": config.log_max_size, "max-file": str(config.log_max_files)}
    # A terminal's output has no frames, and `local` forgets line ends that could stand for them.
    return {"Type": "json-file" if config.tty else config.log_driver, "Config": limits}


def _device(text: str) -> dict[str, str]:
    host, inside, mode = device_parts(text)
    return {"PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": mode}


def _gpus(config: RunConfig, around: Surroundings) -> list[dict[str, Any]]:
    if config.all_gpus:
        return [{"Count": -1, "Capabilities": [["gpu"]]}]
    if around.gpus and around.gpu_access == "request":
        return [{"DeviceIDs": list(around.gpus), "Capabilities": [["gpu"]]}]
    return []


def _ulimit(name: str, text: str) -> dict[str, Any]:
    soft, _, hard = str(text).partition(":")
    try:
        return {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}
    except ValueError:
        raise _refused(f"the ulimit {name}: {text!r} must be SOFT or SOFT:HARD, in numbers") from None


def _refused(detail: str) -> LaunchError:
    return LaunchError(
        detail,
        reason=Reason.CONFIG_ERROR,
        fault=Fault.INFRASTRUCTURE,
        hint="`launch queue show` shows the queue's configuration; its owner can change it",
    )


def command_line(parts: Sequence[str]) -> str:
    """The first word, for a message."""
    return parts[0] if parts else "?"

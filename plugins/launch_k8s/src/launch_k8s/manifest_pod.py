"""Plan and configuration → one pod template, filled in place. What the template says is kept. Pure."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from launch_k8s.kinds import KindInfo
from launch_k8s.manifest_resources import gpu_requested, resources
from launch_k8s.manifest_secrets import FOLDER, SecretParts
from launch_k8s.refusal import refused, refused_run
from launch_k8s.security import check, given_user, secure
from launch_k8s.settings import RunConfig
from launch_k8s.template import PodTemplate, default_container
from launchcore.plugin import Given, RunPlan, Secret

_ENV_NAME: Final = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*", re.ASCII)
_REFERENCE: Final = re.compile(r"\$+(?=\()|\${2,}")
_GPU_ENV: Final = "NVIDIA_VISIBLE_DEVICES"
_PULL: Final = {"missing": "IfNotPresent", "always": "Always", "never": "Never"}


@attrs.frozen(kw_only=True)
class Order:
    """One attempt, as everything that fills a manifest needs it.

    ``objects``: the variables that name the run's further objects. ``deadline``: seconds after which the
    cluster stops a pod.
    """

    plan: RunPlan
    given: Given
    config: RunConfig
    secrets: SecretParts
    objects: Mapping[str, str] = attrs.field(factory=dict)
    deadline: int | None = None


def literal(text: str) -> str:
    """``text`` so that the cluster leaves it alone: in arguments and variables it expands ``$(NAME)``.

    >>> literal("$(HOME) $HOME $$")
    '$$(HOME) $HOME $$$$'
    """
    return _REFERENCE.sub(lambda match: match[0] * 2, text)


def main_container(pod: PodTemplate, kind: KindInfo, config: RunConfig, image: str) -> dict[str, Any]:
    """The container of a pod template that is the run's; it has a name from now on."""
    found = _find_main(pod.containers, kind, config, image)
    found.setdefault("name", config.main_container or default_container(kind))
    return found


def fill_pod(pod: PodTemplate, main: dict[str, Any], order: Order) -> None:
    """Fill one pod template, and the container in it that is the run's.

    :raises LaunchError: ``config_error``: what cannot be, or is not allowed.
    """
    spec, config, pull = pod.spec, order.config, order.secrets.pull_secret
    for at, container in enumerate(pod.containers):
        container.setdefault("name", f"container-{at}")
        if not container.get("image"):
            container["image"] = str(order.plan.image)
            if config.pull:
                container.setdefault("imagePullPolicy", _PULL[config.pull])
    _schedule(spec, config)
    _bound(spec, order)
    if pull or config.image_pull_secrets:
        names = [*config.image_pull_secrets, *([pull] if pull else [])]
        spec.setdefault("imagePullSecrets", []).extend({"name": name} for name in names)
    _command(main, order.plan, config, commanded=pod.commanded)
    resources(main, order.plan, config, gpus=config.gpus if pod.computes else 0)
    _volumes(spec, main, order)
    secure(spec, config)
    main["env"] = environment(main, order, home=given_user(spec, config))
    if config.env_from:
        main["envFrom"] = [*main.get("envFrom", ()), *config.env_from]
    check(spec, config, pod.path)


def environment(main: Mapping[str, Any], order: Order, *, home: bool) -> list[dict[str, Any]]:
    """The variables of the main container: the queue's, then what plugins give, then the run's.

    :param home: its user has no home in the image.
    :raises LaunchError: ``config_error``: a name or value that no container can have.
    """
    plan, config = order.plan, order.config
    if plan.env.get(_GPU_ENV, "void") not in ("", "none", "void"):
        raise refused_run(
            f"a run cannot choose its GPUs by {_GPU_ENV}", "the queue's owner gives each run GPUs with `gpus`"
        )
    found: dict[str, dict[str, Any]] = {
        name: {"name": name, "value": value} for name, value in config.env.items()
    }
    if home:
        # A user that the image does not know has / for a home, and can write nothing there.
        found.setdefault("HOME", {"name": "HOME", "value": "/tmp"})  # noqa: S108
    found.update({str(entry.get("name")): dict(entry) for entry in main.get("env", ())})
    if not gpu_requested(main, config):
        # An image may say "all", and NVIDIA's runtime believes it.
        found.setdefault(_GPU_ENV, {"name": _GPU_ENV, "value": "void"})
    found.update({entry["name"]: copy.deepcopy(entry) for entry in order.secrets.env})
    clear = {each.name: each.value for each in order.given.env if not isinstance(each.value, Secret)}
    own = {"LAUNCH_RUN_ID": plan.run_id, "LAUNCH_ATTEMPT_ID": plan.attempt_id, "LAUNCH_QUEUE": plan.queue}
    for name, value in {**order.objects, **clear, **plan.env, **own}.items():
        if not _ENV_NAME.fullmatch(name) or "\0" in value:
            raise refused_run(
                f"the variable {name[:80]!r} cannot be set on a cluster",
                "names have letters, digits, '_', '-' and '.', values have no zero bytes",
            )
        found[name] = {"name": name, "value": literal(value)}
    return list(found.values())


def merge_labels(body: dict[str, Any], kind: str, values: Mapping[str, str]) -> None:
    """Set labels or annotations (``kind``) of an object or pod template, in place."""
    metadata = body.setdefault("metadata", {})
    if metadata is None:
        metadata = body["metadata"] = {}
    if values:
        metadata[kind] = {**(metadata.get(kind) or {}), **values}


def _find_main(
    containers: Sequence[dict[str, Any]], kind: KindInfo, config: RunConfig, image: str
) -> dict[str, Any]:
    for name in (config.main_container, default_container(kind)):
        for container in containers:
            if name and container.get("name") == name:
                return container
    if config.main_container and all(container.get("name") for container in containers):
        names = ", ".join(str(container["name"])[:60] for container in containers)
        raise refused(f"no container is called {config.main_container[:60]!r}; there are: {names}")
    for container in containers:
        if container.get("image") in (None, "", image):
            return container
    return containers[0]


def _command(main: dict[str, Any], plan: RunPlan, config: RunConfig, *, commanded: bool) -> None:
    words = list(plan.command) or list(config.command)
    if any("\0" in word for word in words):
        raise refused_run("the command has a zero byte in it", "take it out")
    if plan.command and main.get("args") == words:  # the template's ${args}
        main["args"] = [literal(word) for word in words]
    if config.workdir:
        main.setdefault("workingDir", config.workdir)
    if not commanded:
        return
    if config.entrypoint:
        main.setdefault("command", list(config.entrypoint))
    if words and "args" not in main:
        main["args"] = [literal(word) for word in words] if plan.command else words


def _schedule(spec: dict[str, Any], config: RunConfig) -> None:
    spec.setdefault("restartPolicy", "Never")
    spec.setdefault("automountServiceAccountToken", config.service_account_token)
    spec.setdefault("enableServiceLinks", False)
    if config.node_selector:
        spec["nodeSelector"] = {**config.node_selector, **spec.get("nodeSelector", {})}
    if config.tolerations:
        spec["tolerations"] = [*spec.get("tolerations", ()), *map(dict, config.tolerations)]
    for key, value in (
        ("affinity", dict(config.affinity)),
        ("priorityClassName", config.priority_class),
        ("runtimeClassName", config.runtime_class),
        ("schedulerName", config.scheduler),
        ("serviceAccountName", config.service_account),
    ):
        if value:
            spec.setdefault(key, value)


def _bound(spec: dict[str, Any], order: Order) -> None:
    spec.setdefault("terminationGracePeriodSeconds", math.ceil(order.plan.limits.grace_seconds))
    if order.deadline is not None:
        own = spec.get("activeDeadlineSeconds")
        spec["activeDeadlineSeconds"] = min(own, order.deadline) if isinstance(own, int) else order.deadline


def _volumes(spec: dict[str, Any], main: dict[str, Any], order: Order) -> None:
    given, config, secrets = order.given, order.config, order.secrets
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    for asked in config.volumes:
        volume = dict(asked)
        place = {"mountPath": volume.pop("mount_path", None), "readOnly": volume.pop("read_only", None)}
        place["subPath"] = volume.pop("sub_path", None)
        if not isinstance(volume.get("name"), str) or not isinstance(place["mountPath"], str):
            raise refused("each of the queue's `volumes` needs a `name` and a `mount_path`")
        if volume not in volumes:
            volumes.append(volume)
        mounts.append({"name": volume["name"], **{k: v for k, v in place.items() if v is not None}})
    for at, contributed in enumerate(given.volumes):
        name = f"launch-volume-{at}"
        if contributed.source.startswith("/"):
            volumes.append({"name": name, "hostPath": {"path": contributed.source}})
        else:
            claim = {"claimName": contributed.source, "readOnly": contributed.read_only}
            volumes.append({"name": name, "persistentVolumeClaim": claim})
        mounts.append({"name": name, "mountPath": contributed.path, "readOnly": contributed.read_only})
    if config.shm_size:
        volumes.append({"name": "launch-shm", "emptyDir": {"medium": "Memory", "sizeLimit": config.shm_size}})
        mounts.append({"name": "launch-shm", "mountPath": "/dev/shm"})  # noqa: S108
    if secrets.volume is not None and secrets.mount is not None:
        volumes.append(copy.deepcopy(secrets.volume))
        mounts.append(dict(secrets.mount))
    if volumes:
        spec["volumes"] = [*spec.get("volumes", ()), *volumes]
    if mounts:
        main["volumeMounts"] = [*main.get("volumeMounts", ()), *mounts]
    _check_mounts(spec, main, secrets)


def _check_mounts(spec: dict[str, Any], main: dict[str, Any], secrets: SecretParts) -> None:
    names = [volume.get("name") for volume in spec.get("volumes", ())]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise refused(f"two volumes are called {str(twice)[:60]!r}")
    paths = [str(mount.get("mountPath") or "").rstrip("/") or "/" for mount in main.get("volumeMounts", ())]
    if twice := next((path for path in paths if paths.count(path) > 1), None):
        raise refused(f"two volumes are to be mounted at {twice[:80]}")
    inside = [path for path in paths if path.startswith(f"{FOLDER}/")]
    if secrets.mount is not None and inside:
        raise refused(f"{FOLDER} is where a run's secrets are; nothing can be mounted at {inside[0][:80]}")

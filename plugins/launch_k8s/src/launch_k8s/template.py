"""The queue's configuration → the object to fill: a manifest, its kind, and the pod templates in it. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from launch_k8s.kinds import KindInfo, kind_for
from launch_k8s.paths import problem
from launch_k8s.refusal import refused
from launch_k8s.settings import RunConfig

MAX_DEPTH: Final = 40
DEFAULT_CONTAINER: Final = "main"
_CONTAINER_NAMES: Final = {
    "PyTorchJob": "pytorch",
    "TFJob": "tensorflow",
    "XGBoostJob": "xgboost",
    "PaddleJob": "paddle",
    "JAXJob": "jax",
    "TrainJob": "node",
}
"""What Kubeflow's controllers want the main container to be called."""
_MAIN_ROLES: Final = ("Master", "Chief", "Launcher", "headGroupSpec")
_POD_SHAPE: Final = {
    "containers": list,
    "initContainers": list,
    "volumes": list,
    "imagePullSecrets": list,
    "tolerations": list,
    "securityContext": dict,
    "nodeSelector": dict,
    "affinity": dict,
}
_CONTAINER_SHAPE: Final = {
    "name": str,
    "image": str,
    "command": list,
    "args": list,
    "env": list,
    "envFrom": list,
    "ports": list,
    "volumeMounts": list,
    "resources": dict,
    "securityContext": dict,
}
_OF_MAPPINGS: Final = frozenset({*_POD_SHAPE, *_CONTAINER_SHAPE} - {"command", "args"})
_NO_TEMPLATE: Final = frozenset({"TrainJob"})


@attrs.frozen(kw_only=True)
class PodTemplate:
    """One pod template inside a manifest. ``body`` (metadata, spec) is filled in place."""

    path: str
    body: dict[str, Any]
    main: bool
    """Its pods' main container decides, where one of several does."""
    commanded: bool
    """Its main container runs the run's command."""
    computes: bool = True
    """Its main container gets the queue's GPUs."""

    @property
    def spec(self) -> dict[str, Any]:
        found: dict[str, Any] = self.body["spec"]
        return found

    @property
    def containers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.spec["containers"]
        return found


@attrs.frozen(kw_only=True)
class Template:
    """A manifest of the queue's, copied, with its pod templates."""

    manifest: dict[str, Any]
    kind: KindInfo
    pods: tuple[PodTemplate, ...]

    @property
    def main(self) -> PodTemplate | None:
        """The template whose main container decides; ``None`` for a kind that has its pods elsewhere."""
        return next((each for each in self.pods if each.main), None)


def template(config: RunConfig) -> Template:
    """What the queue wants a run to be; a Job with one container when it says nothing.

    :raises LaunchError: ``config_error``: it says two things, or nothing that has pods.
    """
    manifest = _manifest(config)
    api_version, kind_name = manifest.get("apiVersion"), manifest.get("kind")
    if not isinstance(api_version, str) or not isinstance(kind_name, str) or not api_version or not kind_name:
        raise refused("the queue's manifest needs `apiVersion` and `kind`")
    for rules in attrs.asdict(config.status, recurse=False).values() if config.status else ():
        for rule in rules:
            if wrong := problem(rule):
                raise refused(f"the queue's `status`: {wrong}")
    kind = kind_for(api_version, kind_name, config.status, config.pod_selector)
    _check_shape(manifest)
    if kind.kind == "Job" and kind.group == "batch":
        _ensure_job_template(manifest)
    pods = _templates(manifest, kind)
    if not pods and kind.kind not in _NO_TEMPLATE:
        raise refused(
            f"the queue's {kind_name} has no pod template",
            "its kind has a place for `template: {spec: {containers: [{name: main}]}}`; leave out the image",
        )
    return Template(manifest=manifest, kind=kind, pods=pods)


def default_container(kind: KindInfo) -> str:
    """What a main container is called that has no name."""
    return _CONTAINER_NAMES.get(kind.kind, DEFAULT_CONTAINER)


def pod_templates(manifest: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every (path, pod template) in a manifest: whatever has ``spec.containers``."""
    yield from _search(manifest, "", 0)


def _manifest(config: RunConfig) -> dict[str, Any]:
    top = {
        "apiVersion": config.api_version,
        "kind": config.kind,
        "metadata": config.metadata,
        "spec": config.spec,
    }
    said = {key: value for key, value in top.items() if value is not None}
    whole = "kind" in said or "apiVersion" in said
    ways = [
        name
        for name, there in (
            ("manifest", config.manifest is not None),
            ("pod_template", config.pod_template is not None),
            ("kind", whole),
            ("spec", bool(said) and not whole),
        )
        if there
    ]
    if len(ways) > 1:
        raise refused(f"the queue says what a run is in two ways: by `{ways[0]}` and by `{ways[1]}`")
    if config.manifest is not None:
        return copy.deepcopy(config.manifest)
    if whole:
        return copy.deepcopy(said)
    pod = copy.deepcopy(config.pod_template if config.pod_template is not None else said)
    if "containers" in pod:
        pod = {"spec": pod}
    if not isinstance(pod.get("spec", {}), dict):
        raise refused("the queue's pod template: `spec` must be a mapping")
    unknown = sorted(set(pod) - {"metadata", "spec"})
    if unknown:
        raise refused(f"the queue's pod template has `metadata` and `spec`, and not {unknown[0][:60]!r}")
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": pod}}


def _check_shape(manifest: dict[str, Any]) -> None:
    for key in ("metadata", "spec"):
        if key in manifest and not isinstance(manifest[key], dict):
            raise refused(f"the queue's manifest: `{key}` must be a mapping")


def _ensure_job_template(manifest: dict[str, Any]) -> None:
    """A Job may leave out everything that a run fills in."""
    at = manifest
    for key in ("spec", "template", "spec"):
        at = at.setdefault(key, {})
        if not isinstance(at, dict):
            raise refused(f"the queue's Job: `{key}` must be a mapping")
    if not at.get("containers"):
        at["containers"] = [{}]


def _templates(manifest: dict[str, Any], kind: KindInfo) -> tuple[PodTemplate, ...]:
    found = list(_search(manifest, "", 0))
    roles = [at for at, (path, _) in enumerate(found) if any(role in path.split(".") for role in _MAIN_ROLES)]
    main = roles[0] if roles else 0
    return tuple(
        PodTemplate(
            path=path,
            body=body,
            main=at == main,
            commanded=_commanded(kind, at == main),
            computes=not (kind.kind == "MPIJob" and at == main),  # its launcher only starts the others
        )
        for at, (path, body) in enumerate(found)
    )


def _commanded(kind: KindInfo, main: bool) -> bool:
    """An MPIJob's workers wait for its launcher, and a RayJob's pods for its entrypoint."""
    if kind.kind == "RayJob":
        return False
    return main if kind.kind == "MPIJob" else True


def _search(value: Any, path: str, depth: int) -> Iterator[tuple[str, dict[str, Any]]]:
    if depth > MAX_DEPTH:
        raise refused(f"the queue's manifest is nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        spec = value.get("spec")
        if isinstance(spec, dict) and isinstance(spec.get("containers"), list):
            _check_pod(spec, path)
            yield path, value
            return
        for key, inner in value.items():
            yield from _search(inner, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _search(inner, f"{path}[{index}]", depth + 1)


def _check_pod(spec: dict[str, Any], path: str) -> None:
    at = path or "the pod"
    if not spec["containers"]:
        raise refused(f"the queue's manifest: {at} has no container")
    _typed(spec, _POD_SHAPE, at)
    for container in [*spec["containers"], *spec.get("initContainers", ())]:
        _typed(container, _CONTAINER_SHAPE, f"{at}: a container")
    if spec.get("ephemeralContainers"):
        raise refused(f"the queue's manifest: {at}: no pod can begin with ephemeral containers")


def _typed(value: dict[str, Any], shape: Mapping[str, type], at: str) -> None:
    """Whatever is filled or checked later has the shape that the API has; null is nothing."""
    for key, kind in shape.items():
        found = value.get(key)
        if found is None:
            value.pop(key, None)
        elif not isinstance(found, kind):
            raise refused(f"the queue's manifest: {at}: `{key}` has the wrong shape")
        elif isinstance(found, list) and key in _OF_MAPPINGS and not all(isinstance(x, dict) for x in found):
            raise refused(f"the queue's manifest: {at}: `{key}` must be a list of mappings")

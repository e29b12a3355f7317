"""Kinds of objects that can be a run: what they are called, whose end is theirs, how they end. Pure.

The rules are data, in the notation of :mod:`launch_k8s.paths`, from each controller's API:
batch/v1; Volcano ``batch.volcano.sh`` (JobPhase); Kubeflow ``kubeflow.org`` (JobConditionType) and
``trainer.kubeflow.org``; ``jobset.x-k8s.io``; KubeRay ``ray.io`` (JobStatus, JobDeploymentStatus).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import attrs

from launch_k8s.names import KIND_RULES
from launch_k8s.paths import holds, text_of, walk
from launch_k8s.settings import StatusRules
from launch_k8s.times import unix
from launchcore.plugin import Phase


@attrs.frozen(kw_only=True)
class Seen:
    """What an object says of itself. ``phase`` is ``UNKNOWN`` when it says nothing yet. UNIX seconds."""

    phase: Phase
    reason: str = ""
    message: str = ""
    started_at: float | None = None
    finished_at: float | None = None


@attrs.frozen(kw_only=True)
class KindInfo:
    """One kind. Plain data, so that it can be kept in a handle: :func:`as_data`, :func:`from_data`."""

    group: str
    version: str
    kind: str
    plural: str = ""
    """Empty: unknown here, to be found by discovery."""
    namespaced: bool = True
    selector: str = ""
    """Label selector of its pods with ``{name}``; empty: they carry launchcore's own labels."""
    main_pods: str = ""
    """``LABEL=VALUE`` of the pods whose main container's end is the run's; empty: none decides alone."""
    succeeded: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    message: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def pod_selector(self, name: str) -> str | None:
        """The label selector of the pods of the object ``name``; ``None``: they have launchcore's labels."""
        return self.selector.replace("{name}", name) or None

    def status(self, main: Mapping[str, Any]) -> Seen:
        """What the object says of itself. Failure is looked for first: some say both."""
        status = main.get("status")
        status = status if isinstance(status, Mapping) else {}
        started = _first_time(status, "startTime", "startedAt")
        finished = _first_time(status, "completionTime", "finishedAt", "endTime")
        for phase, rules in (
            (Phase.FAILED, self.failed),
            (Phase.SUCCEEDED, self.succeeded),
            (Phase.RUNNING, self.running),
        ):
            for rule in rules:
                where = holds(rule, main)
                if where is not None:
                    return Seen(
                        phase=phase,
                        reason=text_of(where.get("reason")),
                        message=self._message(main) or text_of(where.get("message")),
                        started_at=started,
                        finished_at=finished or unix(where.get("lastTransitionTime")),
                    )
        return Seen(phase=Phase.UNKNOWN, message=self._message(main), started_at=started)

    def _message(self, main: Mapping[str, Any]) -> str:
        texts = (text_of(found) for path in self.message for _, found in walk(path, main))
        return next((text for text in texts if text), "")


def _condition(*names: str) -> tuple[str, ...]:
    return tuple(f"status.conditions[type={name}].status=True" for name in names)


_STATES: Final = ("status.phase", "status.state", "status.state.phase", "status.jobStatus")


def _state(*values: str) -> tuple[str, ...]:
    return tuple(f"{path}={','.join(values)}" for path in _STATES)


JOB: Final = KindInfo(
    group="batch",
    version="v1",
    kind="Job",
    plural="jobs",
    succeeded=_condition("Complete"),
    failed=_condition("Failed"),
)
POD: Final = KindInfo(
    group="",
    version="v1",
    kind="Pod",
    plural="pods",
    succeeded=("status.phase=Succeeded",),
    failed=("status.phase=Failed",),
)
_KUBEFLOW: Final = KindInfo(
    group="kubeflow.org",
    version="v1",
    kind="",
    main_pods="training.kubeflow.org/job-role=master",
    succeeded=_condition("Succeeded"),
    failed=_condition("Failed"),
    running=_condition("Running"),
)
_KNOWN: Final = (
    JOB,
    POD,
    KindInfo(
        group="batch.volcano.sh",
        version="v1alpha1",
        kind="Job",
        plural="jobs",
        succeeded=("status.state.phase=Completed",),
        failed=("status.state.phase=Failed,Aborted,Terminated",),
        running=("status.state.phase=Running,Restarting,Completing",),
    ),
    *(
        attrs.evolve(_KUBEFLOW, kind=kind, plural=f"{kind.lower()}s")
        for kind in ("PyTorchJob", "TFJob", "XGBoostJob", "PaddleJob", "JAXJob")
    ),
    attrs.evolve(
        _KUBEFLOW, kind="MPIJob", plural="mpijobs", main_pods="training.kubeflow.org/job-role=launcher"
    ),
    KindInfo(
        group="trainer.kubeflow.org",
        version="v1alpha1",
        kind="TrainJob",
        plural="trainjobs",
        # Its pods come from a runtime's template, through a JobSet of the same name.
        selector="jobset.sigs.k8s.io/jobset-name={name}",
        succeeded=_condition("Complete"),
        failed=_condition("Failed"),
    ),
    KindInfo(
        group="jobset.x-k8s.io",
        version="v1alpha2",
        kind="JobSet",
        plural="jobsets",
        succeeded=_condition("Completed"),
        failed=_condition("Failed"),
    ),
    KindInfo(
        group="ray.io",
        version="v1",
        kind="RayJob",
        plural="rayjobs",
        succeeded=("status.jobStatus=SUCCEEDED",),
        failed=("status.jobStatus=FAILED,STOPPED", "status.jobDeploymentStatus=Failed"),
        running=("status.jobStatus=RUNNING",),
        message=("status.message",),
    ),
)
_GENERIC: Final = StatusRules(
    succeeded=(
        *_condition("Complete", "Completed", "Succeeded"),
        *_state("Succeeded", "Completed", "Complete", "SUCCEEDED", "COMPLETED", "Success"),
    ),
    failed=(*_condition("Failed"), *_state("Failed", "FAILED", "Error", "ERROR", "Aborted", "Terminated")),
    running=(*_condition("Running"), *_state("Running", "RUNNING")),
)


def kind_for(
    api_version: str, kind: str, rules: StatusRules | None = None, selector: str | None = None
) -> KindInfo:
    """The kind of a manifest: a known one (of any version), or one that ends as most do.

    :param rules: what the queue says about its end; each part that it says replaces the known one's.
    :param selector: what the queue says about its pods.
    """
    group, _, version = api_version.rpartition("/")
    known = next((each for each in _KNOWN if (each.group, each.kind) == (group, kind)), None)
    if known is None:
        known = KindInfo(
            group=group,
            version=version,
            kind=kind,
            succeeded=_GENERIC.succeeded,
            failed=_GENERIC.failed,
            running=_GENERIC.running,
        )
    found = attrs.evolve(known, version=version)
    if rules is not None:
        said = {field.name: getattr(rules, field.name) for field in attrs.fields(StatusRules)}
        found = attrs.evolve(found, **{name: value for name, value in said.items() if value})
    return attrs.evolve(found, selector=selector) if selector else found


def kind_of(main: Mapping[str, Any]) -> KindInfo:
    """The kind of an object as the API server has it: with the queue's rules, which it carries itself."""
    annotations = (main.get("metadata") or {}).get("annotations") or {}
    known = kind_for(str(main.get("apiVersion") or ""), str(main.get("kind") or ""))
    try:
        return from_data({**as_data(known), **json.loads(annotations.get(KIND_RULES) or "{}")})
    except (ValueError, TypeError):
        return known


def rules_text(kind: KindInfo) -> str | None:
    """What :data:`KIND_RULES` has to say so that :func:`kind_of` gives ``kind``; ``None``: nothing."""
    known = as_data(kind_for(kind.api_version, kind.kind))
    different = {
        key: value for key, value in as_data(kind).items() if known[key] != value and key != "plural"
    }
    return json.dumps(different, sort_keys=True) if different else None


def as_data(kind: KindInfo) -> dict[str, Any]:
    """A kind as plain JSON."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in attrs.asdict(kind, recurse=False).items()
    }


def from_data(data: Mapping[str, Any]) -> KindInfo:
    """The kind that :func:`as_data` was given. Keys of a newer version are left out.

    :raises TypeError: it is no such data.
    """
    names = {field.name for field in attrs.fields(KindInfo)}
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in data.items()
        if name in names
    }
    return KindInfo(**given)


def _first_time(status: Mapping[str, Any], *keys: str) -> float | None:
    return next((at for key in keys if (at := unix(status.get(key))) is not None), None)

"""What each kind of object gets beside its pods: no retries of its own, an end, a time to live. Pure.

Retries are the queue's: a controller that runs a failed pod again would run one attempt twice.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from typing import Any, Final

import attrs

from launch_k8s.manifest_pod import Order, environment, literal
from launch_k8s.manifest_secrets import SecretParts
from launch_k8s.refusal import refused, refused_run
from launch_k8s.settings import RunConfig
from launch_k8s.template import Template
from launchcore.plugin import RunPlan

MIN_TTL: Final = 60
"""Seconds: an object that is removed at once takes its result with it."""


def fill_kind(template: Template, order: Order) -> None:
    """Fill what is particular to the kind, in place.

    :raises LaunchError: ``config_error``: what cannot be.
    """
    plan, config = order.plan, order.config
    spec = template.manifest.get("spec")
    if template.kind.kind == "Pod" or not isinstance(spec, dict):
        return
    group, kind = template.kind.group, template.kind.kind
    if (group, kind) == ("batch", "Job"):
        _job(spec, config, both_deadlines(plan, config))
    elif group == "kubeflow.org":
        _kubeflow(spec, config, both_deadlines(plan, config))
    elif (group, kind) == ("jobset.x-k8s.io", "JobSet"):
        _time_to_live(spec, config)
        for job in _job_templates(spec):
            job.setdefault("backoffLimit", 0)
    elif (group, kind) == ("batch.volcano.sh", "Job"):
        _time_to_live(spec, config)
    elif (group, kind) == ("ray.io", "RayJob"):
        _ray(spec, plan, config)
    elif (group, kind) == ("trainer.kubeflow.org", "TrainJob"):
        _train(spec, template, order)


def pod_deadline(plan: RunPlan, config: RunConfig) -> int | None:
    """Seconds for which a pod may be on its node, pulling images included; ``None``: no limit."""
    if plan.limits.run_seconds is None:
        return None
    return max(math.ceil(plan.limits.run_seconds + config.start_allowance_seconds), 1)


def both_deadlines(plan: RunPlan, config: RunConfig) -> int | None:
    """Seconds from creation to the end, waiting included; ``None`` where waiting has no limit."""
    pod = pod_deadline(plan, config)
    start = plan.limits.start_seconds
    return None if pod is None or start is None else pod + math.ceil(start)


def _job(spec: dict[str, Any], config: RunConfig, deadline: int | None) -> None:
    if spec.get("selector") or spec.get("manualSelector"):
        raise refused("the queue's Job has a `selector` of its own; its pods could be another run's")
    if "backoffLimitPerIndex" not in spec:
        spec.setdefault("backoffLimit", 0)
    spec.setdefault("podReplacementPolicy", "Failed")
    _time_to_live(spec, config)
    _deadline(spec, deadline)


def _kubeflow(spec: dict[str, Any], config: RunConfig, deadline: int | None) -> None:
    policy = spec.setdefault("runPolicy", {})
    if not isinstance(policy, dict):
        raise refused("the queue's manifest: `runPolicy` must be a mapping")
    policy.setdefault("backoffLimit", 0)
    _time_to_live(policy, config)
    _deadline(policy, deadline)
    for key, replicas in spec.items():
        if key.endswith("ReplicaSpecs") and isinstance(replicas, dict):
            for replica in replicas.values():
                if isinstance(replica, dict):
                    replica.setdefault("restartPolicy", "Never")


def _ray(spec: dict[str, Any], plan: RunPlan, config: RunConfig) -> None:
    words = list(plan.command) or list(config.command)
    entrypoint = spec.get("entrypoint")
    if isinstance(entrypoint, list):  # the template's ${args}
        spec["entrypoint"] = shlex.join(map(str, entrypoint))
    elif not entrypoint:
        if not words:
            raise refused_run(
                "a RayJob needs a command, and the run brings none", "put it after `--` when you submit"
            )
        spec["entrypoint"] = shlex.join([*(config.entrypoint or ()), *words])
    if spec.setdefault("shutdownAfterJobFinishes", True):
        _time_to_live(spec, config)


def _train(spec: dict[str, Any], template: Template, order: Order) -> None:
    """A TrainJob names a runtime, whose template we do not see: only its trainer is filled."""
    plan, config, secrets = order.plan, order.config, order.secrets
    if secrets.volume is not None and (order.given.files or config.secrets_as == "files"):
        raise refused("a TrainJob cannot be given secret files; its runtime has to bring them")
    if secrets.pull_secret is not None:
        raise refused(
            "a TrainJob cannot be given a pull secret", "put it into its runtime, and say `pull_logins: none`"
        )
    trainer = spec.setdefault("trainer", {})
    if not isinstance(trainer, dict):
        raise refused("the queue's TrainJob: `trainer` must be a mapping")
    words = list(plan.command) or list(config.command)
    trainer.setdefault("image", str(plan.image))
    if config.entrypoint:
        trainer.setdefault("command", list(config.entrypoint))
    if words:
        trainer.setdefault("args", [literal(word) for word in words])
    # Nothing is mounted there: a path to a file of secrets would lead nowhere.
    references = tuple(entry for entry in secrets.env if "valueFrom" in entry)
    trainer["env"] = environment(
        {"env": trainer.get("env") or [], "resources": {"claims": True}},
        attrs.evolve(order, secrets=SecretParts(env=references)),
        home=False,
    )
    labels = template.manifest["metadata"]["labels"]
    spec["labels"] = {**(spec.get("labels") or {}), **labels}


def _time_to_live(spec: dict[str, Any], config: RunConfig) -> None:
    seconds = spec.setdefault("ttlSecondsAfterFinished", config.ttl_seconds)
    if not isinstance(seconds, int) or seconds < MIN_TTL:
        raise refused(
            f"ttlSecondsAfterFinished is {str(seconds)[:20]}: less than {MIN_TTL} s, and the result is gone "
            "before it is read"
        )


def _deadline(spec: dict[str, Any], deadline: int | None) -> None:
    own = spec.get("activeDeadlineSeconds")
    if deadline is not None:
        spec["activeDeadlineSeconds"] = min(own, deadline) if isinstance(own, int) else deadline


def _job_templates(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for each in spec.get("replicatedJobs") or ():
        inner = each.get("template") if isinstance(each, dict) else None
        if isinstance(inner, dict) and isinstance(inner.get("spec"), dict):
            yield inner["spec"]

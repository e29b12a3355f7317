"""An order → the Job that builds it, and its Secret. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from launch_k8s.names import (
    ATTEMPT,
    MANAGED_BY,
    OWNER,
    PREFIX,
    QUEUE,
    RUN,
    UNSCHEDULABLE_SECONDS,
    label_value,
)
from launch_k8s.starter import HELD

from launch_kaniko.arguments import arguments, environment
from launch_kaniko.credentials import hand_over
from launch_kaniko.order import Order
from launch_kaniko.template import base, container, items, mapping, named
from launchcore.plugin import ATTEMPT_LABEL, OWNER_LABEL, QUEUE_LABEL, RUN_LABEL

MANAGER: Final = "launchcore-builder"
"""Another than the runner's, which sweeps what carries its own."""
BUILD: Final = PREFIX + "build"
"""Label of everything of one build: its Job's name."""
IMAGE: Final = PREFIX + "image"
"""Annotation of the Job: the image that it builds."""
_PULL: Final = {"missing": "IfNotPresent", "always": "Always", "never": "Never"}


def build_labels(order: Order) -> dict[str, str]:
    """What everything that is made for a build carries."""
    said = order.labels
    found = {MANAGED_BY: MANAGER, BUILD: order.job}
    for label, own in (
        (OWNER_LABEL, OWNER),
        (RUN_LABEL, RUN),
        (ATTEMPT_LABEL, ATTEMPT),
        (QUEUE_LABEL, QUEUE),
    ):
        found[own] = label_value(said.get(label, ""))
    return found


def owner_selector(owner: str) -> str:
    """The label selector of all builds of the agents of one queue service."""
    return f"{MANAGED_BY}={MANAGER},{OWNER}={label_value(owner)}"


def attempt_selector(attempt_id: str) -> str:
    """The label selector of what an attempt has begun to build."""
    return f"{MANAGED_BY}={MANAGER},{ATTEMPT}={label_value(attempt_id)}"


def build_selector(job: str) -> str:
    """The label selector of the objects of one build, whoever began it."""
    return f"{MANAGED_BY}={MANAGER},{BUILD}={job}"


def manifests(order: Order) -> tuple[dict[str, Any], dict[str, Any]]:
    """The Job, held: nothing of it runs before its Secret is there and somebody lets it go; and the Secret.

    :raises LaunchError: ``config_error``: the owner's template cannot be used.
    """
    settings, labels = order.settings, build_labels(order)
    name = order.job
    handed = hand_over(order, f"{name}-given")
    job = base(settings.kaniko_config)
    meta, spec = mapping(job, "metadata"), mapping(job, "spec")
    meta["name"] = name
    mapping(meta, "labels").update(labels)
    mapping(meta, "annotations").update(
        {
            HELD: "true",
            IMAGE: order.name,
            UNSCHEDULABLE_SECONDS: f"{settings.unschedulable_seconds:g}",
        }
    )
    theirs = spec.get("activeDeadlineSeconds")
    deadline = (
        min(theirs, settings.deadline_seconds) if isinstance(theirs, int) else settings.deadline_seconds
    )
    spec |= {
        "suspend": True,
        "backoffLimit": 0,
        "completions": 1,
        "parallelism": 1,
        "activeDeadlineSeconds": deadline,
        "ttlSecondsAfterFinished": settings.ttl_seconds,
    }
    template = mapping(spec, "template")
    mapping(mapping(template, "metadata"), "labels").update(labels)
    pod = mapping(template, "spec")
    _pod(pod, order)
    pod["volumes"] = named(items(pod, "volumes"), [*handed.volumes, *_claim(order)])
    _executor(container(pod), order, handed.secret["metadata"]["name"], handed.mounts)
    secret = {**handed.secret, "metadata": {**handed.secret["metadata"], "labels": labels}}
    return job, secret


def _pod(pod: dict[str, Any], order: Order) -> None:
    settings = order.settings
    pod["restartPolicy"] = "Never"
    pod.setdefault("terminationGracePeriodSeconds", 5)
    pod.setdefault("enableServiceLinks", False)
    pod["automountServiceAccountToken"] = settings.service_account_token
    if settings.service_account:
        pod["serviceAccountName"] = settings.service_account
    if settings.node_selector:
        mapping(pod, "nodeSelector").update(settings.node_selector)
    if settings.tolerations:
        items(pod, "tolerations").extend(dict(each) for each in settings.tolerations)
    if settings.image_pull_secrets:
        items(pod, "imagePullSecrets").extend({"name": name} for name in settings.image_pull_secrets)


def _executor(
    found: dict[str, Any], order: Order, secret: str, mounts: tuple[Mapping[str, Any], ...]
) -> None:
    settings = order.settings
    found.setdefault("image", settings.image)
    found.setdefault("imagePullPolicy", _PULL[settings.pull])
    found.setdefault("command", ["/kaniko/executor"])
    found["args"] = [*arguments(order), *items(found, "args")]
    found["env"] = named(items(found, "env"), environment(order, secret))
    found["volumeMounts"] = [*items(found, "volumeMounts"), *map(dict, mounts), *_claim_mount(order)]
    # It changes owners and permissions in the image that it builds: it cannot do that as anybody else.
    mapping(found, "securityContext").setdefault("runAsUser", 0)
    found["terminationMessagePath"] = "/dev/termination-log"
    found["terminationMessagePolicy"] = "File"
    if settings.resources:
        found["resources"] = {**mapping(found, "resources"), **settings.resources}


def _claim(order: Order) -> list[dict[str, Any]]:
    if order.sight.claim is None:
        return []
    claim = {"claimName": order.sight.claim, "readOnly": True}
    return [{"name": "launch-contexts", "persistentVolumeClaim": claim}]


def _claim_mount(order: Order) -> list[dict[str, Any]]:
    if order.sight.claim is None:
        return []
    mount = {"name": "launch-contexts", "mountPath": order.sight.mount, "readOnly": True}
    return [{**mount, "subPath": order.sight.sub_path} if order.sight.sub_path else mount]

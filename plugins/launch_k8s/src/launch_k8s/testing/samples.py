"""Plans, configurations and rendered manifests for tests that need no cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launch_k8s.manifest import Bundle, render
from launch_k8s.settings import ClusterSettings, RunConfig
from launchcore.plugin import (
    ATTEMPT_LABEL,
    OWNER_LABEL,
    QUEUE_LABEL,
    RUN_LABEL,
    Given,
    ImageRef,
    RunPlan,
)

RUN = "6j2c0000k3fd"
NAME = f"launch-{RUN}-1"


def plan(**over: Any) -> RunPlan:
    """A plan of an ordinary run; ``over`` replaces fields."""
    fields: dict[str, Any] = {
        "run_id": RUN,
        "attempt_id": f"{RUN}-1",
        "attempt": 1,
        "queue": "gpu",
        "name": NAME,
        "settings": RunConfig(),
        "command": ("python", "train.py"),
        "image": ImageRef(name="registry.example/train:1"),
        "labels": {
            OWNER_LABEL: "queue-service-1",
            RUN_LABEL: RUN,
            ATTEMPT_LABEL: f"{RUN}-1",
            QUEUE_LABEL: "gpu",
        },
        "scratch": Path("/nowhere"),
    }
    return RunPlan(**{**fields, **over})


def rendered(
    config: RunConfig | None = None,
    *,
    given: Given | None = None,
    settings: ClusterSettings | None = None,
    **over: Any,
) -> Bundle:
    """What is created for :func:`plan`."""
    return render(plan(**over), given or Given(), config or RunConfig(), settings or ClusterSettings())


def pod_spec(bundle: Bundle) -> dict[str, Any]:
    """The pod's spec of a rendered Job."""
    found: dict[str, Any] = bundle.main["spec"]["template"]["spec"]
    return found


def container(bundle: Bundle, at: int = 0) -> dict[str, Any]:
    """A container of a rendered Job."""
    found: dict[str, Any] = pod_spec(bundle)["containers"][at]
    return found


def environment(container: Mapping[str, Any]) -> dict[str, Any]:
    """Its variables by name: the value, or where it comes from."""
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}

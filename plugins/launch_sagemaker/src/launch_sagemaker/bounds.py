"""How long a training job may take, and on what it works. Pure.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StoppingCondition.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from launch_sagemaker.refusal import Problems
from launch_sagemaker.shapes import span
from launchcore.plugin import Json, Limits

DAY: Final = 86400
LONGEST: Final = 28 * DAY
"""SageMaker lets no training job run for longer."""
VOLUME_GB: Final = 30


def stopping(said: Mapping[str, Json], limits: Limits, problems: Problems, *, spot: bool) -> dict[str, Json]:
    """The queue's StoppingCondition within the run's limits.

    A run may take what the queue says, or its own limit where that is less; a day, where nobody says
    anything, which is SageMaker's own default. A job on spot instances needs a MaxWaitTimeInSeconds, which
    counts both waiting and running: without the queue's, it may wait as long as the run's limit for starting
    says, else as long again as it may run.
    """
    found = dict(said)
    name = "MaxRuntimeInSeconds"
    most, wait = _whole(found.get(name)), _whole(found.get("MaxWaitTimeInSeconds"))
    path = f"StoppingCondition.{name}"
    if most is None and name not in found and limits.run_seconds is None:
        most = DAY if wait is None or not spot else min(DAY, wait)
    elif limits.run_seconds is not None and (most is not None or name not in found):
        seconds = max(1, math.ceil(limits.run_seconds))
        most = seconds if most is None else min(most, seconds)
        if most > LONGEST:
            text = f"the run's limit is {seconds} s, and no training job may run for more than 28 days"
            problems.run(path, f"{text} ({LONGEST} s)", "give it a shorter limit: --timeout")
    elif most is not None and most > LONGEST:
        problems.queue(path, f"no training job may run for more than 28 days ({LONGEST} s)")
    if most is not None:
        found[name] = most
    if spot:
        _wait(found, most or DAY, wait, limits, problems)
    elif "MaxWaitTimeInSeconds" in found:
        problems.queue(
            "StoppingCondition.MaxWaitTimeInSeconds",
            "is for spot instances only, and the service refuses it without EnableManagedSpotTraining",
            "leave it out, or set EnableManagedSpotTraining: true; how long a run may wait to start is "
            "`limits.start_seconds` of the queue",
        )
    _pending(found, limits, spot=spot)
    return found


def _wait(found: dict[str, Json], most: int, wait: int | None, limits: Limits, problems: Problems) -> None:
    if "MaxWaitTimeInSeconds" not in found:
        start = most if limits.start_seconds is None else math.ceil(limits.start_seconds)
        found["MaxWaitTimeInSeconds"] = most + start
    elif wait is not None and wait < most:
        problems.queue(
            "StoppingCondition.MaxWaitTimeInSeconds",
            f"{wait} is less than MaxRuntimeInSeconds ({most}): it counts waiting and running together",
            "make it longer, or give the queue's runs a shorter limit (`limits.run_seconds`)",
        )


def _pending(found: dict[str, Json], limits: Limits, *, spot: bool) -> None:
    """The run's limit for starting, where the service can keep it; else only the agent does."""
    name = "MaxPendingTimeInSeconds"
    allowed = span("StoppingCondition", name)
    if spot or limits.start_seconds is None or allowed is None:
        return
    seconds = math.ceil(limits.start_seconds)
    if not allowed[0] <= seconds <= allowed[1]:
        return
    own = _whole(found.get(name))
    if own is not None or name not in found:
        found[name] = seconds if own is None else min(own, seconds)


def instances(body: Mapping[str, Json], problems: Problems) -> dict[str, Json]:
    """The queue's ResourceConfig with the rest of what the service wants to know."""
    said = body.get("ResourceConfig")
    if not isinstance(said, Mapping) or not said:
        problems.queue(
            "ResourceConfig", "is missing", "write config: {ResourceConfig: {InstanceType: ml.m5.xlarge}}"
        )
        return {}
    found = dict(said)
    groups, preferred = found.get("InstanceGroups"), found.get("InstancePreferences")
    spot = body.get("EnableManagedSpotTraining") is True
    if not groups and not preferred:
        if found.get("InstanceType") is None:
            problems.queue(
                "ResourceConfig.InstanceType",
                "is missing",
                "say one, or InstanceGroups, or InstancePreferences",
            )
        found.setdefault("InstanceCount", 1)
    found.setdefault("VolumeSizeInGB", VOLUME_GB)
    if found.get("InstanceCount") == 0:
        problems.queue("ResourceConfig.InstanceCount", "a job needs an instance")
    for name in ("SelectedInstanceType", "SelectedInstanceCount"):
        if name in found:
            problems.queue(f"ResourceConfig.{name}", "is the service's answer, and cannot be asked for")
    for name, value, others in (
        ("InstanceGroups", groups, ("InstanceType", "InstanceCount", "InstancePreferences")),
        ("InstancePreferences", preferred, ("InstanceType", "InstancePlacementConfig")),
    ):
        for other in others if value else ():
            if other in found:
                problems.queue(f"ResourceConfig.{other}", f"cannot be beside {name}", "leave one of them out")
    if preferred and spot:
        problems.queue("EnableManagedSpotTraining", "cannot be with ResourceConfig.InstancePreferences")
    _warm(found, problems, spot=spot, groups=bool(groups))
    return found


def _warm(found: Mapping[str, Json], problems: Problems, *, spot: bool, groups: bool) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/train-warm-pools.html"""
    if not found.get("KeepAlivePeriodInSeconds"):
        return
    path = "ResourceConfig.KeepAlivePeriodInSeconds"
    if spot:
        problems.queue(
            path, "a warm pool cannot be of spot instances", "leave it or EnableManagedSpotTraining out"
        )
    if groups:
        problems.queue(path, "a warm pool cannot be of InstanceGroups", "leave one of them out")


def _whole(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None

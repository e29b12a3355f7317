"""What SageMaker refuses in a CreateTrainingJob beyond the shapes of its model. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def refusal(body: Mapping[str, Any]) -> str | None:
    """The first thing that is wrong; None: nothing."""
    for rule in (_algorithm, _machines, _limits, _names):
        for problem in rule(body):
            return problem
    return None


def _algorithm(body: Mapping[str, Any]) -> Iterator[str]:
    if "ServerlessJobConfig" in body:
        return
    algorithm = body.get("AlgorithmSpecification")
    if algorithm is None:
        yield "AlgorithmSpecification is required."
    elif ("TrainingImage" in algorithm) == ("AlgorithmName" in algorithm):
        yield "You must specify exactly one of TrainingImage and AlgorithmName in AlgorithmSpecification."


def _machines(body: Mapping[str, Any]) -> Iterator[str]:
    if "ServerlessJobConfig" in body:
        return
    machines = body.get("ResourceConfig")
    if machines is None:
        yield "ResourceConfig is required."
        return
    groups = machines.get("InstanceGroups") or ()
    single = {"InstanceType", "InstanceCount"} & set(machines)
    if groups and single:
        yield "You can't specify InstanceGroups together with InstanceType or InstanceCount."
    for group in groups or (machines,):
        if "InstanceType" not in group and "InstancePreferences" not in machines:
            yield "InstanceType is required in ResourceConfig."
        if group.get("InstanceCount", 0) < 1:
            yield "InstanceCount must be greater than or equal to 1."
    if machines.get("VolumeSizeInGB", 1) < 1:
        yield "VolumeSizeInGB must be greater than or equal to 1."
    if machines.get("KeepAlivePeriodInSeconds") and body.get("EnableManagedSpotTraining"):
        yield "KeepAlivePeriodInSeconds is not supported for managed spot training."


def _limits(body: Mapping[str, Any]) -> Iterator[str]:
    limits = body.get("StoppingCondition") or {}
    run, wait = limits.get("MaxRuntimeInSeconds", 86400), limits.get("MaxWaitTimeInSeconds")
    if body.get("EnableManagedSpotTraining"):
        if wait is None or wait < run:
            yield (
                "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
                "MaxRuntimeInSeconds"
            )
    elif wait is not None:
        yield "Invalid MaxWaitTimeInSeconds. It is supported for managed spot training only"
    if run > 28 * 86400:
        yield f"MaxRuntimeInSeconds must be less than or equal to {28 * 86400}."


def _names(body: Mapping[str, Any]) -> Iterator[str]:
    keys = [tag["Key"] for tag in body.get("Tags") or ()]
    if len(set(keys)) < len(keys):
        yield "Duplicate tag keys found. Please note that Tag keys are case insensitive."
    if any(key.lower().startswith("aws:") for key in keys):
        yield "Tag keys that begin with aws: are reserved."
    channels = [channel["ChannelName"] for channel in body.get("InputDataConfig") or ()]
    if len(set(channels)) < len(channels):
        yield "Channel names must be unique."
    for channel in body.get("InputDataConfig") or ():
        if len(channel["DataSource"]) != 1:
            yield f"Exactly one data source is required for channel {channel['ChannelName']}."

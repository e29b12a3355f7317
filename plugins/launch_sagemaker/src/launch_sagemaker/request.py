"""Plan, contributions and the queue's configuration → the CreateTrainingJob request. Pure.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from launch_sagemaker import bounds, images, shapes
from launch_sagemaker.bundle import Bundle, place, segment
from launch_sagemaker.names import CHANNEL, job_name
from launch_sagemaker.placing import place_variables
from launch_sagemaker.program import program
from launch_sagemaker.refusal import Problems, shown
from launch_sagemaker.settings import Settings, TrainingJob
from launch_sagemaker.tags import tags
from launchcore.plugin import Given, Json, LaunchError, Reason, RunPlan

MAX_CHANNELS: Final = 20


@attrs.frozen(kw_only=True)
class Order:
    """What is asked of SageMaker for one attempt.

    ``body``: the request, complete. ``bundle``: what has to be in S3 before it, below ``bundle_url``
    (``s3://…/OWNER/ATTEMPT/``); ``None``: nothing.
    """

    body: dict[str, Json]
    bundle: Bundle | None
    bundle_url: str | None


def order(plan: RunPlan, given: Given, settings: Settings, *, region: str | None, owner: str) -> Order:
    """The request for an attempt.

    :param region: where the job will be; ``None``: nobody knows yet, so images are taken as they are.
    :param owner: whose the job is: the value of the owner's tag.
    :raises LaunchError: ``config_error``, with everything that is wrong: the user's fault when all of it is
        about the run, else the infrastructure's.
    """
    if plan.image is None:
        raise LaunchError("a training job needs an image", reason=Reason.CONFIG_ERROR)
    config: TrainingJob = plan.settings
    problems = Problems()
    said = shapes.fitted(config.body())
    for member in ("TrainingJobName", "ServerlessJobConfig"):
        said.pop(member, None)  # the settings refuse them
    images.check(plan.image, said, settings.registry_hosts, problems, region=region)
    if plan.limits.memory_bytes is not None:
        problems.run(
            "",
            "a training job has all the memory of its instances, and no limit of its own",
            "leave the limit out (--memory, or the queue's `limits.memory_bytes`) and choose the instances: "
            "ResourceConfig.InstanceType",
        )
    body: dict[str, Json] = {
        "TrainingJobName": job_name(plan.attempt_id),
        "RoleArn": _role(said, settings, problems),
        **said,
        "OutputDataConfig": _output(said, settings, problems),
        "ResourceConfig": bounds.instances(said, problems),
        "StoppingCondition": bounds.stopping(
            _mapping(said, "StoppingCondition"),
            plan.limits,
            problems,
            spot=said.get("EnableManagedSpotTraining") is True,
        ),
        "Tags": tags(plan, given, said.get("Tags"), problems, owner=owner),
    }
    placed = place_variables(
        plan, given, _mapping(said, "Environment"), problems, store=settings.store is not None
    )
    body["Environment"] = dict(placed.clear)
    body["AlgorithmSpecification"], bundle = program(
        plan, _mapping(said, "AlgorithmSpecification"), placed, problems, store=settings.store is not None
    )
    url = None
    if bundle is not None and settings.store is not None:
        url = place(settings.store, owner, plan.attempt_id)
    body["InputDataConfig"] = _channels(said, url, problems)
    if "CheckpointConfig" in said:
        body["CheckpointConfig"] = _checkpoints(said["CheckpointConfig"], config, plan)
    body = {member: value for member, value in body.items() if value not in (None, [], {})}
    _check(body, problems)
    problems.tell()
    return Order(body=body, bundle=bundle, bundle_url=url)


def _check(body: Mapping[str, Json], problems: Problems) -> None:
    """What the service model says, save where something better was said."""
    for path, text in list(shapes.problems(body)):
        if not problems.has(path):
            problems.queue(path, text)


def _mapping(body: Mapping[str, Json], member: str) -> Mapping[str, Json]:
    found = body.get(member)
    return found if isinstance(found, Mapping) else {}


def _role(said: Mapping[str, Json], settings: Settings, problems: Problems) -> str | None:
    if "RoleArn" not in said and settings.role_arn is None:
        problems.queue(
            "RoleArn",
            "is missing",
            "set it in the queue's configuration, or `plugins.sagemaker.role_arn` of the agent: the role as "
            "which training jobs work",
        )
    return settings.role_arn


def _output(said: Mapping[str, Json], settings: Settings, problems: Problems) -> dict[str, Json]:
    found = dict(_mapping(said, "OutputDataConfig"))
    if "S3OutputPath" not in found and settings.output_path is not None:
        found["S3OutputPath"] = settings.output_path
    if "S3OutputPath" not in found:
        problems.queue(
            "OutputDataConfig.S3OutputPath",
            "is missing",
            "set it in the queue's configuration, or `plugins.sagemaker.output_path` of the agent",
        )
    return found


def _channels(said: Mapping[str, Json], url: str | None, problems: Problems) -> list[Json]:
    found: list[Json] = list(said.get("InputDataConfig") or ())
    names: set[str] = set()
    for at, channel in enumerate(found):
        path = f"InputDataConfig[{at}]"
        name = channel.get("ChannelName")
        source = _mapping(channel, "DataSource")
        if name == CHANNEL:
            problems.queue(
                f"{path}.ChannelName", f"{CHANNEL!r} is launchcore's own", "call it something else"
            )
        elif isinstance(name, str) and name in names:
            problems.queue(f"{path}.ChannelName", f"{shown(name)} is there twice", "call one something else")
        if isinstance(name, str):
            names.add(name)
        if len(source) > 1:
            problems.queue(
                f"{path}.DataSource", f"can be one of {' and '.join(sorted(source))}, not all of them"
            )
        if "FileSystemDataSource" in source and not said.get("VpcConfig"):
            problems.queue(
                "VpcConfig",
                f"is missing: {path} is a file system, which a job reaches from within a VPC only",
            )
    if url is not None:
        found.append(_own_channel(url))
        if len(found) > MAX_CHANNELS:
            problems.queue(
                "InputDataConfig", f"has {len(found)} entries with launchcore's own, and {MAX_CHANNELS} fit"
            )
    return found


def _own_channel(url: str) -> dict[str, Json]:
    source = {"S3DataType": "S3Prefix", "S3Uri": url, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": CHANNEL, "DataSource": {"S3DataSource": source}, "InputMode": "File"}


def _checkpoints(said: Json, config: TrainingJob, plan: RunPlan) -> Json:
    """In a folder of the run: its attempts find what earlier ones have left, and no other run does."""
    where: Any = said.get("S3Uri") if isinstance(said, Mapping) else None
    if config.checkpoints == "shared" or not isinstance(where, str):
        return said
    own = segment(plan.run_id)
    if re.search(rf"(?<![A-Za-z0-9]){re.escape(own)}(?![A-Za-z0-9])", where):
        return said
    return {**said, "S3Uri": f"{where.rstrip('/')}/{own}"}

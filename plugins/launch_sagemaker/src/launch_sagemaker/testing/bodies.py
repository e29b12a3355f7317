"""Requests to begin with, in tests. Pure."""

from __future__ import annotations

from typing import Any, Final

ROLE: Final = "arn:aws:iam::123456789012:role/training"
IMAGE: Final = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/team/train@sha256:{'0' * 64}"


def training_job(name: str, *words: str, **members: Any) -> dict[str, Any]:
    """A CreateTrainingJob body that SageMaker takes.

    :param words: the ContainerArguments; none: the image's own way.
    :param members: what is added to it or replaced in it. None: left out.
    """
    algorithm: dict[str, Any] = {"TrainingImage": IMAGE, "TrainingInputMode": "File"}
    if words:
        algorithm["ContainerArguments"] = list(words)
    made = {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": algorithm,
        "OutputDataConfig": {"S3OutputPath": "s3://outputs/runs"},
        "ResourceConfig": machines(),
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        **members,
    }
    return {key: value for key, value in made.items() if value is not None}


def machines(count: int = 1, **members: Any) -> dict[str, Any]:
    """A ResourceConfig."""
    return {"InstanceType": "ml.m5.large", "InstanceCount": count, "VolumeSizeInGB": 10, **members}


def spot(wait: int = 3600, run: int = 3600, checkpoints: str | None = None) -> dict[str, Any]:
    """The members that make a job run on spot instances."""
    made: dict[str, Any] = {
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": run, "MaxWaitTimeInSeconds": wait},
    }
    return made if checkpoints is None else {**made, "CheckpointConfig": {"S3Uri": checkpoints}}

"""Plans and requests for tests that need no service."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from launch_sagemaker.request import Order, order
from launch_sagemaker.settings import Settings, TrainingJob, members
from launchcore.plugin import (
    ATTEMPT_LABEL,
    OWNER_LABEL,
    QUEUE_LABEL,
    RUN_LABEL,
    EnvVar,
    Given,
    ImageRef,
    LaunchError,
    Reason,
    RunPlan,
    Secret,
)

RUN: Final = "6j2c0000k3fd"
NAME: Final = f"launch-{RUN}-1"
OWNER: Final = "queue-service-1"
REGION: Final = "us-east-1"
HOST: Final = f"123456789012.dkr.ecr.{REGION}.amazonaws.com"
DIGEST: Final = f"sha256:{'ab' * 32}"
IMAGE: Final = ImageRef(name=f"{HOST}/train:1", digest=DIGEST)
ROLE: Final = "arn:aws:iam::123456789012:role/training"
CONFIG: Final = {"ResourceConfig": {"InstanceType": "ml.m5.xlarge"}}
AGENT: Final = Settings(role_arn=ROLE, output_path="s3://bucket/output")
WITH_STORE: Final = Settings(role_arn=ROLE, output_path="s3://bucket/output", store="s3://bucket/launch")


def config(**over: Any) -> TrainingJob:
    """A queue's configuration, with the keys that its owner writes: :data:`CONFIG`, and ``over``."""
    fields = {member: name for name, member in members()}
    said = {fields.get(key, key): value for key, value in {**CONFIG, **over}.items()}
    typed: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in said.items()
    }
    return TrainingJob(**typed)


def plan(**over: Any) -> RunPlan:
    """A plan of an ordinary run; ``over`` replaces fields."""
    fields: dict[str, Any] = {
        "run_id": RUN,
        "attempt_id": f"{RUN}-1",
        "attempt": 1,
        "queue": "gpu",
        "name": NAME,
        "settings": config(),
        "command": ("python", "train.py"),
        "image": IMAGE,
        "labels": {
            OWNER_LABEL: OWNER,
            RUN_LABEL: RUN,
            ATTEMPT_LABEL: f"{RUN}-1",
            QUEUE_LABEL: "gpu",
        },
        "scratch": Path("/nowhere"),
    }
    return RunPlan(**{**fields, **over})


def ordered(
    queue: dict[str, Any] | None = None,
    *,
    given: Given | None = None,
    settings: Settings = AGENT,
    region: str | None = REGION,
    owner: str = OWNER,
    **over: Any,
) -> Order:
    """What is asked for :func:`plan` of a queue that says ``queue`` beside :data:`CONFIG`."""
    made = plan(settings=config(**(queue or {})), **over)
    return order(made, given or Given(), settings, region=region, owner=owner)


def secret(name: str, value: str = "canary", **over: Any) -> Given:
    """A secret variable."""
    return Given(env=(EnvVar(name=name, value=Secret(value), **over),))


def body(queue: dict[str, Any] | None = None, **over: Any) -> dict[str, Any]:
    """The request of :func:`ordered`."""
    return ordered(queue, **over).body


def refused(queue: dict[str, Any] | None = None, **over: Any) -> LaunchError:
    """Why :func:`ordered` cannot be."""
    found: LaunchError | None = None
    try:
        ordered(queue, **over)
    except LaunchError as error:
        found = error
    assert found is not None, "it can be"
    assert found.reason is Reason.CONFIG_ERROR
    assert found.detail.isprintable()
    return found

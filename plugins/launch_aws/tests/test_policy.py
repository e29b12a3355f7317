"""The policy in docs/building.md is enough, and none of what we ask for by ourselves can be left out.

moto enforces actions, and knows neither resources nor conditions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from launch_aws.environment import AwsEnvironment
from launch_aws.registry import EcrRegistry
from launch_aws.testing.cloud import Cloud

from launchcore.plugin import ImageRef, LaunchError

PAGE = (Path(__file__).parents[3] / "docs" / "building.md").read_text(encoding="utf-8")
FOUND = re.search(r'<a id="aws-policy"></a>\n```json\n(.*?)```', PAGE, re.DOTALL)
POLICY: dict[str, Any] = json.loads(FOUND[1] if FOUND else "{}")
ACTIONS = [
    action
    for each in POLICY["Statement"]
    for action in ([each["Action"]] if isinstance(each["Action"], str) else each["Action"])
]
OURS = ("ecr:GetAuthorizationToken", "ecr:DescribeRepositories", "ecr:CreateRepository", "ecr:BatchGetImage")
"""The others are asked for by engines, and by what keeps contexts."""

Journey = Callable[..., None]


@pytest.fixture
def journey(
    cloud: Cloud,
    environment: Callable[..., AwsEnvironment],
    registry: Callable[..., EcrRegistry],
    monkeypatch: pytest.MonkeyPatch,
) -> Journey:
    """All that an agent asks of AWS, as a user who may do these actions and nothing else."""

    def go(actions: list[str]) -> None:
        cloud.client("s3").create_bucket(Bucket="my-bucket")
        keys = cloud.user("agent", *actions)
        for name, value in keys.items():
            monkeypatch.setenv(name.upper(), value)
        cloud.lock()
        made = registry(environment())
        ref = ImageRef(name=f"{made.resolve('my-repo')}:1")
        made.ensure(ref)
        assert made.digest(ref) is None
        assert made.logins(ref.name)

    return go


def test_it_is_enough(journey: Journey) -> None:
    journey(ACTIONS)


@pytest.mark.parametrize("missing", OURS)
def test_nothing_can_be_left_out(journey: Journey, missing: str) -> None:
    with pytest.raises(LaunchError) as caught:
        journey([action for action in ACTIONS if action != missing])
    assert caught.value.detail.endswith(f"AWS denies it: {missing} is not allowed"), caught.value.detail
    assert caught.value.hint == f"allow {missing} to the agent's user or role"


def test_contexts_can_be_kept(journey: Journey, cloud: Cloud) -> None:
    contexts = [action for action in ACTIONS if action.startswith("s3:")]
    keys = cloud.user("contexts", *contexts)
    journey(ACTIONS)
    s3 = cloud.client("s3", **keys)
    s3.put_object(Bucket="my-bucket", Key="contexts/x", Body=b"files")
    assert s3.get_object(Bucket="my-bucket", Key="contexts/x")["ContentLength"] == 5
    assert s3.head_object(Bucket="my-bucket", Key="contexts/x")["ContentLength"] == 5
    assert s3.list_objects_v2(Bucket="my-bucket", Prefix="contexts")["KeyCount"] == 1
    s3.delete_object(Bucket="my-bucket", Key="contexts/x")

"""The policy in docs/sagemaker.md is enough, and nothing of it can be left out.

moto and the endpoint enforce actions, and know neither resources nor conditions.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from launch_aws.environment import make_environment
from launch_aws.settings import AccountSettings
from launch_aws.testing.cloud import REGION, Cloud
from launch_sagemaker.runner import SageMakerRunner, make_runner
from launch_sagemaker.settings import Settings
from launch_sagemaker.testing.containers import ProcessContainers
from launch_sagemaker.testing.endpoint import Endpoint
from launch_sagemaker.testing.model import ServiceModel
from launch_sagemaker.testing.samples import OWNER, plan

from launchcore.plugin import EnvVar, Given, LaunchError, Secret
from launchcore.testing.context import RecordingContext
from launchcore.testing.sites import make_site

PAGE = (Path(__file__).parents[3] / "docs" / "sagemaker.md").read_text(encoding="utf-8")
FOUND = re.search(r'<a id="sagemaker-policy"></a>\n```json\n(.*?)```', PAGE, re.DOTALL)
POLICY: dict[str, Any] = json.loads(FOUND[1] if FOUND else "{}")
ACTIONS = [
    action
    for each in POLICY["Statement"]
    for action in ([each["Action"]] if isinstance(each["Action"], str) else each["Action"])
]
GIVEN = Given(env=(EnvVar(name="TOKEN", value=Secret("hunter2")),))
ADMIN = ("s3:*", "logs:*", "sqs:*")
"""What the service itself may do with what belongs to it."""


class Place:
    """An endpoint whose own deeds are a service's, and a runner as a user who may do some actions only."""

    def __init__(self, cloud: Cloud, model: ServiceModel, root: Path) -> None:
        self.cloud = cloud
        self.root = root
        cloud.client("s3").create_bucket(Bucket="bucket")
        self.queue: str = cloud.client("sqs").create_queue(QueueName="launch-events")["QueueUrl"]
        keys = cloud.user("service", *ADMIN)
        self.looker = cloud.client("sqs", **cloud.user("looker", "sqs:GetQueueAttributes"))
        self.endpoint = Endpoint(
            cloud,
            ProcessContainers(),
            step_seconds=0.01,
            stop_seconds=1.0,
            model=model,
            clients=lambda service, region: cloud.client(service, region, **keys),
        ).start()
        self.endpoint.events_to(self.queue)

    def runner(self, actions: list[str], monkeypatch: pytest.MonkeyPatch) -> SageMakerRunner:
        # In AWS the permission to delete messages is one for many as well; moto has a name of its own for it.
        many = ("sqs:DeleteMessageBatch",) if "sqs:DeleteMessage" in actions else ()
        for name, value in self.cloud.user("agent", *actions, *many).items():
            monkeypatch.setenv(name.upper(), value)
        self.cloud.lock()
        self.endpoint.faults.allow_only(*actions)
        block: dict[str, Any] = {
            "region": REGION,
            "endpoint_url": self.cloud.url,
            "endpoints": {"sagemaker": self.endpoint.url},
            "retries": 0,
            "answer_seconds": 6.0,
        }
        settings = Settings(
            role_arn="arn:aws:iam::123456789012:role/training",
            output_path="s3://bucket/output",
            store="s3://bucket/launch",
            events_queue=self.queue,
            requests_per_second=50.0,
            log_requests_per_second=50.0,
            look_seconds=0.2,
            appear_seconds=1.0,
            log_settle_seconds=0.1,
        )
        site = make_site(self.root, owner=OWNER)
        return make_runner(settings, site, make_environment(AccountSettings(**block)))


@pytest.fixture
def place(cloud: Cloud, sagemaker_model: ServiceModel, tmp_path: Path) -> Iterator[Place]:
    made = Place(cloud, sagemaker_model, tmp_path)
    yield made
    cloud.lock(False)
    made.endpoint.close()


def eventually(what: str, look: Callable[[], object], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.02)


def journey(runner: SageMakerRunner, place: Place, refused: Callable[[], bool] = lambda: False) -> None:
    """All that an agent asks: a run from its start to its end, one that is stopped, and after a crash."""
    first = plan(command=("sh", "-c", "echo hello; exit 0"))
    second = attrs.evolve(first, attempt_id=f"{first.run_id}-2", attempt=2, command=("sleep", "60"))
    with runner.watch(lambda *_: None):
        runner.prepare(first, GIVEN, RecordingContext())
        handle = runner.start(first, GIVEN)
        assert runner.start(first, GIVEN) == handle
        assert runner.find(first.attempt_id) == handle
        eventually("the end", lambda: runner.poll([handle])[handle.key].phase.final)
        text, cursor, end = b"", None, False
        until = time.monotonic() + 20
        while not end:
            assert time.monotonic() < until, "no end of the log"
            batch = runner.logs(handle, cursor, 1000)
            text, cursor, end = text + batch.data, batch.cursor, batch.end
        assert b"hello" in text
        runner.cleanup(handle)

        stopped = runner.start(second, GIVEN)
        assert [each.attempt_id for each in runner.owned()] == [second.attempt_id]
        runner.cancel(stopped, 0.0)
        eventually("its end", lambda: runner.poll([stopped])[stopped.key].phase.final)
        runner.cleanup(stopped)
        assert runner.owned() == []
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

        def all_read() -> bool:
            assert not refused()
            told = place.looker.get_queue_attributes(QueueUrl=place.queue, AttributeNames=names)
            return not any(int(told["Attributes"][name]) for name in names)

        eventually("its events to be read", all_read)


def test_it_is_enough(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    journey(place.runner(ACTIONS, monkeypatch), place)
    asked = {f"sagemaker:{call.operation}" for call in place.endpoint.calls}

    assert asked | {"sagemaker:AddTags"} == {each for each in ACTIONS if each.startswith("sagemaker:")}
    assert place.endpoint.faults_of_its_own == []


@pytest.mark.parametrize("missing", ACTIONS)
def test_nothing_can_be_left_out(
    place: Place, missing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is refused says which action is missing."""
    runner = place.runner([action for action in ACTIONS if action != missing], monkeypatch)
    with caplog.at_level(logging.WARNING, logger="launchcore"):
        try:
            journey(runner, place, lambda: missing in caplog.text)
        except LaunchError as error:
            said = f"{error.detail} {error.hint}"
        except AssertionError:
            said = caplog.text
        else:
            pytest.fail(f"it went without {missing}")
    assert missing in said

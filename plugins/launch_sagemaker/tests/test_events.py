"""State changes through SQS, as moto has it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from launch_aws.session import Account
from launch_aws.settings import AccountSettings
from launch_aws.testing.cloud import REGION, Cloud
from launch_aws.testing.fixtures import cloud, cloud_process, own_aws
from launch_sagemaker import events as module
from launch_sagemaker.api import Api
from launch_sagemaker.events import Events, job_in, region_of
from launch_sagemaker.observer import Observer
from launch_sagemaker.places import handle_of
from launch_sagemaker.settings import Settings

from launchcore.plugin import Phase
from plugins.launch_sagemaker.tests.scripted_sagemaker import DONE, SageMaker, job

__all__ = ["cloud", "cloud_process", "own_aws"]

QUEUE = "launchcore-events"


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(own_aws: Path) -> None:
    """Its keys and configuration."""


def event(name: object, kind: str = module.DETAIL_TYPE) -> str:
    return json.dumps(
        {
            "version": "0",
            "source": "aws.sagemaker",
            "detail-type": kind,
            "region": REGION,
            "detail": {"TrainingJobName": name, "TrainingJobStatus": "Completed"},
        }
    )


@attrs.define
class Known:
    """Who is hurried."""

    names: dict[str, str] = attrs.field(factory=dict)
    hurried: list[str] = attrs.field(factory=list)

    def named(self, name: str) -> str | None:
        return self.names.get(name)

    def hurry(self, attempt_id: str) -> None:
        self.hurried.append(attempt_id)


@attrs.define
class Queue:
    """A queue in the cloud."""

    client: Any
    url: str

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.client.send_message(QueueUrl=self.url, MessageBody=body)

    def left(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return sum(int(each) for each in found["Attributes"].values())


@pytest.fixture
def queue(cloud: Cloud) -> Queue:
    client = cloud.client("sqs")
    return Queue(client, client.create_queue(QueueName=QUEUE)["QueueUrl"])


Begins = Callable[..., Any]


@pytest.fixture
def begin(cloud: Cloud, queue: Queue) -> Iterator[Begins]:
    made: list[Events] = []

    def make(observer: Any, *, kind: type[Events] = Events, **more: Any) -> Events:
        account = Account(AccountSettings(region=REGION, endpoint_url=cloud.url))
        made.append(kind(account, queue.url, observer, **{"wait": 1, **more}))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.close()


def eventually(what: Callable[[], bool], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_an_event_hurries_the_job_that_it_tells_of_and_no_message_stays(queue: Queue, begin: Begins) -> None:
    known = Known({"launch-a": "a", "launch-b": "b"})
    queue.send(
        event("launch-a"), "{", "[1]", event("launch-z"), event(["x"]), event("launch-b", "another kind")
    )

    begin(known)

    eventually(lambda: queue.left() == 0)
    assert known.hurried == ["a"]


def test_events_are_healthy_when_one_has_come_and_sqs_answers(queue: Queue, begin: Begins) -> None:
    now = [100.0]
    events = begin(Known(), clock=lambda: now[0])
    queue.send("junk")
    eventually(lambda: queue.left() == 0)
    assert not events.healthy(), "who knows whether anybody sends any"

    queue.send(event("somebody-elses"))
    eventually(events.healthy)
    events.close()
    assert not events.healthy()


def test_silence_of_sqs_itself_is_not_healthy(queue: Queue, begin: Begins) -> None:
    now, stuck = [100.0], threading.Event()

    class Stuck(Known):
        def hurry(self, attempt_id: str) -> None:
            super().hurry(attempt_id)
            stuck.wait(60)

    known = Stuck({"launch-a": "a"})
    events = begin(known, clock=lambda: now[0])
    queue.send(event("launch-a"))
    eventually(lambda: known.hurried == ["a"])
    assert events.healthy()
    now[0] += 1 + module.LATELY
    assert not events.healthy()
    stuck.set()
    eventually(events.healthy)


class Counting(Events):
    """Counts how often it failed."""

    failures = 0

    def _failed(self, error: Exception) -> None:
        super()._failed(error)
        self.failures += 1


def test_a_queue_that_is_away_is_said_once_and_comes_back(
    queue: Queue, begin: Begins, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.02)
    known = Known({"launch-a": "a"})
    events = begin(known, kind=Counting)
    queue.send(event("launch-a"))
    eventually(events.healthy)

    queue.client.delete_queue(QueueUrl=queue.url)
    eventually(lambda: events.failures >= 3)
    assert not events.healthy()
    said = [each.message for each in caplog.records if each.levelname == "WARNING"]
    assert len(said) == 1
    assert "cannot read SageMaker's events from their queue" in said[0]

    queue.client.create_queue(QueueName=QUEUE)
    queue.send(event("launch-a"))
    eventually(lambda: known.hurried == ["a", "a"])
    eventually(events.healthy)


def test_closing_does_not_wait_for_a_long_poll_and_leaves_what_it_brings_in_the_queue() -> None:
    asked, let_go = threading.Event(), threading.Event()

    class Slow(Account):
        """Its one client is this, too."""

        deleted = 0

        def client(self, service: str, region: str | None = None, *, attempts: int | None = None) -> Any:
            return self

        def receive_message(self, **_: Any) -> dict[str, Any]:
            asked.set()
            let_go.wait(60)
            return {"Messages": [{"Body": event("launch-a"), "ReceiptHandle": "x"}]}

        def delete_message_batch(self, **_: Any) -> None:
            self.deleted += 1

    known, account = Known({"launch-a": "a"}), Slow(AccountSettings(region=REGION))
    events = Events(account, "http://127.0.0.1:1/1/q", known)
    events.start()
    assert asked.wait(20)
    events.close()
    assert events._thread.is_alive()

    let_go.set()
    events._thread.join(20)
    assert not events._thread.is_alive()
    assert (known.hurried, account.deleted) == ([], 0)


def test_an_event_is_seen_long_before_the_next_look(queue: Queue, begin: Begins) -> None:
    sagemaker = SageMaker(time.monotonic, per_second=100.0)
    observer = Observer(cast("Api", sagemaker), Settings(look_seconds=3600.0))
    try:
        begin(observer)
        with observer.watching(lambda *_: None):
            observer.look([handle_of(job("a"))])
            sagemaker.answers["a"] = lambda: DONE
            queue.send(event(job("a").name))
            eventually(lambda: observer.look([handle_of(job("a"))])["a"].phase is Phase.SUCCEEDED)
    finally:
        observer.close()


@pytest.mark.parametrize(
    "body",
    [
        None,
        7,
        "",
        "null",
        "{}",
        '{"detail": 7}',
        "[" * 100_000,
        event("x", "ECS Task State Change"),
        event(None),
        event({"a": 1}),
        " " * (module.LONGEST + 1) + event("x"),
    ],
)
def test_junk_tells_of_no_job(body: object) -> None:
    assert job_in(body) is None


def test_a_body_tells_of_its_job() -> None:
    assert job_in(event("launch-a")) == "launch-a"


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/q", "eu-west-1"),
        ("https://eu-west-1.queue.amazonaws.com/123456789012/q", "eu-west-1"),
        ("https://sqs-fips.us-gov-west-1.amazonaws.com/123456789012/q", "us-gov-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q", "cn-north-1"),
        ("https://sqs.us-east-1.api.aws/123456789012/q", "us-east-1"),
        ("https://vpce-0ab1-2cd3.sqs.ap-southeast-2.vpce.amazonaws.com/123456789012/q", "ap-southeast-2"),
        ("http://127.0.0.1:4566/123456789012/eu-west-1", None),
        ("queue", None),
    ],
)
def test_the_queues_region_stands_in_its_host(url: str, region: str | None) -> None:
    assert region_of(url) == region


def test_a_queue_is_asked_in_its_own_region_else_in_the_accounts() -> None:
    asked: list[str] = []

    class Recorded(Account):
        def client(self, service: str, region: str | None = None, *, attempts: int | None = None) -> Any:
            asked.append(f"{service} {region} {attempts}")
            raise KeyError(service)

    account = Recorded(AccountSettings(region="us-east-1"))
    for url in ("https://sqs.eu-west-1.amazonaws.com/1/q", "http://127.0.0.1:1/1/q"):
        events = Events(account, url, Known())
        with pytest.raises(KeyError):
            events._poll()

    assert asked == ["sqs eu-west-1 1", "sqs us-east-1 1"]


def test_a_long_poll_is_shorter_than_the_patience_with_answers() -> None:
    for patience, wait in ((30.0, 20), (10.0, 5), (2.0, 1)):
        account = Account(AccountSettings(region=REGION, answer_seconds=patience))
        assert Events(account, "http://127.0.0.1:1/1/q", Known())._wait == wait

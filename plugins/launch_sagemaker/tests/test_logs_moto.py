"""Logs over HTTP, from moto, with the threads that an agent has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from launch_aws.session import Account
from launch_aws.settings import AccountSettings
from launch_aws.testing.cloud import REGION, Cloud
from launch_sagemaker.api import Api
from launch_sagemaker.logs import Logs
from launch_sagemaker.names import LOG_GROUP
from launch_sagemaker.observer import Observer
from launch_sagemaker.places import Job
from launch_sagemaker.settings import Settings
from launch_sagemaker.testing.bodies import spot, training_job
from launch_sagemaker.testing.endpoint import Endpoint
from launch_sagemaker.testing.scripted_logs import Seen, seen

from launchcore.plugin import LaunchError, Phase

JOB = Job(attempt_id="run-1", name="launch-run-1", region=REGION)
Reader = Callable[..., Logs]


@pytest.fixture
def sights() -> dict[str, Seen]:
    return {"run-1": seen(Phase.RUNNING)}


@pytest.fixture
def reader(cloud: Cloud, sights: dict[str, Seen]) -> Iterator[Reader]:
    made: list[Logs] = []

    def make(url: str = cloud.url) -> Logs:
        account = Account(AccountSettings(region=REGION, endpoint_url=url))
        settings = Settings(log_requests_per_second=200.0, log_settle_seconds=0.5)
        made.append(Logs(account, settings, sights.get))
        return made[-1]

    yield make
    for logs in made:
        logs.close()


class Writer:
    """What SageMaker does: makes streams, and writes events."""

    def __init__(self, cloud: Cloud) -> None:
        self._client: Any = cloud.client("logs")
        self._client.create_log_group(logGroupName=LOG_GROUP)
        self._known: set[str] = set()

    def write(self, stream: str, *texts: str) -> None:
        name = f"{JOB.name}/{stream}"
        if name not in self._known:
            self._known.add(name)
            self._client.create_log_stream(logGroupName=LOG_GROUP, logStreamName=name)
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": text} for text in texts]
        if events:
            self._client.put_log_events(logGroupName=LOG_GROUP, logStreamName=name, logEvents=events)


def read(
    logs: Logs, cursor: str | None, *, limit: int = 1 << 18, until: bytes | None = None
) -> tuple[bytes, str]:
    """What follows a cursor, until some text has come, or to the end."""
    found, patience = b"", time.monotonic() + 30
    while True:
        batch = logs.read(JOB, cursor, limit)
        assert batch.gap is None
        found, cursor = found + batch.data, batch.cursor
        if batch.end or (until is not None and until in found):
            return found, cursor
        assert time.monotonic() < patience, found[-1000:]
        time.sleep(0 if batch.data else 0.01)


def test_a_log_is_followed_to_its_end(cloud: Cloud, reader: Reader, sights: dict[str, Seen]) -> None:
    logs = reader()
    assert logs.read(JOB, None, 100).data == b""
    writer = Writer(cloud)
    writer.write("algo-1-1700000100")
    writer.write("algo-1-1700000100", "one", "two\r\n", "\x1b[1mé")
    data, cursor = read(logs, None, until="é\n".encode())
    assert data == "one\ntwo\n\x1b[1mé\n".encode()
    writer.write("algo-1-1700000100", "three")
    sights["run-1"] = seen(Phase.SUCCEEDED, ended_at=time.time())
    assert read(logs, cursor)[0] == b"three\n"


def test_logs_of_two_instances_are_resumed_by_other_processes(
    cloud: Cloud, reader: Reader, sights: dict[str, Seen]
) -> None:
    writer = Writer(cloud)
    for number in range(300):
        writer.write(f"algo-{number % 2 + 1}-1700000100", *[f"{number} {'x' * (number % 90)}"] * 3)
    sights["run-1"] = seen(Phase.SUCCEEDED, instances=2, ended_at=time.time() - 3600)
    whole, _ = read(reader(), None)
    assert len(whole.splitlines()) == 900
    cursor, found = None, b""
    while True:
        logs = reader()
        batch = logs.read(JOB, cursor, 5000)
        patience = time.monotonic() + 30
        while not (batch.data or batch.end):
            assert time.monotonic() < patience
            time.sleep(0.005)
            batch = logs.read(JOB, batch.cursor, 5000)
        logs.close()
        found, cursor = found + batch.data, batch.cursor
        if batch.end:
            break
    assert sorted(found.splitlines()) == sorted(whole.splitlines())
    for label in (b"[algo-1] ", b"[algo-2] "):
        mine = [line for line in found.splitlines() if line.startswith(label)]
        assert mine == [line for line in whole.splitlines() if line.startswith(label)]


def test_a_token_that_cloudwatch_does_not_take_is_replaced_by_the_time(
    cloud: Cloud, reader: Reader, sights: dict[str, Seen]
) -> None:
    writer = Writer(cloud)
    writer.write("algo-1-1700000100", *[f"line {number}" for number in range(10)])
    data, cursor = read(reader(), None, until=b"line 9\n")
    token = cursor.split('"')[7]
    writer.write("algo-1-1700000100", "after")
    sights["run-1"] = seen(Phase.SUCCEEDED, ended_at=time.time())
    assert read(reader(), cursor.replace(token, "f/nothing"))[0] == b"after\n"
    assert data.endswith(b"line 9\n")


def test_a_cloud_that_is_away_is_told(reader: Reader) -> None:
    with pytest.raises(LaunchError, match="cannot read the log of a training job"):
        read(reader("http://127.0.0.1:9"), None)


@pytest.fixture
def agent(cloud: Cloud, sagemaker: Endpoint) -> Iterator[tuple[Observer, Logs]]:
    """What looks at training jobs, and reads their logs."""
    account = Account(
        AccountSettings(region=REGION, endpoint_url=cloud.url, endpoints={"sagemaker": sagemaker.url})
    )
    settings = Settings(
        requests_per_second=200.0, look_seconds=0.05, log_requests_per_second=200.0, log_settle_seconds=0.5
    )
    observer = Observer(Api(account, settings), settings)
    logs = Logs(account, settings, observer.sight)
    yield observer, logs
    logs.close()
    observer.close()


def test_what_the_containers_of_a_job_print_is_its_log(
    sagemaker: Endpoint, agent: tuple[Observer, Logs]
) -> None:
    observer, logs = agent
    body = training_job(JOB.name, "/bin/sh", "-c", "for i in 1 2 3; do echo line $i; done")
    body["ResourceConfig"]["InstanceCount"] = 2
    sagemaker.client().create_training_job(**body)
    observer.follow(JOB)
    data, _ = read(logs, None)
    assert sorted(data.splitlines()) == [
        b"[algo-%d] line %d" % (instance, line) for instance in (1, 2) for line in (1, 2, 3)
    ]


def test_the_log_of_a_job_goes_on_after_an_interruption(
    cloud: Cloud, sagemaker: Endpoint, agent: tuple[Observer, Logs], tmp_path: Path
) -> None:
    observer, logs = agent
    cloud.client("s3").create_bucket(Bucket="points")
    script = "echo one; until test -e $T/go; do sleep 0.02; done; echo two"
    words = ("/bin/sh", "-c", script)
    how = spot(checkpoints="s3://points/run-1")
    sagemaker.client().create_training_job(
        **training_job(JOB.name, *words, Environment={"T": str(tmp_path)}, **how)
    )
    observer.follow(JOB)
    first, cursor = read(logs, None, until=b"one\n")
    sagemaker.job(JOB.name).interrupt()
    second, cursor = read(logs, cursor, until=b"one\n")
    (tmp_path / "go").touch()
    rest, _ = read(logs, cursor)
    assert (first, second, rest) == (b"one\n", b"one\n", b"two\n")

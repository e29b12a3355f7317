"""The test kit: what containers print is in CloudWatch, line by line, while they run."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from launch_aws.testing.cloud import Cloud
from launch_sagemaker.names import LOG_GROUP
from launch_sagemaker.testing.bodies import training_job
from launch_sagemaker.testing.endpoint import Endpoint
from launch_sagemaker.testing.streams import MOST_BYTES, Streams, pieces


@pytest.fixture
def faults() -> list[str]:
    return []


@pytest.fixture
def streams(cloud: Cloud, sagemaker_clients: Callable[[str, str], Any], faults: list[str]) -> Any:
    made = Streams(lambda region: sagemaker_clients("logs", region), lambda: 0.0, faults.append)
    yield made
    made.close()
    assert faults == []


def events(clients: Callable[[str, str], Any], stream: str) -> list[dict[str, Any]]:
    logs = clients("logs", "us-east-1")
    told = logs.get_log_events(logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True)
    found: list[dict[str, Any]] = told["events"]
    return found


def test_a_line_is_an_event_and_the_rest_comes_at_the_end(
    streams: Streams, sagemaker_clients: Callable[[str, str], Any]
) -> None:
    stream = streams.open("us-east-1", "job", "algo-1")
    assert re.fullmatch(r"job/algo-1-\d{10}", stream.name)
    for data in (b"one\ntw", b"o\n\nthree \xff\r\n", b"rest"):
        stream.write(data)
    streams.flush()
    assert [each["message"] for each in events(sagemaker_clients, stream.name)] == [
        "one",
        "two",
        "three \ufffd",
    ]
    stream.close()
    streams.flush()
    found = events(sagemaker_clients, stream.name)
    assert [each["message"] for each in found][3:] == ["rest"]
    times = [each["timestamp"] for each in found]
    assert times == sorted(times)
    assert abs(times[0] / 1000 - time.time()) < 60


def test_a_second_start_has_a_stream_of_its_own(streams: Streams) -> None:
    names = {streams.open("us-east-1", "job", "algo-1").name for _ in range(3)}
    names.add(streams.open("us-east-1", "job", "algo-2").name)
    assert len(names) == 4


def test_much_at_once_is_several_requests(
    streams: Streams, sagemaker_clients: Callable[[str, str], Any]
) -> None:
    stream = streams.open("us-east-1", "job", "algo-1")
    stream.write(b"".join(b"%d\n" % number for number in range(2500)))
    streams.flush()
    assert [int(each["message"]) for each in events(sagemaker_clients, stream.name)] == [*range(2500)]


def test_a_long_line_is_cut_between_characters() -> None:
    assert pieces("") == []
    assert pieces("a") == ["a"]
    text = "é" * (MOST_BYTES // 2 + 10)
    made = pieces(f"x{text}")
    assert "".join(made) == f"x{text}"
    assert [len(each.encode()) <= MOST_BYTES for each in made] == [True, True]
    assert len(pieces("a" * MOST_BYTES)) == 1
    assert len(pieces("a" * (MOST_BYTES + 1))) == 2


def test_lines_are_there_while_the_job_runs_and_late_when_a_script_says_so(sagemaker: Endpoint) -> None:
    client = sagemaker.client()
    words = ("/bin/sh", "-c", "echo first; while :; do sleep 0.02; done")
    client.create_training_job(**training_job("live", *words))
    job = sagemaker.job("live")
    while list(sagemaker.log("live").values()) != [["first"]]:
        assert not job.has_ended
        assert time.time() - job.created < 30
    job.stop()

    sagemaker.faults.delay_logs(1.0)
    client.create_training_job(**training_job("late", "/bin/sh", "-c", "echo late"))
    sagemaker.job("late").wait()
    assert sagemaker.log("late") == {}
    while not sagemaker.log("late"):
        assert time.time() - sagemaker.job("late").created < 30
    assert list(sagemaker.log("late").values()) == [["late"]]


def test_a_test_writes_the_log_of_a_job_on_paper(sagemaker: Endpoint) -> None:
    sagemaker.faults.paper()
    sagemaker.client().create_training_job(**training_job("paper"))
    first, second = sagemaker.stream("paper"), sagemaker.stream("paper", "algo-2")
    first.write(b"one\ntwo\n")
    second.write(b"other\n")
    sagemaker.flush_logs()
    assert sagemaker.log("paper") == {first.name: ["one", "two"], second.name: ["other"]}


def test_a_cloud_that_is_away_is_noticed(faults: list[str]) -> None:
    def away(region: str) -> Any:
        raise ConnectionError(f"no {region}")

    streams = Streams(away, lambda: 0.0, faults.append)
    stream = streams.open("us-east-1", "job", "algo-1")
    stream.write(b"lost\n")
    streams.flush()
    streams.close()
    assert [fault.endswith("no us-east-1") for fault in faults] == [True]

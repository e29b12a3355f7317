"""The test kit: EventBridge's events about training jobs, in SQS."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from launch_sagemaker.testing.bodies import training_job
from launch_sagemaker.testing.endpoint import Endpoint

Events = Callable[[int], list[dict[str, Any]]]


@pytest.fixture
def events(sagemaker: Endpoint, sagemaker_clients: Callable[[str, str], Any]) -> Events:
    """Waits for so many."""
    sqs = sagemaker_clients("sqs", "us-east-1")
    url = sqs.create_queue(QueueName="events")["QueueUrl"]
    sagemaker.events_to(url)

    def receive(count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        until = time.monotonic() + 30
        while len(found) < count:
            assert time.monotonic() < until, found
            told = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            found += [json.loads(each["Body"]) for each in told.get("Messages", ())]
        return found

    return receive


def test_each_change_is_told_as_eventbridge_tells_it(sagemaker: Endpoint, events: Events) -> None:
    sagemaker.faults.paper()
    tags = [{"Key": "owner", "Value": "us"}]
    made = sagemaker.client().create_training_job(**training_job("job", Tags=tags))
    sagemaker.job("job").end(2)
    told = events(3)
    assert {each["detail-type"] for each in told} == {"SageMaker Training Job State Change"}
    assert {each["source"] for each in told} == {"aws.sagemaker"}
    assert {tuple(each["resources"]) for each in told} == {(made["TrainingJobArn"],)}
    last = {each["detail"]["SecondaryStatus"]: each["detail"] for each in told}["Failed"]
    assert last["TrainingJobName"] == "job"
    assert last["TrainingJobStatus"] == "Failed"
    assert last["FailureReason"] == "AlgorithmError: , exit code: 2"
    assert last["Tags"] == {"owner": "us"}
    assert abs(last["CreationTime"] / 1000 - time.time()) < 60
    assert last["SecondaryStatusTransitions"][-1]["StartTime"] >= last["CreationTime"]


def test_events_can_be_lost(sagemaker: Endpoint, events: Events) -> None:
    sagemaker.faults.paper()
    sagemaker.faults.lose_events(2)
    sagemaker.client().create_training_job(**training_job("job"))
    sagemaker.job("job").end()
    assert {each["detail"]["SecondaryStatus"] for each in events(2)} == {"Uploading", "Completed"}


def test_jobs_that_run_are_told_of_too(sagemaker: Endpoint, events: Events) -> None:
    sagemaker.client().create_training_job(**training_job("real", "/bin/sh", "-c", "true"))
    sagemaker.job("real").wait()
    told = events(len(sagemaker.job("real").transitions))
    assert "Starting" in {each["detail"]["SecondaryStatus"] for each in told}

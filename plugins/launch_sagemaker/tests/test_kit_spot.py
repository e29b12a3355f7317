"""The test kit: spot instances that are taken away, and the checkpoints that outlive them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from launch_aws.testing.cloud import Cloud
from launch_sagemaker.testing.bodies import spot, training_job
from launch_sagemaker.testing.endpoint import Endpoint

COUNTS = (
    "cd /opt/ml/checkpoints; n=$(cat step 2>/dev/null || echo 0); echo from $n; "
    "while test $n -lt 3; do n=$((n+1)); echo $n > step; test -e $T/go$n && continue; "
    "touch $T/at$n; while :; do sleep 0.02; done; done; echo over"
)
"""Counts to 3, and stays at a number until the test has it go on; begins where its checkpoint is."""


@pytest.fixture
def bucket(cloud: Cloud) -> str:
    cloud.client("s3").create_bucket(Bucket="points")
    return "s3://points/run-1"


def body(name: str, folder: Path, **how: Any) -> dict[str, Any]:
    return training_job(name, "/bin/sh", "-c", COUNTS, Environment={"T": str(folder)}, **spot(**how))


def statuses(sagemaker: Endpoint, name: str) -> list[str]:
    return [each.status for each in sagemaker.job(name).transitions]


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    over = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < over
        time.sleep(0.01)


def test_an_interrupted_job_goes_on_from_its_checkpoint(
    sagemaker: Endpoint, bucket: str, tmp_path: Path
) -> None:
    (tmp_path / "go1").touch()
    client = sagemaker.client()
    client.create_training_job(**body("spot", tmp_path, checkpoints=bucket))
    until((tmp_path / "at2").exists)
    for step in (2, 3):
        (tmp_path / f"go{step}").touch()
    sagemaker.job("spot").interrupt()
    sagemaker.job("spot").wait()
    told = client.describe_training_job(TrainingJobName="spot")
    assert told["TrainingJobStatus"] == "Completed"
    assert statuses(sagemaker, "spot") == [
        *("Starting", "Downloading", "Training", "Interrupted"),
        *("Starting", "Downloading", "Training", "Uploading", "Completed"),
    ]
    first, second = sagemaker.log("spot").values()
    assert first == ["from 0"]
    assert second == ["from 2", "over"]
    assert told["CheckpointConfig"] == {"S3Uri": bucket}
    assert told["EnableManagedSpotTraining"] is True


def test_the_next_job_with_the_same_place_goes_on_too(
    sagemaker: Endpoint, bucket: str, tmp_path: Path
) -> None:
    (tmp_path / "go1").touch()
    client = sagemaker.client()
    client.create_training_job(**body("first", tmp_path, checkpoints=bucket))
    until((tmp_path / "at2").exists)
    client.stop_training_job(TrainingJobName="first")
    sagemaker.job("first").wait()
    for step in (2, 3):
        (tmp_path / f"go{step}").touch()
    client.create_training_job(**body("second", tmp_path, checkpoints=bucket))
    sagemaker.job("second").wait()
    assert list(sagemaker.log("second").values()) == [["from 2", "over"]]


def test_checkpoints_are_in_s3_while_it_trains(
    sagemaker: Endpoint, cloud: Cloud, bucket: str, tmp_path: Path
) -> None:
    sagemaker.client().create_training_job(**body("live", tmp_path, checkpoints=bucket))
    until((tmp_path / "at1").exists)
    s3, job = cloud.client("s3"), sagemaker.job("live")
    until(lambda: s3.list_objects_v2(Bucket="points")["KeyCount"])
    assert s3.get_object(Bucket="points", Key="run-1/step")["Body"].read() == b"1\n"
    assert job.secondary == "Training"


def test_interruptions_by_script(sagemaker: Endpoint) -> None:
    sagemaker.faults.interrupt_next(times=2)
    words = ("/bin/sh", "-c", "while :; do sleep 0.02; done")
    client = sagemaker.client()
    client.create_training_job(**training_job("often", *words, **spot()))
    until(lambda: statuses(sagemaker, "often").count("Training") == 3)
    client.stop_training_job(TrainingJobName="often")
    sagemaker.job("often").wait()
    assert statuses(sagemaker, "often").count("Interrupted") == 2
    assert sagemaker.job("often").interruptions == 2


def test_without_capacity_the_wait_ends_it(sagemaker: Endpoint) -> None:
    sagemaker.faults.interrupt_next(comes_back=False)
    words = ("/bin/sh", "-c", "while :; do sleep 0.02; done")
    sagemaker.client().create_training_job(**training_job("gone", *words, **spot(wait=1, run=1)))
    sagemaker.job("gone").wait()
    told = sagemaker.client().describe_training_job(TrainingJobName="gone")
    assert (told["TrainingJobStatus"], told["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    assert statuses(sagemaker, "gone")[-2:] == ["Interrupted", "MaxWaitTimeExceeded"]


def test_a_wait_without_capacity_can_be_stopped(sagemaker: Endpoint) -> None:
    sagemaker.faults.interrupt_next(comes_back=False)
    words = ("/bin/sh", "-c", "while :; do sleep 0.02; done")
    client = sagemaker.client()
    client.create_training_job(**training_job("gone", *words, **spot()))
    sagemaker.job("gone").wait("Interrupted")
    client.stop_training_job(TrainingJobName="gone")
    sagemaker.job("gone").wait()
    assert statuses(sagemaker, "gone")[-3:] == ["Interrupted", "Stopping", "Stopped"]


def test_a_job_with_notice_can_save_itself(sagemaker: Endpoint, bucket: str, tmp_path: Path) -> None:
    script = (
        "test -e /opt/ml/checkpoints/saved && exit 0; trap 'touch /opt/ml/checkpoints/saved; exit 1' TERM; "
        f"touch {tmp_path}/ready; while :; do sleep 0.02; done"
    )
    sagemaker.client().create_training_job(
        **training_job("notice", "/bin/sh", "-c", script, **spot(checkpoints=bucket))
    )
    until((tmp_path / "ready").exists)
    sagemaker.job("notice").interrupt(notice=5.0)
    sagemaker.job("notice").wait()
    assert sagemaker.job("notice").status == "Completed"
    assert sagemaker.job("notice").interruptions == 1


def test_only_spot_instances_are_taken_away(sagemaker: Endpoint) -> None:
    sagemaker.faults.paper()
    sagemaker.client().create_training_job(**training_job("own"))
    with pytest.raises(AssertionError, match="does not run on spot instances"):
        sagemaker.job("own").interrupt()

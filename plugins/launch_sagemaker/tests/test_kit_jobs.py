"""The test kit: training jobs that run, through botocore's client and with real processes."""

from __future__ import annotations

import io
import json
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from launch_aws.testing.cloud import Cloud
from launch_sagemaker.testing.bodies import machines, training_job
from launch_sagemaker.testing.endpoint import Endpoint

DEAF = "trap '' TERM; echo deaf; while :; do sleep 0.05; done"


def sh(name: str, script: str, **members: Any) -> dict[str, Any]:
    return training_job(name, "/bin/sh", "-c", script, **members)


def run(sagemaker: Endpoint, body: dict[str, Any]) -> dict[str, Any]:
    """Create it, wait for its end, and describe it."""
    client = sagemaker.client()
    client.create_training_job(**body)
    sagemaker.job(body["TrainingJobName"]).wait()
    described: dict[str, Any] = client.describe_training_job(TrainingJobName=body["TrainingJobName"])
    return described


def lines(sagemaker: Endpoint, name: str, host: str = "algo-1") -> list[str]:
    return [line for stream, log in sagemaker.log(name).items() if f"/{host}-" in stream for line in log]


def until_it_says(sagemaker: Endpoint, name: str, word: str) -> None:
    until = time.monotonic() + 30
    while word not in lines(sagemaker, name):
        assert time.monotonic() < until, f"{name} does not say {word!r}: {sagemaker.log(name)}"
        time.sleep(0.01)


def statuses(described: dict[str, Any]) -> list[str]:
    return [each["Status"] for each in described["SecondaryStatusTransitions"]]


def test_a_job_runs_its_words_and_walks_through_its_statuses(sagemaker: Endpoint) -> None:
    told = run(sagemaker, sh("good", "echo hello $NAME", Environment={"NAME": "you"}))
    assert (told["TrainingJobStatus"], told["SecondaryStatus"]) == ("Completed", "Completed")
    assert statuses(told) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert lines(sagemaker, "good") == ["hello you"]
    times = [told[key] for key in ("CreationTime", "TrainingStartTime", "TrainingEndTime")]
    assert times == sorted(times)
    assert told["LastModifiedTime"] == told["TrainingEndTime"]
    assert (told["TrainingTimeInSeconds"], told["BillableTimeInSeconds"]) == (1, 1)
    for one, other in zip(
        told["SecondaryStatusTransitions"], told["SecondaryStatusTransitions"][1:], strict=False
    ):
        assert one["EndTime"] == other["StartTime"]
        assert one["StatusMessage"]
    assert "FailureReason" not in told
    assert told["Environment"] == {"NAME": "you"}
    assert told["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600}
    assert "Tags" not in told


def test_a_job_without_words_trains_as_its_image_does(sagemaker: Endpoint) -> None:
    assert run(sagemaker, training_job("plain"))["TrainingJobStatus"] == "Completed"
    assert lines(sagemaker, "plain") == ["trained"]


def test_an_entrypoint_goes_before_the_arguments(sagemaker: Endpoint) -> None:
    body = training_job("entry", "-c", "echo $0 $1", "a", "b c")
    body["AlgorithmSpecification"]["ContainerEntrypoint"] = ["/bin/sh"]
    assert run(sagemaker, body)["TrainingJobStatus"] == "Completed"
    assert lines(sagemaker, "entry") == ["a b c"]


@pytest.mark.parametrize(
    ("script", "code"), [("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("exec /none", 127)]
)
def test_an_exit_code_is_told_as_the_reason(sagemaker: Endpoint, script: str, code: int) -> None:
    told = run(sagemaker, sh("bad", script))
    assert (told["TrainingJobStatus"], told["SecondaryStatus"]) == ("Failed", "Failed")
    assert told["FailureReason"] == f"AlgorithmError: , exit code: {code}"
    assert "Uploading" not in statuses(told)


def test_what_the_container_says_of_its_failure_is_in_the_reason(sagemaker: Endpoint) -> None:
    told = run(sagemaker, sh("said", "printf 'out of luck' > /opt/ml/output/failure; exit 3"))
    assert told["FailureReason"] == "AlgorithmError: out of luck, exit code: 3"
    told = run(sagemaker, sh("long", "head -c 5000 /dev/zero | tr '\\0' x > /opt/ml/output/failure; exit 4"))
    assert len(told["FailureReason"]) == 1024
    assert told["FailureReason"].endswith("xx, exit code: 4")


def test_a_program_that_is_not_there_cannot_be_started(sagemaker: Endpoint) -> None:
    told = run(sagemaker, training_job("none", "/no/such/program"))
    assert told["TrainingJobStatus"] == "Failed"
    assert told["FailureReason"].startswith("AlgorithmError: CannotStartContainerError. ")


def test_a_stop_lets_the_container_end_by_itself(sagemaker: Endpoint) -> None:
    client = sagemaker.client()
    script = "trap 'echo saving; exit 1' TERM; echo ready; while :; do sleep 0.02; done"
    client.create_training_job(**sh("stopped", script))
    until_it_says(sagemaker, "stopped", "ready")
    client.stop_training_job(TrainingJobName="stopped")
    assert client.describe_training_job(TrainingJobName="stopped")["TrainingJobStatus"] in (
        "Stopping",
        "Stopped",
    )
    sagemaker.job("stopped").wait()
    told = client.describe_training_job(TrainingJobName="stopped")
    assert (told["TrainingJobStatus"], told["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert "Stopping" in statuses(told)
    assert "FailureReason" not in told
    assert lines(sagemaker, "stopped") == ["ready", "saving"]
    assert statuses(told)[-3:] == ["Stopping", "Uploading", "Stopped"]


def test_a_deaf_container_is_killed_with_all_of_its_processes(cloud: Cloud, sagemaker: Endpoint) -> None:
    sagemaker.stop_seconds = 0.1
    client = sagemaker.client()
    client.create_training_job(**sh("deaf", f"sleep 1234 & echo $!; {DEAF}"))
    until_it_says(sagemaker, "deaf", "deaf")
    child = Path("/proc") / lines(sagemaker, "deaf")[0]
    assert b"1234" in (child / "cmdline").read_bytes()
    client.stop_training_job(TrainingJobName="deaf")
    sagemaker.job("deaf").wait()
    assert sagemaker.job("deaf").status == "Stopped"
    assert not child.exists() or (child / "cmdline").read_bytes() == b""


def test_a_job_that_is_stopped_before_it_trains_never_trains(sagemaker: Endpoint) -> None:
    client = sagemaker.client()
    client.create_training_job(**sh("early", "echo never"))
    client.stop_training_job(TrainingJobName="early")
    sagemaker.job("early").wait()
    told = client.describe_training_job(TrainingJobName="early")
    assert told["SecondaryStatus"] == "Stopped"
    assert "Training" not in statuses(told)
    assert sagemaker.log("early") == {}


def test_what_has_ended_cannot_be_stopped(sagemaker: Endpoint) -> None:
    run(sagemaker, sh("ended", "true"))
    with pytest.raises(ClientError, match="rejected because the training job is in status Completed") as told:
        sagemaker.client().stop_training_job(TrainingJobName="ended")
    assert told.value.response["Error"]["Code"] == "ValidationException"


def test_a_name_is_kept_for_good(sagemaker: Endpoint) -> None:
    run(sagemaker, sh("once", "true"))
    client = sagemaker.client()
    with pytest.raises(client.exceptions.ResourceInUse, match="Training job names must be unique"):
        client.create_training_job(**sh("once", "true"))
    elsewhere = sagemaker.client("eu-west-1")
    made = elsewhere.create_training_job(**sh("once", "true"))
    assert ":eu-west-1:" in made["TrainingJobArn"]
    assert len(sagemaker.jobs) == 2


def test_a_job_that_nobody_made_is_not_found(sagemaker: Endpoint) -> None:
    client = sagemaker.client()
    for ask in (client.describe_training_job, client.stop_training_job):
        with pytest.raises(ClientError, match="Requested resource not found") as told:
            ask(TrainingJobName="nobody")
        assert told.value.response["Error"]["Code"] == "ValidationException"


def test_a_job_that_runs_for_too_long_is_ended(sagemaker: Endpoint) -> None:
    sagemaker.stop_seconds = 0.1
    seen: list[str] = []
    sagemaker.on_change = lambda job: seen.append(job.status)
    told = run(sagemaker, sh("long", DEAF, StoppingCondition={"MaxRuntimeInSeconds": 1}))
    assert seen[-3:] == ["Stopping", "Stopping", "Stopped"]
    assert (told["TrainingJobStatus"], told["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert "FailureReason" not in told


def test_instances_that_break_down_are_no_fault_of_the_container(sagemaker: Endpoint) -> None:
    sagemaker.client().create_training_job(**sh("broken", DEAF))
    until_it_says(sagemaker, "broken", "deaf")
    sagemaker.job("broken").fail("InternalServerError: We encountered an internal error. Please try again.")
    sagemaker.job("broken").wait()
    told = sagemaker.client().describe_training_job(TrainingJobName="broken")
    assert told["FailureReason"].startswith("InternalServerError: ")
    assert statuses(told)[-2:] == ["Training", "Failed"]


def test_every_instance_has_a_container_and_a_stream_of_its_own(sagemaker: Endpoint) -> None:
    script = "cat /opt/ml/input/config/resourceconfig.json; echo; echo $HOSTNAME"
    told = run(sagemaker, sh("three", script, ResourceConfig=machines(3)))
    assert told["TrainingJobStatus"] == "Completed"
    assert len(sagemaker.log("three")) == 3
    for host in ("algo-1", "algo-2", "algo-3"):
        config, name = lines(sagemaker, "three", host)
        assert name == host
        assert json.loads(config)["current_host"] == host
        assert json.loads(config)["hosts"] == ["algo-1", "algo-2", "algo-3"]


def test_one_instance_that_fails_ends_them_all(sagemaker: Endpoint) -> None:
    script = "if [ $HOSTNAME = algo-2 ]; then exit 5; fi; while :; do sleep 0.05; done"
    told = run(sagemaker, sh("both", script, ResourceConfig=machines(2)))
    assert told["FailureReason"] == "AlgorithmError: , exit code: 5"


def test_all_instances_have_to_end(sagemaker: Endpoint, tmp_path: Path) -> None:
    script = "test $HOSTNAME = algo-1 || until test -e DIR/go; do sleep 0.02; done; echo over"
    client = sagemaker.client()
    go = tmp_path / "go"
    body = sh("slow", script.replace("DIR", str(go.parent)), ResourceConfig=machines(2))
    client.create_training_job(**body)
    until_it_says(sagemaker, "slow", "over")
    assert client.describe_training_job(TrainingJobName="slow")["SecondaryStatus"] == "Training"
    go.touch()
    sagemaker.job("slow").wait()
    assert sagemaker.job("slow").status == "Completed"


def test_groups_of_instances_are_told_in_the_configuration(sagemaker: Endpoint) -> None:
    groups = [
        {"InstanceGroupName": "data", "InstanceType": "ml.c5.xlarge", "InstanceCount": 1},
        {"InstanceGroupName": "gpus", "InstanceType": "ml.g5.xlarge", "InstanceCount": 1},
    ]
    resources = {"InstanceGroups": groups, "VolumeSizeInGB": 10}
    script = "cat /opt/ml/input/config/resourceconfig.json"
    run(sagemaker, sh("groups", script, ResourceConfig=resources))
    config = json.loads(lines(sagemaker, "groups", "algo-2")[0])
    assert config["current_group_name"] == "gpus"
    assert config["current_instance_type"] == "ml.g5.xlarge"
    assert [group["hosts"] for group in config["instance_groups"]] == [["algo-1"], ["algo-2"]]


def test_channels_and_hyperparameters_are_there_before_it_starts(sagemaker: Endpoint, cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="inputs")
    for key in ("train/a", "train/deep/b", "other/c"):
        s3.put_object(Bucket="inputs", Key=key, Body=key.encode())
    channel = {
        "ChannelName": "train",
        "ContentType": "text/csv",
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://inputs/train"}},
    }
    script = "cd /opt/ml/input && find data -type f | sort && cat config/hyperparameters.json && echo"
    script += " && cat config/inputdataconfig.json && echo && ls /opt/ml"
    body = sh("fed", script, InputDataConfig=[channel], HyperParameters={"epochs": "3"})
    assert run(sagemaker, body)["TrainingJobStatus"] == "Completed"
    one, two, parameters, config, *folders = lines(sagemaker, "fed")
    assert [one, two] == ["data/train/a", "data/train/deep/b"]
    assert json.loads(parameters) == {"epochs": "3"}
    assert json.loads(config)["train"] == {
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
        "ContentType": "text/csv",
    }
    assert folders == ["code", "input", "model", "output"]


def test_objects_are_shared_out_among_instances_that_want_it(sagemaker: Endpoint, cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="inputs")
    for key in ("a", "b", "c"):
        s3.put_object(Bucket="inputs", Key=f"parts/{key}", Body=b"")
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": "s3://inputs/parts/",
        "S3DataDistributionType": "ShardedByS3Key",
    }
    channel = {"ChannelName": "parts", "DataSource": {"S3DataSource": source}}
    body = sh("parts", "ls /opt/ml/input/data/parts", InputDataConfig=[channel], ResourceConfig=machines(2))
    run(sagemaker, body)
    assert lines(sagemaker, "parts", "algo-1") == ["a", "c"]
    assert lines(sagemaker, "parts", "algo-2") == ["b"]


def test_input_that_is_not_there_fails_the_job(sagemaker: Endpoint) -> None:
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://nowhere/train/"}
    channel = {"ChannelName": "train", "DataSource": {"S3DataSource": source}}
    told = run(sagemaker, sh("hungry", "true", InputDataConfig=[channel]))
    assert told["FailureReason"].startswith("ClientError: Data download failed:No S3 objects found under")
    assert "Training" not in statuses(told)


def test_files_of_the_channel_launch_name_its_folder(sagemaker: Endpoint, cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="store")
    start = b"cat /opt/ml/input/data/launch/secret; exec /bin/sh -c 'echo; echo $SELF'"
    s3.put_object(Bucket="store", Key="q/a-1/start", Body=start)
    s3.put_object(Bucket="store", Key="q/a-1/secret", Body=b"xyz")
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://store/q/a-1/"}
    channel = {"ChannelName": "launch", "DataSource": {"S3DataSource": source}}
    where = {"SELF": "/opt/ml/input/data/launch"}
    body = training_job("bundle", InputDataConfig=[channel], Environment=where)
    body["AlgorithmSpecification"]["ContainerEntrypoint"] = ["/bin/sh", "/opt/ml/input/data/launch/start"]
    assert run(sagemaker, body)["TrainingJobStatus"] == "Completed"
    secret, folder = lines(sagemaker, "bundle")
    assert secret == "xyz"
    assert folder.endswith("/opt/ml/input/data/launch")
    assert not Path(folder).exists(), "nothing of a job is left here"


@pytest.mark.parametrize("archived", [True, False])
def test_the_model_and_the_output_go_to_s3(sagemaker: Endpoint, cloud: Cloud, archived: bool) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="outputs")
    output = {"S3OutputPath": "s3://outputs/x/", **({} if archived else {"CompressionType": "NONE"})}
    script = "mkdir /opt/ml/model/1; echo w > /opt/ml/model/1/weights; echo d > /opt/ml/output/data/chart"
    told = run(sagemaker, sh("made", script, OutputDataConfig=output))
    base = "x/made/output"
    if not archived:
        assert told["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://outputs/{base}/model/"
        assert s3.get_object(Bucket="outputs", Key=f"{base}/model/1/weights")["Body"].read() == b"w\n"
        assert s3.get_object(Bucket="outputs", Key=f"{base}/output/chart")["Body"].read() == b"d\n"
        return
    assert told["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://outputs/{base}/model.tar.gz"
    for name, inside in (("model", "1/weights"), ("output", "chart")):
        data = s3.get_object(Bucket="outputs", Key=f"{base}/{name}.tar.gz")["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            assert tar.getnames() == [inside]


def test_a_model_without_a_bucket_fails_the_job(sagemaker: Endpoint) -> None:
    told = run(sagemaker, sh("homeless", "echo w > /opt/ml/model/weights"))
    assert told["TrainingJobStatus"] == "Failed"
    assert "NoSuchBucket" in told["FailureReason"]


def test_a_job_has_nothing_of_this_process_in_its_environment(
    sagemaker: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_AGENT", "canary")
    run(sagemaker, sh("env", "env"))
    told = dict(line.partition("=")[::2] for line in lines(sagemaker, "env"))
    assert told["TRAINING_JOB_NAME"] == "env"
    assert told["TRAINING_JOB_ARN"].endswith(":training-job/env")
    assert told["AWS_REGION"] == "us-east-1"
    assert not {"OF_THE_AGENT", "AWS_ACCESS_KEY_ID"} & set(told)


def test_instances_are_kept_warm_for_the_next_job_like_it(sagemaker: Endpoint) -> None:
    warm = machines(KeepAlivePeriodInSeconds=600)
    told = run(sagemaker, sh("one", "true", ResourceConfig=warm))
    assert told["WarmPoolStatus"]["Status"] == "Available"
    other = run(sagemaker, sh("other", "true", ResourceConfig={**warm, "InstanceType": "ml.m5.xlarge"}))
    assert other["WarmPoolStatus"]["Status"] == "Available"
    run(sagemaker, sh("two", "true", ResourceConfig=warm))
    told = sagemaker.client().describe_training_job(TrainingJobName="one")
    assert told["WarmPoolStatus"] == {"Status": "Reused", "ReusedByJob": "two"}
    failed = run(sagemaker, sh("three", "exit 1", ResourceConfig=warm))
    assert failed["WarmPoolStatus"]["Status"] == "Terminated"
    assert "WarmPoolStatus" not in run(sagemaker, sh("cold", "true"))


def test_the_end_of_the_endpoint_is_the_end_of_its_containers(cloud: Cloud, sagemaker: Endpoint) -> None:
    sagemaker.client().create_training_job(**sh("on", f"echo $$; {DEAF}"))
    until_it_says(sagemaker, "on", "deaf")
    process = Path("/proc") / lines(sagemaker, "on")[0]
    assert process.exists()
    sagemaker.close()
    assert not process.exists()

"""The test kit as a program, for whoever wants to try the runner without AWS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import yaml
from launch_aws.settings import AccountSettings
from launch_sagemaker.settings import Settings, TrainingJob
from launch_sagemaker.testing.__main__ import introduction
from launch_sagemaker.testing.bodies import training_job
from launch_sagemaker.testing.endpoint import Endpoint

from launchcore.host.settings import structure


def test_what_it_prints_is_a_configuration(sagemaker: Endpoint) -> None:
    agent, _, queue = introduction(sagemaker.environment()).partition("# queue.yaml")
    told = yaml.safe_load(agent)
    environment = dict(told["environment"])
    assert environment.pop("type") == "aws"
    account = structure(
        AccountSettings, {key.replace("-", "_"): value for key, value in environment.items()}, path="e"
    )
    assert account.endpoints == {"sagemaker": sagemaker.url}
    assert structure(Settings, told["plugins"]["sagemaker"], path="p").store == "s3://launch/runs"
    said = yaml.safe_load(queue)
    assert said["type"] == "sagemaker"
    assert structure(TrainingJob, said["config"], path="q").body()["ResourceConfig"] == {
        "InstanceType": "ml.m5.large"
    }


@pytest.mark.slow
def test_it_runs_until_it_is_told_to_end() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "launch_sagemaker.testing", "--step-seconds", "0.01"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "AWS_EC2_METADATA_DISABLED": "true"},
    )
    assert process.stdout is not None
    try:
        printed = ""
        while "# queue.yaml" not in printed:
            line = process.stdout.readline()
            assert line, printed
            printed += line
        url = yaml.safe_load(printed)["environment"]["endpoints"]["sagemaker"]
        from botocore.session import Session

        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        client = Session().create_client("sagemaker", region_name="us-east-1", endpoint_url=url, **keys)
        client.create_training_job(**training_job("tried"))
        while client.describe_training_job(TrainingJobName="tried")["TrainingJobStatus"] != "Completed":
            pass
    finally:
        process.send_signal(signal.SIGTERM)
        with process.stdout:
            assert process.wait(30) == 0

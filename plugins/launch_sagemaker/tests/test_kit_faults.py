"""The test kit: every fault that a test can script, as a client sees it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from launch_sagemaker.testing import faults
from launch_sagemaker.testing.bodies import training_job
from launch_sagemaker.testing.endpoint import Endpoint
from launch_sagemaker.testing.scripts import Script, Scripts

DESCRIBE = "DescribeTrainingJob"


@pytest.fixture(autouse=True)
def paper(sagemaker: Endpoint) -> Endpoint:
    """Most faults need no container."""
    sagemaker.faults.paper()
    sagemaker.client().create_training_job(**training_job("job"))
    return sagemaker


def code(ask: Callable[..., Any], **arguments: Any) -> str:
    """The error that is answered; empty: none."""
    try:
        ask(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def codes(sagemaker: Endpoint, times: int) -> list[str]:
    client = sagemaker.client()
    return [code(client.describe_training_job, TrainingJobName="job") for _ in range(times)]


# Calls


def test_throttling_for_some_calls(sagemaker: Endpoint) -> None:
    sagemaker.faults.throttle(DESCRIBE, calls=2)
    assert codes(sagemaker, 3) == ["ThrottlingException", "ThrottlingException", ""]
    assert [call.error for call in sagemaker.called(DESCRIBE)] == ["ThrottlingException"] * 2 + [None]


def test_throttling_of_one_operation_or_all(sagemaker: Endpoint) -> None:
    client = sagemaker.client()
    sagemaker.faults.throttle("StopTrainingJob")
    assert codes(sagemaker, 1) == [""]
    assert code(client.stop_training_job, TrainingJobName="job") == "ThrottlingException"
    sagemaker.faults.lift()
    sagemaker.faults.throttle()
    assert codes(sagemaker, 1) == ["ThrottlingException"]
    sagemaker.faults.lift()
    assert codes(sagemaker, 1) == [""]


def test_throttling_above_a_rate_and_for_a_time() -> None:
    now = [100.0]
    scripts = Scripts(lambda: now[0])

    def act() -> None:
        raise RuntimeError

    def hit() -> bool:
        try:
            scripts.act(DESCRIBE, made=False)
        except RuntimeError:
            return True
        return False

    scripts.add(Script(operation="*", act=act, above=2), 10.0)
    assert [hit(), hit(), hit()] == [False, False, True]
    now[0] += 1.01
    assert [hit(), hit(), hit()] == [False, False, True]
    scripts.act(DESCRIBE, made=True)
    now[0] += 10
    assert [hit(), hit(), hit()] == [False, False, False]


def test_throttling_above_a_rate_is_answered(sagemaker: Endpoint) -> None:
    sagemaker.faults.throttle(above=1)
    assert codes(sagemaker, 2)[1] == "ThrottlingException"


def test_a_server_that_fails(sagemaker: Endpoint) -> None:
    sagemaker.faults.refuse(DESCRIBE, faults.INTERNAL, calls=1)
    client = sagemaker.client()
    with pytest.raises(ClientError) as told:
        client.describe_training_job(TrainingJobName="job")
    assert told.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert codes(sagemaker, 1) == [""]


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (faults.QUOTA, "ResourceLimitExceeded"),
        (faults.BAD_ROLE, "ValidationException"),
        (faults.BAD_IMAGE, "ValidationException"),
        (faults.BAD_BUCKET, "ValidationException"),
        (faults.Refusal("AccessDeniedException", "no"), "AccessDeniedException"),
    ],
)
def test_a_job_that_is_refused_is_not_made(
    sagemaker: Endpoint, refusal: faults.Refusal, expected: str
) -> None:
    sagemaker.faults.refuse(faults.CREATE, refusal, calls=1)
    client = sagemaker.client()
    assert code(client.create_training_job, **training_job("new")) == expected
    assert [job.name for job in sagemaker.jobs] == ["job"]
    assert code(client.create_training_job, **training_job("new")) == ""


@pytest.mark.parametrize("made", [True, False])
def test_an_error_or_a_cut_whether_or_not_the_job_was_made(sagemaker: Endpoint, made: bool) -> None:
    client = sagemaker.client()
    sagemaker.faults.refuse(faults.CREATE, faults.INTERNAL, calls=1, made=made)
    assert code(client.create_training_job, **training_job("error")) == "InternalFailure"
    sagemaker.faults.cut(faults.CREATE, made=made)
    with pytest.raises(BotoCoreError, match="Connection was closed"):
        client.create_training_job(**training_job("cut"))
    assert [job.name for job in sagemaker.jobs] == (["job", "error", "cut"] if made else ["job"])
    assert [call.error for call in sagemaker.called(faults.CREATE)] == [None, "InternalFailure", "cut"]
    again = "ResourceInUse" if made else ""
    assert code(client.create_training_job, **training_job("cut")) == again


def test_a_slow_answer(sagemaker: Endpoint) -> None:
    sagemaker.faults.slow(faults.CREATE, by=5.0, calls=1)
    hasty = sagemaker.client(config=Config(read_timeout=0.2, retries={"total_max_attempts": 1}))
    with pytest.raises(BotoCoreError, match="timeout"):
        hasty.create_training_job(**training_job("slow"))
    assert sagemaker.job("slow").status == "InProgress"


def test_expired_credentials(sagemaker: Endpoint) -> None:
    sagemaker.faults.expire_credentials()
    assert codes(sagemaker, 2) == ["ExpiredTokenException"] * 2
    sagemaker.faults.expire_credentials(False)
    assert codes(sagemaker, 1) == [""]


def test_unknown_keys(sagemaker: Endpoint) -> None:
    sagemaker.faults.know_keys("AKIAKNOWN")
    assert codes(sagemaker, 1) == ["UnrecognizedClientException"]
    known = sagemaker.client(aws_access_key_id="AKIAKNOWN")
    assert code(known.describe_training_job, TrainingJobName="job") == ""
    assert [call.key_id for call in sagemaker.called(DESCRIBE)] == ["AKIATEST", "AKIAKNOWN"]


def test_permission_for_some_actions_only(sagemaker: Endpoint) -> None:
    client = sagemaker.client()
    sagemaker.faults.allow_only(
        "sagemaker:DescribeTrainingJob", "sagemaker:CreateTrainingJob", "iam:PassRole"
    )
    assert codes(sagemaker, 1) == [""]
    with pytest.raises(
        ClientError,
        match=r"User: arn:.* is not authorized to perform: sagemaker:StopTrainingJob on resource: arn:aws:"
        "sagemaker:us-east-1:123456789012:training-job/job because",
    ) as told:
        client.stop_training_job(TrainingJobName="job")
    assert told.value.response["Error"]["Code"] == "AccessDeniedException"
    tagged = training_job("tagged", Tags=[{"Key": "a", "Value": "b"}])
    with pytest.raises(ClientError, match="sagemaker:AddTags"):
        client.create_training_job(**tagged)
    assert code(client.create_training_job, **training_job("plain")) == ""


# Jobs


def test_a_new_job_is_unknown_for_a_while(sagemaker: Endpoint) -> None:
    client = sagemaker.client()
    sagemaker.faults.hide(0.5)
    arn = client.create_training_job(**training_job("new"))["TrainingJobArn"]
    search = {"Resource": "TrainingJob"}
    assert code(client.describe_training_job, TrainingJobName="new") == "ValidationException"
    assert code(client.stop_training_job, TrainingJobName="new") == "ValidationException"
    assert code(client.list_tags, ResourceArn=arn) == "ValidationException"
    assert len(client.search(**search)["Results"]) == 1
    assert code(client.create_training_job, **training_job("new")) == "ResourceInUse"
    while code(client.describe_training_job, TrainingJobName="new"):
        assert time.time() - sagemaker.job("new").created < 30
    assert len(client.search(**search)["Results"]) == 2


@pytest.mark.parametrize(
    ("ending", "secondary"),
    [
        (faults.NO_CAPACITY, "Starting"),
        (faults.BROKEN, "Starting"),
        (faults.NO_IMAGE, "Starting"),
        (faults.OVER_QUOTA, "Starting"),
        (faults.NO_DATA, "Downloading"),
        (faults.NO_ACCESS, "Downloading"),
    ],
)
def test_a_job_that_ends_without_having_run(
    sagemaker: Endpoint, ending: faults.Ending, secondary: str
) -> None:
    sagemaker.faults.paper(0)
    sagemaker.faults.end_next(ending)
    client = sagemaker.client()
    client.create_training_job(**training_job("bad"))
    sagemaker.job("bad").wait()
    told = client.describe_training_job(TrainingJobName="bad")
    assert told["TrainingJobStatus"] == "Failed"
    assert told["FailureReason"] == ending.reason
    assert [each["Status"] for each in told["SecondaryStatusTransitions"]][-2:] == [secondary, "Failed"]
    assert ("TrainingStartTime" in told) is (secondary == "Downloading")
    assert sagemaker.log("bad") == {}
    client.create_training_job(**training_job("good"))
    sagemaker.job("good").wait("Completed")


def test_a_stop_that_does_nothing(sagemaker: Endpoint) -> None:
    client = sagemaker.client()
    sagemaker.faults.ignore_stops(1)
    client.stop_training_job(TrainingJobName="job")
    assert sagemaker.job("job").status == "InProgress"
    client.stop_training_job(TrainingJobName="job")
    assert sagemaker.job("job").status == "Stopped"


def test_jobs_on_paper_end_when_told(sagemaker: Endpoint) -> None:
    client = sagemaker.client()
    for name in ("good", "bad", "broken"):
        client.create_training_job(**training_job(name))
    assert sagemaker.job("good").secondary == "Training"
    sagemaker.job("good").end()
    sagemaker.job("bad").end(9)
    sagemaker.job("broken").end(reason="InternalServerError: sorry")
    described = [client.describe_training_job(TrainingJobName=name) for name in ("good", "bad", "broken")]
    assert [each["TrainingJobStatus"] for each in described] == ["Completed", "Failed", "Failed"]
    assert described[1]["FailureReason"] == "AlgorithmError: , exit code: 9"
    assert described[2]["FailureReason"] == "InternalServerError: sorry"
    sagemaker.faults.paper(status="Starting")
    client.create_training_job(**training_job("waits"))
    assert sagemaker.job("waits").secondary == "Starting"
    sagemaker.job("waits").fail(faults.NO_CAPACITY.reason)
    assert sagemaker.job("waits").failure == faults.NO_CAPACITY.reason
    sagemaker.job("good").end(1)
    assert sagemaker.job("good").status == "Completed", "what has ended stays so"


def test_a_thousand_jobs_on_paper_have_no_threads(sagemaker: Endpoint) -> None:
    client = sagemaker.client()
    client.describe_training_job(TrainingJobName="job")
    before = threading.active_count()
    for number in range(200):
        client.create_training_job(**training_job(f"many-{number}"))
    assert threading.active_count() <= before
    assert len(sagemaker.jobs) == 201


def test_some_jobs_on_paper_then_real_ones(sagemaker: Endpoint) -> None:
    sagemaker.faults.paper(1)
    client = sagemaker.client()
    for name in ("first", "second"):
        client.create_training_job(**training_job(name))
    assert [sagemaker.job(name).paper for name in ("first", "second")] == [True, False]
    with pytest.raises(AssertionError, match="has containers"):
        sagemaker.job("second").end()


# The wire


def test_what_is_no_call_is_refused(sagemaker: Endpoint) -> None:
    import requests

    signed = "AWS4-HMAC-SHA256 Credential=AKIATEST/20260101/us-east-1/sagemaker/aws4_request, Signature=x"
    for target, authorization, body, expected in (
        ("SageMaker.DescribeTrainingJob", None, "{}", "MissingAuthenticationTokenException"),
        ("SageMaker.Nothing", signed, "{}", "UnknownOperationException"),
        (
            "SageMaker.CreateModel",
            signed,
            '{"ModelName": "a", "ExecutionRoleArn": "x"}',
            "ValidationException",
        ),
        ("Other.DescribeTrainingJob", signed, "{}", "UnknownOperationException"),
        ("SageMaker.DescribeTrainingJob", signed, "[", "SerializationException"),
        ("SageMaker.DescribeTrainingJob", signed, "[]", "SerializationException"),
        ("SageMaker.DescribeTrainingJob", signed, '{"TrainingJobName": 1}', "SerializationException"),
        ("SageMaker.DescribeTrainingJob", signed, "{}", "ValidationException"),
        ("SageMaker.ListEndpoints", signed, "{}", "UnknownOperationException"),
    ):
        headers = {"X-Amz-Target": target} | ({"Authorization": authorization} if authorization else {})
        answer = requests.post(sagemaker.url, data=body, headers=headers, timeout=10)
        assert answer.status_code == 400
        assert answer.json()["__type"] == expected, (target, body)


def test_an_answer_that_is_none_of_sagemakers_is_kept(sagemaker: Endpoint) -> None:
    sagemaker.job("job").transitions[0].status = "Sleeping"
    sagemaker.client().describe_training_job(TrainingJobName="job")
    assert len(sagemaker.faults_of_its_own) == 1
    assert "'Sleeping'" in sagemaker.faults_of_its_own[0]
    sagemaker.faults_of_its_own.clear()

"""Questions to SageMaker, checked against the service's model by botocore's Stubber, and over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from botocore.stub import Stubber
from launch_aws.session import Account
from launch_aws.settings import AccountSettings
from launch_aws.testing.fixtures import own_aws
from launch_sagemaker import api as module
from launch_sagemaker.api import Api, Exists, Throttled, bundle_of, job_from
from launch_sagemaker.names import job_name
from launch_sagemaker.places import Job, handle_of, job_of
from launch_sagemaker.settings import Settings

from launchcore.plugin import LaunchError, Reason

__all__ = ["own_aws"]

REGION = "eu-west-1"
JOB = Job(attempt_id="r-1", name=job_name("r-1"), region=REGION, bundle="s3://b/p/me/r-1/")
ARN = f"arn:aws:sagemaker:{REGION}:123456789012:training-job/{JOB.name}"
NAMED = {"TrainingJobName": JOB.name}
CHANNEL = {
    "ChannelName": "launch",
    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/p/me/r-1/"}},
}


@pytest.fixture(scope="module")
def service_models() -> Any:
    """SageMaker's description is large; it is read once."""
    from botocore.loaders import Loader

    return Loader()


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(own_aws: Path, service_models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.session.create_loader", lambda _: service_models)


@attrs.define
class Scripted:
    """An API, and the script of SageMaker's answers in one region."""

    account: Account
    api: Api
    stub: Stubber

    def answers(self, question: str, answer: dict[str, Any], asked: dict[str, Any] | None = None) -> None:
        self.stub.add_response(question, answer, asked)

    def refuses(self, question: str, code: str, message: str = "", status: int = 400) -> None:
        self.stub.add_client_error(question, code, message, status)


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    account = Account(AccountSettings(region="us-east-1", endpoint_url="http://127.0.0.1:1"))
    with Stubber(account.client("sagemaker", REGION, attempts=1)) as stub:
        yield Scripted(account, Api(account, Settings()), stub)
        stub.assert_no_pending_responses()


def described(**more: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": JOB.name,
        "TrainingJobArn": ARN,
        "ModelArtifacts": {"S3ModelArtifacts": "s3://b/o"},
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Training",
        "StoppingCondition": {},
        "CreationTime": 1_700_000_000,
        **more,
    }


# -- looking --------------------------------------------------------------------------------------


def test_a_look_asks_for_the_one_name_in_the_jobs_region(scripted: Scripted) -> None:
    scripted.answers("describe_training_job", described(), NAMED)

    found = scripted.api.describe(JOB)

    assert found is not None
    assert found["SecondaryStatus"] == "Training"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ValidationException", "Requested resource not found."),
        ("ValidationException", f"Could not find training job '{ARN}'."),
        ("ResourceNotFound", "Training job does not exist"),
    ],
)
def test_a_job_that_sagemaker_does_not_know_is_no_error(scripted: Scripted, code: str, message: str) -> None:
    scripted.refuses("describe_training_job", code, message)

    assert scripted.api.describe(JOB) is None


@pytest.mark.parametrize("code", ["ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded"])
def test_a_throttle_slows_down_all_looks_in_the_region_and_nothing_else(
    scripted: Scripted, code: str
) -> None:
    scripted.refuses("describe_training_job", code, "Rate exceeded")

    with pytest.raises(Throttled):
        scripted.api.describe(JOB)
    assert scripted.api.looks(REGION).per_second == 1.0
    assert scripted.api.looks(REGION).busy_for() > 0
    assert scripted.api.looks("us-east-1").busy_for() == 0
    assert scripted.api.control(REGION).busy_for() == 0


def test_an_answer_gives_back_some_of_the_rate(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(scripted.api.looks(REGION), "fine", lambda: told.append("fine"))
    scripted.answers("describe_training_job", described())
    scripted.refuses("describe_training_job", "ValidationException", "Requested resource not found.")
    scripted.refuses("describe_training_job", "InternalFailure", status=500)
    scripted.api.describe(JOB)
    scripted.api.describe(JOB)
    with pytest.raises(LaunchError):
        scripted.api.describe(JOB)

    assert told == ["fine", "fine"]


@pytest.mark.parametrize(
    ("code", "status", "reason", "retryable"),
    [
        ("ExpiredTokenException", 403, Reason.CONFIG_ERROR, False),
        ("AccessDeniedException", 400, Reason.CONFIG_ERROR, False),
        ("InternalFailure", 500, Reason.INFRASTRUCTURE, True),
    ],
)
def test_what_cannot_be_asked_says_why(
    scripted: Scripted, code: str, status: int, reason: Reason, retryable: bool
) -> None:
    scripted.refuses("describe_training_job", code, "no", status)

    with pytest.raises(LaunchError, match=f"cannot look at training jobs in {REGION}") as raised:
        scripted.api.describe(JOB)
    assert (raised.value.reason, raised.value.retryable) == (reason, retryable)


def test_credentials_that_expired_are_read_again(scripted: Scripted) -> None:
    before = scripted.account.client("sagemaker", REGION, attempts=1)
    scripted.refuses("describe_training_job", "ExpiredTokenException", "expired", 403)
    with pytest.raises(LaunchError, match="have expired"):
        scripted.api.describe(JOB)

    assert scripted.account.client("sagemaker", REGION, attempts=1) is not before


# -- starting and stopping ------------------------------------------------------------------------


BODY = {
    **NAMED,
    "RoleArn": "arn:aws:iam::123456789012:role/training",
    "OutputDataConfig": {"S3OutputPath": "s3://b/o"},
}


def test_a_start_sends_the_body_as_it_is(scripted: Scripted) -> None:
    scripted.answers("create_training_job", {"TrainingJobArn": ARN}, BODY)

    scripted.api.create(REGION, BODY)


def test_a_name_that_is_taken_is_for_the_caller_to_judge(scripted: Scripted) -> None:
    scripted.refuses("create_training_job", "ResourceInUse", f"Training job names must be unique ({ARN})")

    with pytest.raises(Exists):
        scripted.api.create(REGION, BODY)


def test_a_throttled_start_says_so_and_leaves_the_looks_alone(scripted: Scripted) -> None:
    scripted.refuses("create_training_job", "ThrottlingException", "Rate exceeded")

    with pytest.raises(Throttled):
        scripted.api.create(REGION, BODY)
    assert scripted.api.control(REGION).busy_for() > 0
    assert scripted.api.looks(REGION).busy_for() == 0


def test_a_refused_start_says_what_to_do_and_keeps_the_credentials(scripted: Scripted) -> None:
    client = scripted.account.client("sagemaker", REGION, attempts=1)
    scripted.refuses("create_training_job", "ResourceLimitExceeded", "limit is 0 Instances, with")

    with pytest.raises(LaunchError, match=f"quota of the account is full in {REGION}") as raised:
        scripted.api.create(REGION, BODY)
    assert raised.value.reason is Reason.UNSCHEDULABLE
    assert scripted.account.client("sagemaker", REGION, attempts=1) is client


def test_a_start_with_bad_credentials_is_no_fault_of_the_queues(scripted: Scripted) -> None:
    scripted.refuses("create_training_job", "UnrecognizedClientException", "no", 403)

    with pytest.raises(LaunchError, match="AWS does not know the access key"):
        scripted.api.create(REGION, BODY)


def test_a_body_that_the_sdk_cannot_send_says_so(scripted: Scripted) -> None:
    scripted.stub.deactivate()  # it never comes to a request

    with pytest.raises(LaunchError, match=r"cannot start a training job.*Missing required") as raised:
        scripted.api.create(REGION, {})
    assert raised.value.reason is Reason.CONFIG_ERROR


def test_a_stop_asks_for_the_name(scripted: Scripted) -> None:
    scripted.answers("stop_training_job", {}, NAMED)

    assert scripted.api.stop(JOB)


@pytest.mark.parametrize("status", ["Completed", "Failed", "Stopped", "Stopping"])
def test_stopping_what_has_ended_is_no_error(scripted: Scripted, status: str) -> None:
    said = f"The request was rejected because the training job is in status {status}."
    scripted.refuses("stop_training_job", "ValidationException", said)

    assert scripted.api.stop(JOB)


def test_stopping_what_is_not_there_is_no_error_and_says_so(scripted: Scripted) -> None:
    scripted.refuses("stop_training_job", "ValidationException", "Requested resource not found.")

    assert not scripted.api.stop(JOB)


def test_a_stop_that_is_refused_is_an_error(scripted: Scripted) -> None:
    scripted.refuses("stop_training_job", "ValidationException", "something else")

    with pytest.raises(LaunchError, match="cannot stop"):
        scripted.api.stop(JOB)


# -- finding --------------------------------------------------------------------------------------


def tagged(attempt: str, owner: str = "me") -> list[dict[str, str]]:
    return [{"Key": "launchcore-owner", "Value": owner}, {"Key": "launchcore-attempt", "Value": attempt}]


def record(attempt: str, **more: Any) -> dict[str, Any]:
    return {
        "TrainingJob": {"TrainingJobName": job_name(attempt), "Tags": tagged(attempt), **more},
    }


@pytest.fixture
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONTROL_PER_SECOND", 1e6)
    monkeypatch.setattr("launch_sagemaker.pace.FIRST_PAUSE", 0.001)


@pytest.mark.usefixtures("_no_waiting")
def test_a_search_finds_our_jobs_on_all_pages_with_the_handles_that_starts_gave(scripted: Scripted) -> None:
    question = {
        "Resource": "TrainingJob",
        "MaxResults": 100,
        "SearchExpression": {
            "Operator": "And",
            "Filters": [{"Name": "Tags.launchcore-owner", "Operator": "Equals", "Value": "me"}],
            "SubExpressions": [
                {
                    "Operator": "Or",
                    "Filters": [
                        {"Name": "TrainingJobStatus", "Operator": "Equals", "Value": "InProgress"},
                        {"Name": "TrainingJobStatus", "Operator": "Equals", "Value": "Stopping"},
                    ],
                }
            ],
        },
    }
    scripted.answers(
        "search", {"Results": [record("r-1", InputDataConfig=[CHANNEL])], "NextToken": "more"}, question
    )
    scripted.answers("search", {"Results": [record("r-2")]}, {**question, "NextToken": "more"})

    first, second = scripted.api.search(REGION, "me")

    assert first == JOB
    assert job_of(handle_of(first)) == JOB
    assert second == Job(attempt_id="r-2", name=job_name("r-2"), region=REGION)


@pytest.mark.usefixtures("_no_waiting")
def test_a_search_believes_no_tags_that_do_not_go_with_the_name(scripted: Scripted) -> None:
    odd = [
        record("r-1", TrainingJobName="theirs"),
        record("r-1", Tags=tagged("r-1", owner="them")),
        record("r-1", Tags=[]),
        {"TrainingJob": {"TrainingJobName": "launch-x"}},
        {},
    ]
    scripted.answers("search", {"Results": odd})

    assert scripted.api.search(REGION, "me") == []


@pytest.mark.usefixtures("_no_waiting")
def test_a_search_waits_out_a_throttle(scripted: Scripted) -> None:
    scripted.refuses("search", "ThrottlingException", "Rate exceeded")
    scripted.answers("search", {"Results": [record("r-2")]})

    assert len(scripted.api.search(REGION, "me")) == 1


@pytest.mark.usefixtures("_no_waiting")
def test_a_search_does_not_wait_for_good(scripted: Scripted) -> None:
    for _ in range(module.PATIENCE):
        scripted.refuses("search", "ThrottlingException", "Rate exceeded")

    with pytest.raises(LaunchError, match="throttles us") as raised:
        scripted.api.search(REGION, "me")
    assert raised.value.retryable


@pytest.mark.usefixtures("_no_waiting")
def test_tags_come_from_all_pages(scripted: Scripted) -> None:
    scripted.answers("list_tags", {"Tags": tagged("r-1"), "NextToken": "x"}, {"ResourceArn": ARN})
    scripted.answers("list_tags", {"Tags": [{"Key": "k", "Value": "v"}]})

    assert scripted.api.tags(REGION, ARN) == {
        "launchcore-owner": "me",
        "launchcore-attempt": "r-1",
        "k": "v",
    }


def test_what_is_described_is_the_job_that_its_start_returned() -> None:
    assert job_from(described(InputDataConfig=[{"ChannelName": "train"}, CHANNEL]), "r-1", REGION) == JOB


@pytest.mark.parametrize("channels", [None, [], ["odd"], [{"ChannelName": "launch"}], [{"ChannelName": "x"}]])
def test_a_job_without_our_channel_has_nothing_in_s3(channels: Any) -> None:
    assert bundle_of({"InputDataConfig": channels}) is None

"""The environment on moto over HTTP: who we are, what builders and runs get, and what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from launch_aws.environment import AwsEnvironment
from launch_aws.testing.cloud import ACCOUNT, CANARY, KEY_ID, OTHER_ACCOUNT, REGION, Cloud

from launchcore.plugin import EnvVar, Fault, LaunchError, Reason, RunPlan, Secret

Environments = Callable[..., AwsEnvironment]
ROLE = f"arn:aws:iam::{OTHER_ACCOUNT}:role/launch"
RUN_ROLE = f"arn:aws:iam::{OTHER_ACCOUNT}:role/runs"
STORE = "s3://my-bucket/contexts"


def plan(queue: str = "default") -> RunPlan:
    return RunPlan(
        run_id="r",
        attempt_id="r-1",
        attempt=1,
        queue=queue,
        name="r-1",
        settings=None,
        scratch=Path("/nowhere"),
    )


def variables(given: Sequence[Any]) -> dict[str, str]:
    """Names and values; those of secrets revealed."""
    assert all(isinstance(one, EnvVar) and not one.optional for one in given)
    return {one.name: one.value.reveal() if isinstance(one.value, Secret) else one.value for one in given}


def fails(environment: AwsEnvironment) -> LaunchError:
    with pytest.raises(LaunchError) as caught:
        environment.verify()
    told = caught.value
    assert told.fault is Fault.INFRASTRUCTURE
    assert told.hint
    for secret in (CANARY, KEY_ID):
        assert secret not in f"{told} {told.hint}"
    return told


# -- who we are ------------------------------------------------------------------------------------


def test_the_default_chain(environment: Environments) -> None:
    assert environment().verify() == f"aws account {ACCOUNT} as arn:aws:sts::{ACCOUNT}:user/moto in {REGION}"


def test_a_profile(environment: Environments, own_aws: Path, cloud: Cloud) -> None:
    keys = cloud.user("of-the-profile")
    (own_aws / "config").write_text("[profile ml]\nregion = eu-west-1\n")
    (own_aws / "credentials").write_text("[ml]\n" + "".join(f"{key} = {keys[key]}\n" for key in keys))
    who = environment(profile="ml", region=None).verify()
    assert who == f"aws account {ACCOUNT} as arn:aws:iam::{ACCOUNT}:user/of-the-profile in eu-west-1"


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_region_of_a_variable(
    environment: Environments, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "eu-central-1")
    assert environment(region=None).verify().endswith(" in eu-central-1")
    assert environment(region="us-west-2").verify().endswith(" in us-west-2")


def test_a_role_in_another_account(environment: Environments) -> None:
    made = environment(role_arn=ROLE, external_id="for-launch", session_name="gpu-7")
    assert made.verify() == (
        f"aws account {OTHER_ACCOUNT} as arn:aws:sts::{OTHER_ACCOUNT}:assumed-role/launch/gpu-7 in {REGION}"
    )
    assert made.account.identity().account == OTHER_ACCOUNT


def test_one_endpoint_for_each_service(environment: Environments, cloud: Cloud) -> None:
    made = environment(endpoint_url=None, endpoints={"sts": cloud.url})
    assert made.verify().startswith(f"aws account {ACCOUNT}")
    assert made.account.endpoint("s3") is None


# -- what goes wrong -------------------------------------------------------------------------------


def test_no_credentials(environment: Environments, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    made = environment()
    assert fails(made).detail == "no AWS credentials: AWS's chain of credentials has none"

    # Whoever mends it has not to restart the agent.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    assert made.verify().startswith("aws account")


def test_no_profile(environment: Environments, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fails(environment(profile="ml")).detail.startswith("there is no profile 'ml'")
    monkeypatch.setenv("AWS_PROFILE", "of-the-variable")
    assert fails(environment()).detail.startswith("there is no profile 'of-the-variable'")


def test_no_region(environment: Environments) -> None:
    told = fails(environment(region=None))
    assert (told.detail, told.reason) == ("no AWS region", Reason.CONFIG_ERROR)


def test_nobody_answers(environment: Environments) -> None:
    told = fails(environment(endpoint_url="http://127.0.0.1:1"))
    assert told.detail == "cannot ask AWS who we are: http://127.0.0.1:1/ cannot be reached"
    assert (told.reason, told.retryable) == (Reason.INFRASTRUCTURE, True)


def test_a_region_that_is_none_has_a_neighbour(environment: Environments) -> None:
    told = fails(environment(region="us-esat-1", endpoint_url="http://127.0.0.1:1"))
    assert told.detail.endswith("; is the region us-east-1 meant?")


def test_a_credential_process_that_fails(environment: Environments, own_aws: Path) -> None:
    script = own_aws / "script"
    script.write_text(f"#!/bin/sh\necho {CANARY} >&2\nexit 1\n")
    script.chmod(0o700)
    (own_aws / "config").write_text(f"[profile ml]\ncredential_process = {script}\n")
    told = fails(environment(profile="ml"))
    assert told.detail == "the AWS credentials of the profile 'ml' cannot be had: custom-process"


@pytest.fixture
def strict(cloud: Cloud) -> Cloud:
    """A cloud that asks for known keys, right signatures and policies."""
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    other = cloud.client("sts").assume_role(RoleArn=ROLE, RoleSessionName="setup")["Credentials"]
    keys = {"aws_access_key_id": other["AccessKeyId"], "aws_secret_access_key": other["SecretAccessKey"]}
    iam = cloud.client("iam", aws_session_token=other["SessionToken"], **keys)
    iam.create_role(RoleName="launch", AssumeRolePolicyDocument=policy)
    return cloud


def use(keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in keys.items():
        monkeypatch.setenv(name.upper(), value)


def test_wrong_keys(environment: Environments, strict: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = strict.user("ci", "sts:*")
    strict.lock()
    assert "AWS does not know the access key" in fails(environment()).detail

    use({**keys, "aws_secret_access_key": CANARY}, monkeypatch)
    assert fails(environment()).detail.endswith("the AWS secret key is not that of the access key")

    use(keys, monkeypatch)
    assert environment().verify() == (f"aws account {ACCOUNT} as arn:aws:iam::{ACCOUNT}:user/ci in {REGION}")


def test_a_role_that_may_not_be_assumed(
    environment: Environments, strict: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(strict.user("ci", "sts:GetCallerIdentity"), monkeypatch)
    strict.lock()
    told = fails(environment(role_arn=ROLE))
    assert told.detail == f"the role {ROLE} may not be assumed by who we are"
    assert told.reason is Reason.CONFIG_ERROR


# -- builders --------------------------------------------------------------------------------------


def test_access_to_a_store(environment: Environments, cloud: Cloud) -> None:
    given = environment().access(STORE)
    assert variables(given) == {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL_S3": cloud.url,
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": CANARY,
    }
    assert CANARY not in str(given)
    assert KEY_ID not in str(given)


def test_what_it_gives_opens_the_store(environment: Environments, cloud: Cloud) -> None:
    """obstore has its own implementation of S3, and almost the same names."""
    import obstore
    from obstore.store import S3Store

    cloud.client("s3").create_bucket(Bucket="my-bucket")
    given = variables(environment(role_arn=ROLE).access(STORE))
    endpoint = given.pop("AWS_ENDPOINT_URL_S3")
    config: Any = {**{name.lower(): value for name, value in given.items()}, "aws_endpoint": endpoint}
    store = S3Store.from_url(STORE, config=config, client_options={"allow_http": True})
    obstore.put(store, "context.tar", b"files")
    listed = cloud.client("s3").list_objects_v2(Bucket="my-bucket")["Contents"]
    assert [one["Key"] for one in listed] == ["contexts/context.tar"]


def test_pods_that_have_a_role_of_their_own_get_the_region_only(environment: Environments) -> None:
    given = environment(store_credentials=False, endpoint_url=None).access(STORE)
    assert variables(given) == {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}


@pytest.mark.parametrize(
    "store", ["gs://b/x", "az://b", "file:///x", "s3:/b", "s3", "https://s3.amazonaws.com/b"]
)
def test_stores_of_others(environment: Environments, store: str) -> None:
    assert environment().access(store) == ()


# -- runs ------------------------------------------------------------------------------------------


def test_a_run_is_told_the_region_and_nothing_else(environment: Environments) -> None:
    given = environment().contribute_to_run(plan())
    assert variables(given) == {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
    assert environment(region_for=["gpu"]).contribute_to_run(plan()) == ()


def test_credentials_are_for_the_queues_that_the_agents_owner_opens(environment: Environments) -> None:
    made = environment(credentials_for=["train-*"])
    assert variables(made.contribute_to_run(plan("train-gpu")))["AWS_SECRET_ACCESS_KEY"] == CANARY
    for queue in ("default", "other-train-gpu", "TRAIN-x"):
        assert "AWS_SECRET_ACCESS_KEY" not in variables(made.contribute_to_run(plan(queue)))


def test_runs_may_have_another_role_than_the_agent(environment: Environments, cloud: Cloud) -> None:
    made = environment(role_arn=ROLE, run_role_arn=RUN_ROLE, credentials_for=["*"], session_name="gpu-7")
    given = variables(made.contribute_to_run(plan()))
    run = cloud.client(
        "sts",
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=given["AWS_SESSION_TOKEN"],
    )
    assert run.get_caller_identity()["Arn"].endswith(":assumed-role/runs/gpu-7-run")
    assert ":assumed-role/launch/gpu-7 " in made.verify()


# -- roles' credentials are renewed ----------------------------------------------------------------


def test_a_roles_credentials_are_kept_and_renewed_at_half_their_time(
    environment: Environments, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datetime

    from botocore import credentials

    made = environment(role_arn=ROLE, role_seconds=3600)
    first = made.account.keys()
    assert made.account.keys() == first

    def later(seconds: float) -> None:
        then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
        held = made.account._sessions[ROLE].get_credentials()
        monkeypatch.setattr(held, "_time_fetcher", lambda: then)

    assert credentials.RefreshableCredentials._advisory_refresh_timeout == 900  # of others, that is
    later(1700)
    assert made.account.keys() == first
    later(1900)
    second = made.account.keys()
    assert second != first
    assert second.token is not None
    later(0)
    assert made.account.keys() == second


def test_threads_share_one_role(environment: Environments, cloud: Cloud) -> None:
    made = environment(role_arn=ROLE)
    before = cloud.log().count("POST / ")
    with ThreadPoolExecutor(8) as threads:
        keys = set(threads.map(lambda _: made.account.keys(), range(32)))
        clients = {id(made.account.client("ecr")) for _ in range(8)}
    assert len(keys) == len(clients) == 1
    assert cloud.log().count("POST / ") - before == 1


def test_clients_of_all_services_are_made_in_any_order(environment: Callable[..., AwsEnvironment]) -> None:
    """The SDK adds to a session what its clients can do, and minds when that was added before."""
    account = environment().account
    for service in ("sts", "ecr", "s3", "logs", "sqs", "sagemaker", "s3"):
        assert account.client(service) is account.client(service)
    assert account.client("s3", "eu-west-1") is not account.client("s3")

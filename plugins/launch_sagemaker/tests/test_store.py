"""Bundles in S3: put, found again, removed. Against moto's S3, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from launch_aws.session import Account
from launch_aws.settings import AccountSettings
from launch_aws.testing.cloud import REGION, Cloud
from launch_aws.testing.fixtures import cloud, cloud_process, own_aws
from launch_sagemaker.bundle import MAX_BYTES, Bundle
from launch_sagemaker.settings import Settings
from launch_sagemaker.store import Store
from launch_sagemaker.testing.samples import WITH_STORE, ordered, secret

from launchcore.host.settings import structure
from launchcore.plugin import LaunchError, Reason, Secret

__all__ = ["cloud", "cloud_process", "own_aws"]

FILES = Bundle(files={"start": Secret("#!/bin/sh\n"), "files/key": Secret("clé\n\0")})


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(own_aws: Path) -> None:
    """The agent's keys are the test's."""


@pytest.fixture
def s3(cloud: Cloud) -> Any:
    """A client of the test's own, and an empty bucket."""
    client = cloud.client("s3")
    client.create_bucket(Bucket="bucket")
    return client


def account(cloud: Cloud) -> Account:
    said = {"region": REGION, "endpoint_url": cloud.url, "retries": 0}
    return Account(structure(AccountSettings, said, path="environment"))


def store(cloud: Cloud, owner: str = "queues", **over: Any) -> Store:
    return Store(account(cloud), Settings(**{"store": "s3://bucket/launch", **over}), owner)


def keys(s3: Any) -> list[str]:
    return [each["Key"] for each in s3.list_objects_v2(Bucket="bucket").get("Contents", ())]


def put(made: Store, attempt: str, bundle: Bundle = FILES) -> str:
    url = made.url(attempt)
    assert url is not None
    made.put(url, bundle)
    return url


def test_what_is_put_is_there_and_goes_again(cloud: Cloud, s3: Any) -> None:
    made = store(cloud)
    url = put(made, "r-1")
    assert url == "s3://bucket/launch/queues/r-1/"
    assert keys(s3) == ["launch/queues/r-1/files/key", "launch/queues/r-1/start"]
    content = s3.get_object(Bucket="bucket", Key="launch/queues/r-1/files/key")["Body"].read()
    assert content == "clé\n\0".encode()
    assert made.attempts() == ["r-1"]
    made.remove(url)
    made.remove(url)
    assert keys(s3) == []
    assert made.attempts() == []


def test_a_request_names_the_place_where_it_is(cloud: Cloud, s3: Any) -> None:
    made = ordered(given=secret("TOKEN"), settings=WITH_STORE, owner="queues")
    mine = Store(account(cloud), WITH_STORE, "queues")
    assert made.bundle_url == mine.url("6j2c0000k3fd-1")
    assert made.bundle is not None
    mine.put(str(made.bundle_url), made.bundle)
    prefix = str(made.bundle_url).removeprefix("s3://bucket/")
    assert keys(s3) == [f"{prefix}start"]


def test_it_may_be_put_twice(cloud: Cloud, s3: Any) -> None:
    made = store(cloud)
    put(made, "r-1")
    put(made, "r-1", Bundle(files={"start": Secret("other")}))
    assert s3.get_object(Bucket="bucket", Key="launch/queues/r-1/start")["Body"].read() == b"other"


def test_nothing_of_others_is_touched(cloud: Cloud, s3: Any) -> None:
    """Attempts whose ids begin alike, other owners, and what is not ours at all."""
    mine = store(cloud)
    url = put(mine, "r-1")
    put(mine, "r-11")
    put(store(cloud, "queues-2"), "r-1")
    s3.put_object(Bucket="bucket", Key="launch/other", Body=b"")
    mine.remove(url)
    assert keys(s3) == [
        *("launch/other", "launch/queues-2/r-1/files/key", "launch/queues-2/r-1/start"),
        *("launch/queues/r-11/files/key", "launch/queues/r-11/start"),
    ]
    assert mine.attempts() == ["r-11"]


@pytest.mark.parametrize("attempt", ["a/b-1", "../../other-1", "é-1", "..", "a b"])
def test_ids_of_strangers_stay_in_their_place(cloud: Cloud, s3: Any, attempt: str) -> None:
    made = store(cloud, owner="some/body")
    url = put(made, attempt)
    assert all(key.startswith("launch/some=2Fbody/") for key in keys(s3))
    assert made.attempts() == [attempt]
    made.remove(url)
    assert keys(s3) == []


def test_more_than_can_be_removed_at_once(cloud: Cloud, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch_sagemaker.store._AT_ONCE", 3)
    for number in range(7):
        s3.put_object(Bucket="bucket", Key=f"launch/queues/r-1/files/{number}", Body=b"")
    store(cloud).remove("s3://bucket/launch/queues/r-1/")
    assert keys(s3) == []


def test_a_store_may_be_a_whole_bucket(cloud: Cloud, s3: Any) -> None:
    made = store(cloud, store="s3://bucket")
    put(made, "r-1")
    assert keys(s3) == ["queues/r-1/files/key", "queues/r-1/start"]
    assert made.attempts() == ["r-1"]


def test_without_a_store_there_is_nothing(cloud: Cloud) -> None:
    made = store(cloud, store=None)
    assert made.url("r-1") is None
    assert made.attempts() == ()


def test_a_key_encrypts_what_is_put(cloud: Cloud, s3: Any) -> None:
    put(store(cloud, store_kms_key="alias/launch"), "r-1")
    found = s3.head_object(Bucket="bucket", Key="launch/queues/r-1/start")
    assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == ("aws:kms", "alias/launch")
    put(store(cloud), "r-2")
    assert s3.head_object(Bucket="bucket", Key="launch/queues/r-2/start").get("SSEKMSKeyId") is None


def test_large_files_are_refused_and_nothing_is_put(cloud: Cloud, s3: Any) -> None:
    large = Bundle(files={"start": Secret("small"), "files/large": Secret("x" * (MAX_BYTES + 1))})
    with pytest.raises(LaunchError, match="files/large would have more than 1024 KiB"):
        put(store(cloud), "r-1", large)
    assert keys(s3) == []


def test_a_bucket_that_is_not_there(cloud: Cloud) -> None:
    made = store(cloud, store="s3://no-such-bucket/launch")
    with pytest.raises(LaunchError, match="s3://no-such-bucket") as caught:
        put(made, "r-1")
    assert caught.value.reason is Reason.CONFIG_ERROR
    with pytest.raises(LaunchError):
        made.attempts()
    made.remove(str(made.url("r-1")))  # there is nothing in it


@pytest.mark.parametrize("url", ["s3://bucket/", "s3://bucket", "s3://bucket/launch", "s3:///a/", "", "/"])
def test_what_is_no_place_of_a_bundle_is_not_emptied(cloud: Cloud, s3: Any, url: str) -> None:
    s3.put_object(Bucket="bucket", Key="launch/other", Body=b"")
    with pytest.raises(ValueError, match="s3://BUCKET"):
        store(cloud).remove(url)
    assert keys(s3) == ["launch/other"]


def test_who_may_not_is_told_what_is_missing(cloud: Cloud, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    user = cloud.user("agent", "s3:ListBucket")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", user["aws_access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", user["aws_secret_access_key"])
    made = store(cloud)
    cloud.lock()
    with pytest.raises(LaunchError, match="AWS denies it") as caught:
        put(made, "r-1")
    assert caught.value.reason is Reason.CONFIG_ERROR
    assert made.attempts() == []


def test_secrets_show_in_no_error(cloud: Cloud) -> None:
    made = store(cloud, store="s3://no-such-bucket/launch")
    with pytest.raises(LaunchError) as caught:
        put(made, "r-1", Bundle(files={"start": Secret("canary")}))
    assert "canary" not in f"{caught.value.detail} {caught.value.hint} {caught.value!r}"

"""Names in ECR: what is surely there, what a short name stands for, and what only looks like it."""

from __future__ import annotations

import pytest
from launch_aws import names

ACCOUNT = "123456789012"
DIGEST = f"sha256:{'ab' * 32}"


@pytest.mark.parametrize(
    ("host", "region"),
    [
        (f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com", "us-east-1"),
        (f"{ACCOUNT}.dkr.ecr.ap-southeast-5.amazonaws.com", "ap-southeast-5"),
        (f"{ACCOUNT}.dkr.ecr.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        (f"{ACCOUNT}.dkr.ecr-fips.us-gov-east-1.amazonaws.com", "us-gov-east-1"),
        (f"{ACCOUNT}.dkr.ecr.cn-northwest-1.amazonaws.com.cn", "cn-northwest-1"),
        (f"{ACCOUNT}.dkr-ecr.eu-west-1.on.aws", "eu-west-1"),
        (f"{ACCOUNT}.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
    ],
)
def test_private_registries(host: str, region: str) -> None:
    found = names.host(host)
    assert found == names.Host(name=host, account=ACCOUNT, region=region)
    assert not found.public
    assert names.owns(f"{host}/team/train")
    assert names.owns(f"{host}/train:tag@{DIGEST}")


@pytest.mark.parametrize("host", names.PUBLIC_HOSTS)
def test_public_registries(host: str) -> None:
    assert names.host(host) == names.Host(name=host)
    assert names.owns(f"{host}/acme/train")


@pytest.mark.parametrize(
    "name",
    [
        "my-repo",
        "team/my-repo",
        "ghcr.io/team/train",
        "registry.example.com:5000/train",
        f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com.evil.example/x",
        f"evil.example/{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/x",
        f"x{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/x",
        "12345.dkr.ecr.us-east-1.amazonaws.com/x",
        f"{ACCOUNT}.dkr.ecr.us-east-1.evil.com/x",
        f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com/x",  # China's registries are in another domain
        f"{ACCOUNT}.dkr.ecr.nowhere.amazonaws.com/x",
        f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com:5000/x",
        f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com@evil.example/x",
        "public.ecr.aws.evil.example/x",
        "١٢٣٤٥٦٧٨٩٠١٢.dkr.ecr.us-east-1.amazonaws.com/x",
        "",
        "/",
    ],
)
def test_what_is_surely_not_there(name: str) -> None:
    assert not names.owns(name)


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-central-1", f"{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com"),
        ("us-gov-west-1", f"{ACCOUNT}.dkr.ecr.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn"),
        ("us-iso-east-1", f"{ACCOUNT}.dkr.ecr.us-iso-east-1.c2s.ic.gov"),
        ("us-isob-east-1", f"{ACCOUNT}.dkr.ecr.us-isob-east-1.sc2s.sgov.gov"),
    ],
)
def test_the_host_of_an_account_is_recognised_again(region: str, host: str) -> None:
    assert names.private(ACCOUNT, region) == host
    assert names.host(host) == names.Host(name=host, account=ACCOUNT, region=region)


def test_domains_are_those_that_the_sdk_knows() -> None:
    """Every region of every partition: a new partition shows here."""
    from botocore.loaders import Loader

    for partition in Loader().load_data("endpoints")["partitions"]:
        for region in partition["regions"]:
            assert names.suffix(region) == partition["dnsSuffix"], region
            assert names.REGION.fullmatch(region), region


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("h.io/a/b", ("h.io", "a/b", None, None)),
        ("h.io/a/b:1.2", ("h.io", "a/b", "1.2", None)),
        (f"h.io/a@{DIGEST}", ("h.io", "a", None, DIGEST)),
        (f"h.io:5000/a/b:1@{DIGEST}", ("h.io:5000", "a/b", "1", DIGEST)),
        ("localhost/a", ("localhost", "a", None, None)),
    ],
)
def test_parts_of_a_full_name(name: str, parts: tuple[str | None, ...]) -> None:
    found = names.image(name)
    assert found is not None
    assert (found.host, found.path, found.tag, found.digest) == parts


@pytest.mark.parametrize("name", ["a", "a/b", "a:1", "team/a:1", ""])
def test_a_short_name_belongs_to_nobody(name: str) -> None:
    """To a runner it means Docker Hub: no login of ours may go with it."""
    assert names.image(name) is None


def test_the_digest_that_is_known_counts() -> None:
    found = names.image(f"h.io/a:1@{DIGEST}", "sha256:other")
    assert found is not None
    assert found.digest == "sha256:other"

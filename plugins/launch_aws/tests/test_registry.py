"""The registry on moto over HTTP: names, repositories, digests, logins and how long they are good."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from launch_aws.environment import AwsEnvironment
from launch_aws.registry import EcrRegistry
from launch_aws.repositories import MEDIA_TYPES
from launch_aws.testing.cloud import ACCOUNT, OTHER_ACCOUNT, PASSWORD, REGION, Cloud
from launch_aws.tokens import Tokens

from launchcore.plugin import Fault, ImageRef, LaunchError, Login, Reason

Environments = Callable[..., AwsEnvironment]
Registries = Callable[..., EcrRegistry]
HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
REPOSITORY = f"{HOST}/my-repo"
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": MEDIA_TYPES[1], "config": {}, "layers": []}).encode()
INDEX = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": MEDIA_TYPES[0],
        "manifests": [{"digest": f"sha256:{'1' * 64}", "platform": {"os": "linux", "architecture": "arm64"}}],
    }
).encode()
MOTO_EXPIRY = 1420070400.0
"""2015-01-01: when moto's tokens end, whenever they were made."""


def login(registry: EcrRegistry, repository: str) -> Login:
    (found,) = registry.logins(repository)
    assert isinstance(found, Login)
    return found


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "full"),
    [
        ({}, REPOSITORY),
        ({"region": "eu-west-1"}, f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/my-repo"),
        ({"account": OTHER_ACCOUNT}, f"{OTHER_ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/my-repo"),
        ({"region": "cn-north-1"}, f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn/my-repo"),
        ({"public_alias": "acme"}, "public.ecr.aws/acme/my-repo"),
        ({"host": "127.0.0.1:5000"}, "127.0.0.1:5000/my-repo"),
    ],
)
def test_what_a_short_name_stands_for(registry: Registries, settings: dict[str, Any], full: str) -> None:
    made = registry(**settings)
    assert made.resolve("my-repo") == full
    assert made.resolve(full) == full


def test_the_account_is_asked_for_once(registry: Registries, cloud: Cloud) -> None:
    made = registry()
    before = cloud.log().count('"POST / ')
    assert {made.resolve("my-repo") for _ in range(10)} == {REPOSITORY}
    assert cloud.log().count('"POST / ') == before + 1


def test_a_role_has_the_registry_of_its_own_account(environment: Environments, registry: Registries) -> None:
    made = registry(environment(role_arn=f"arn:aws:iam::{OTHER_ACCOUNT}:role/launch"))
    assert made.resolve("my-repo") == f"{OTHER_ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/my-repo"
    made.ensure(ImageRef(name=f"{made.resolve('my-repo')}:1"))


# -- repositories ----------------------------------------------------------------------------------


def test_a_repository_is_made_once(registry: Registries, cloud: Cloud) -> None:
    ref = ImageRef(name=f"{REPOSITORY}:1")
    registry().ensure(ref)
    registry().ensure(ref)
    (made,) = cloud.client("ecr").describe_repositories()["repositories"]
    assert (made["repositoryName"], made["repositoryUri"]) == ("my-repo", REPOSITORY)
    assert made["imageTagMutability"] == "MUTABLE"
    assert made["imageScanningConfiguration"] == {"scanOnPush": False}
    assert made["encryptionConfiguration"]["encryptionType"] == "AES256"


def test_a_repository_is_made_as_the_settings_say(registry: Registries, cloud: Cloud) -> None:
    rule = {
        "rulePriority": 1,
        "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 100},
        "action": {"type": "expire"},
    }
    registry(
        immutable_tags=True,
        scan_on_push=True,
        kms_key="alias/launch",
        tags={"team": "ml"},
        lifecycle_policy={"rules": [rule]},
        region="eu-west-1",
    ).ensure(ImageRef(name=f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/team/train:1"))
    ecr = cloud.client("ecr", "eu-west-1")
    (made,) = ecr.describe_repositories()["repositories"]
    assert (made["repositoryName"], made["imageTagMutability"]) == ("team/train", "IMMUTABLE")
    assert made["imageScanningConfiguration"] == {"scanOnPush": True}
    assert made["encryptionConfiguration"] == {"encryptionType": "KMS", "kmsKey": "alias/launch"}
    tags = ecr.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"]
    assert tags == [{"Key": "team", "Value": "ml"}]
    policy = ecr.get_lifecycle_policy(repositoryName="team/train")["lifecyclePolicyText"]
    assert json.loads(policy) == {"rules": [rule]}


def test_a_repository_that_is_there_is_left_as_it_is(registry: Registries, cloud: Cloud) -> None:
    cloud.client("ecr").create_repository(repositoryName="my-repo", imageTagMutability="MUTABLE")
    registry(immutable_tags=True, lifecycle_policy={"rules": []}).ensure(ImageRef(name=f"{REPOSITORY}:1"))
    (made,) = cloud.client("ecr").describe_repositories()["repositories"]
    assert made["imageTagMutability"] == "MUTABLE"


def test_none_is_made_when_the_settings_say_so(registry: Registries, cloud: Cloud) -> None:
    registry(create=False).ensure(ImageRef(name=f"{REPOSITORY}:1"))
    assert cloud.client("ecr").describe_repositories()["repositories"] == []


def test_agents_that_make_it_at_the_same_time(registry: Registries, cloud: Cloud) -> None:
    agents = [registry() for _ in range(4)]
    for agent in agents:
        agent.resolve("my-repo")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda agent: agent.ensure(ImageRef(name=f"{REPOSITORY}:1")), agents))
    assert len(cloud.client("ecr").describe_repositories()["repositories"]) == 1


# -- digests ---------------------------------------------------------------------------------------


def test_a_missing_image_and_a_missing_repository_are_none(registry: Registries) -> None:
    made, ref = registry(), ImageRef(name=f"{REPOSITORY}:1")
    assert made.digest(ref) is None
    made.ensure(ref)
    assert made.digest(ref) is None


@pytest.mark.parametrize(("content", "kind"), [(MANIFEST, MEDIA_TYPES[1]), (INDEX, MEDIA_TYPES[0])])
def test_the_digest_is_that_of_what_the_tag_stands_for(
    registry: Registries, cloud: Cloud, content: bytes, kind: str
) -> None:
    """Of an image for several platforms it is the index's."""
    made, ref = registry(), ImageRef(name=f"{REPOSITORY}:1")
    made.ensure(ref)
    digest = cloud.put_image("my-repo", "1", content, kind)
    assert made.digest(ref) == digest
    assert made.digest(ImageRef(name=REPOSITORY, digest=digest)) == digest
    assert made.digest(ImageRef(name=f"{REPOSITORY}@{digest}")) == digest
    assert made.digest(ImageRef(name=f"{REPOSITORY}:2")) is None


def test_the_digest_of_what_is_behind_another_host_is_still_asked_of_the_api(
    registry: Registries, cloud: Cloud
) -> None:
    made = registry(host="127.0.0.1:5000")
    ref = ImageRef(name=f"{made.resolve('my-repo')}:1")
    made.ensure(ref)
    assert made.digest(ref) is None
    assert made.digest(ref) or cloud.put_image("my-repo", "1", MANIFEST) == made.digest(ref)


@pytest.mark.parametrize("name", ["ghcr.io/acme/x:1", "my-repo:1", "localhost:5000/x"])
def test_what_is_elsewhere_is_a_mistake_of_the_configuration(registry: Registries, name: str) -> None:
    for ask in (registry().digest, registry().ensure):
        with pytest.raises(LaunchError, match="is in no registry of ECR") as caught:
            ask(ImageRef(name=name))
        assert (caught.value.reason, caught.value.fault) == (Reason.CONFIG_ERROR, Fault.INFRASTRUCTURE)
        assert "registry oci" in (caught.value.hint or "")


# -- logins ----------------------------------------------------------------------------------------


def test_a_login(registry: Registries) -> None:
    found = login(registry(), REPOSITORY)
    assert (found.host, found.username, found.password.reveal()) == (HOST, "AWS", PASSWORD)
    assert found.expires_at == MOTO_EXPIRY
    assert PASSWORD not in str(found)


@pytest.mark.parametrize(
    "repository",
    [
        "python",
        "python:3.12-slim",
        "my-repo",
        "ghcr.io/acme/x",
        f"{HOST}.evil.example/x",
        "127.0.0.1:5000/x",
        "public.ecr.aws/docker/library/python",
        f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn/x",
    ],
)
def test_nobody_else_gets_one(registry: Registries, repository: str) -> None:
    assert registry().logins(repository) == ()


def test_registries_of_other_accounts_and_regions(registry: Registries) -> None:
    """Whether our role may pull there is their policy's to say."""
    host = f"{OTHER_ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"
    assert login(registry(), f"{host}/base:1").host == host


def test_a_private_endpoint(registry: Registries) -> None:
    found = login(registry(host="127.0.0.1:5000"), "127.0.0.1:5000/my-repo:1")
    assert (found.host, found.password.reveal()) == ("127.0.0.1:5000", PASSWORD)


def test_base_images_have_logins_too(registry: Registries) -> None:
    other = f"{OTHER_ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
    made = registry(login_hosts=[other, HOST])
    assert {one.host for one in made.logins(f"{REPOSITORY}:1")} == {HOST, other}
    assert made.logins("ghcr.io/acme/x") == ()


# -- how long tokens are good ----------------------------------------------------------------------


class Clock:
    """Seconds, as somebody sets them. moto's tokens are good until 2015."""

    def __init__(self, before_the_end: float) -> None:
        self.now = MOTO_EXPIRY - before_the_end

    def __call__(self) -> float:
        return self.now


def asked(cloud: Cloud) -> int:
    """How many questions moto was asked."""
    return cloud.log().count('"POST / ')


def test_a_token_is_kept_and_renewed_at_half_its_time(environment: Environments, cloud: Cloud) -> None:
    clock = Clock(43200)
    tokens = Tokens(environment().account, clock=clock)
    begin = asked(cloud)
    assert tokens.private(REGION).expires_at == MOTO_EXPIRY
    clock.now += 21599
    tokens.private(REGION)
    assert asked(cloud) == begin + 1
    clock.now += 2
    tokens.private(REGION)
    assert asked(cloud) == begin + 2


def test_each_region_has_its_own(environment: Environments, cloud: Cloud) -> None:
    tokens = Tokens(environment().account, clock=Clock(43200))
    begin = asked(cloud)
    for _ in range(2):
        tokens.private(REGION)
        tokens.private("eu-west-1")
    assert asked(cloud) == begin + 2


def test_an_expired_token_is_given_to_nobody_twice(environment: Environments, cloud: Cloud) -> None:
    tokens = Tokens(environment().account)  # by the real clock, all of moto's are
    begin = asked(cloud)
    tokens.private(REGION)
    tokens.private(REGION)
    assert asked(cloud) == begin + 2


def test_threads_wait_for_one_token(environment: Environments, cloud: Cloud) -> None:
    tokens = Tokens(environment().account, clock=Clock(43200))
    begin = asked(cloud)
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: tokens.private(REGION), range(32)))
    assert len(found) == 1
    assert asked(cloud) == begin + 1


def test_while_nobody_answers_a_token_is_used_up(
    environment: Environments, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(43200)
    account = environment().account
    tokens = Tokens(account, clock=clock)
    first = tokens.private(REGION)
    monkeypatch.setattr(account, "client", environment(endpoint_url="http://127.0.0.1:1").account.client)

    clock.now = MOTO_EXPIRY - 3600
    assert tokens.private(REGION) == first
    assert "still good" in caplog.text
    assert PASSWORD not in caplog.text
    clock.now = MOTO_EXPIRY - 200
    with pytest.raises(LaunchError, match="cannot be reached"):
        tokens.private(REGION)

"""What moto cannot show, scripted with botocore's Stubber: public registries, expired tokens, denied actions,
races, answers that are odd. It checks that we ask what the service's model allows, too; not what AWS does."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.stub import Stubber
from launch_aws.environment import AwsEnvironment
from launch_aws.registry import EcrRegistry
from launch_aws.repositories import MEDIA_TYPES
from launch_aws.testing.cloud import ACCOUNT, REGION

from launchcore.plugin import ImageRef, LaunchError, Login, Reason

Registries = Callable[..., EcrRegistry]
Scripts = Callable[..., "Script"]
HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
REF = ImageRef(name=f"{HOST}/my-repo:1")
PUBLIC = ImageRef(name="public.ecr.aws/acme/my-repo:1")
DIGEST = f"sha256:{'ab' * 32}"
EXPIRES = datetime.datetime(2035, 1, 1, tzinfo=datetime.UTC)
WHICH = {"registryId": ACCOUNT, "repositoryName": "my-repo"}
RULE = {
    "rulePriority": 1,
    "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 100},
    "action": {"type": "expire"},
}
ASKED = {**WHICH, "imageIds": [{"imageTag": "1"}], "acceptedMediaTypes": [*MEDIA_TYPES]}


@pytest.fixture
def registry() -> Registries:
    """In a cloud where nobody answers but the stubs."""
    from launch_aws.environment import make_environment
    from launch_aws.registry import make_registry
    from launch_aws.settings import AccountSettings, RegistrySettings

    def make(**settings: Any) -> EcrRegistry:
        account = AccountSettings(region=REGION, endpoint_url="http://127.0.0.1:1", retries=0)
        return make_registry(RegistrySettings(**settings), make_environment(account))

    return make


class Script:
    """Answers of one service, in order; all of them have to be asked for."""

    def __init__(self, registry: EcrRegistry, service: str = "ecr", region: str = REGION) -> None:
        self.stub = Stubber(registry.account.client(service, region))
        self.stub.activate()

    def says(self, question: str, answer: dict[str, Any], asked: dict[str, Any] | None = None) -> Script:
        self.stub.add_response(question, answer, asked)
        return self

    def refuses(self, question: str, code: str, message: str = "", status: int = 400) -> Script:
        self.stub.add_client_error(question, code, message, status)
        return self


@pytest.fixture
def script() -> Iterator[Callable[..., Script]]:
    """Writes scripts for services, and looks in the end whether all of each was asked for."""
    made: list[Script] = []

    def write(registry: EcrRegistry, service: str = "ecr", region: str = REGION) -> Script:
        made.append(Script(registry, service, region))
        return made[-1]

    yield write
    for each in made:
        each.stub.assert_no_pending_responses()


def token(password: str = "hunter2", expires: datetime.datetime = EXPIRES) -> dict[str, Any]:
    text = base64.b64encode(f"AWS:{password}".encode()).decode()
    return {"authorizationToken": text, "expiresAt": expires}


def login(made: EcrRegistry, repository: str) -> Login:
    (found,) = made.logins(repository)
    assert isinstance(found, Login)
    return found


# -- what moto lets everybody do -------------------------------------------------------------------


@pytest.mark.parametrize("code", ["ExpiredTokenException", "ExpiredToken"])
def test_expired_credentials(registry: Registries, script: Scripts, code: str) -> None:
    made = registry()
    script(made).refuses("batch_get_image", code, "The security token included … is expired")
    with pytest.raises(LaunchError) as caught:
        made.digest(REF)
    assert caught.value.detail == "cannot look for the image my-repo in ECR: the AWS credentials have expired"
    assert caught.value.reason is Reason.CONFIG_ERROR


@pytest.mark.parametrize(
    ("question", "action", "call"),
    [
        ("batch_get_image", "ecr:BatchGetImage", lambda made: made.digest(REF)),
        ("describe_repositories", "ecr:DescribeRepositories", lambda made: made.ensure(REF)),
        ("get_authorization_token", "ecr:GetAuthorizationToken", lambda made: made.logins(REF.name)),
    ],
)
def test_denied_actions_are_named(
    registry: Registries, script: Scripts, question: str, action: str, call: Callable[[EcrRegistry], Any]
) -> None:
    made = registry()
    message = f"User: arn:aws:iam::{ACCOUNT}:user/ci is not authorized to perform: {action} on resource: x"
    script(made).refuses(question, "AccessDeniedException", message)
    with pytest.raises(LaunchError) as caught:
        call(made)
    assert caught.value.detail.endswith(f"AWS denies it: {action} is not allowed")
    assert caught.value.hint == f"allow {action} to the agent's user or role"


def test_the_race_for_a_repository_is_lost_in_peace(registry: Registries, script: Scripts) -> None:
    made = registry(lifecycle_policy={"rules": []})
    script(made).refuses("describe_repositories", "RepositoryNotFoundException").refuses(
        "create_repository", "RepositoryAlreadyExistsException"
    )
    made.ensure(REF)  # and the lifecycle policy is the winner's


def test_a_lifecycle_policy_that_is_refused_is_told(registry: Registries, script: Scripts) -> None:
    made = registry(lifecycle_policy={"rules": [RULE]})
    script(made).refuses("describe_repositories", "RepositoryNotFoundException").says(
        "create_repository", {}
    ).refuses("put_lifecycle_policy", "InvalidParameterException", "no rules")
    with pytest.raises(LaunchError, match="lifecycle policy of the repository my-repo, which was made"):
        made.ensure(REF)


def test_a_quota_that_is_full(registry: Registries, script: Scripts) -> None:
    made = registry()
    script(made).refuses("describe_repositories", "RepositoryNotFoundException").refuses(
        "create_repository", "LimitExceededException", "100000 repositories"
    )
    with pytest.raises(LaunchError, match="a quota of the account is full: 100000 repositories"):
        made.ensure(REF)


def test_what_is_asked_about_an_image(registry: Registries, script: Scripts) -> None:
    made = registry()
    found = {"images": [{"imageId": {"imageDigest": DIGEST, "imageTag": "1"}}], "failures": []}
    script(made).says("batch_get_image", found, ASKED)
    assert made.digest(REF) == DIGEST


@pytest.mark.parametrize("code", ["ImageNotFound", "ImageTagDoesNotMatchDigest"])
def test_an_image_that_is_not_there_yet(registry: Registries, script: Scripts, code: str) -> None:
    """ECR is eventually consistent: what was just pushed may be missing for a moment. That is no error."""
    made = registry()
    missing = {"images": [], "failures": [{"imageId": {"imageTag": "1"}, "failureCode": code}]}
    found = {"images": [{"imageId": {"imageDigest": DIGEST}}], "failures": []}
    script(made).says("batch_get_image", missing, ASKED).says("batch_get_image", found, ASKED)
    assert made.digest(REF) is None
    assert made.digest(REF) == DIGEST


def test_an_image_that_cannot_be_read(registry: Registries, script: Scripts) -> None:
    """An error: "not there" would mean that it is built anew."""
    made = registry()
    failure = {"imageId": {"imageTag": "1"}, "failureCode": "KmsError", "failureReason": "the key is gone"}
    script(made).says("batch_get_image", {"images": [], "failures": [failure]})
    with pytest.raises(LaunchError, match="whether it has the image my-repo: the key is gone"):
        made.digest(REF)


# -- tokens ----------------------------------------------------------------------------------------


def test_a_login_until_it_expires(registry: Registries, script: Scripts) -> None:
    made = registry()
    script(made).says("get_authorization_token", {"authorizationData": [token()]}, {})
    first = login(made, REF.name)
    again = login(made, REF.name)
    assert (first.password.reveal(), first.expires_at) == ("hunter2", EXPIRES.timestamp())
    assert again == first


@pytest.mark.parametrize(
    "data", [[], [{}], [token("")], [{"authorizationToken": "???", "expiresAt": EXPIRES}]]
)
def test_tokens_that_cannot_be_read(
    registry: Registries, script: Scripts, data: list[dict[str, Any]]
) -> None:
    made = registry()
    script(made).says("get_authorization_token", {"authorizationData": data})
    with pytest.raises(LaunchError, match=r"ECR gave (no token that can be read|a token without a password)"):
        made.logins(REF.name)


# -- public registries -----------------------------------------------------------------------------


@pytest.fixture
def public(registry: Registries, script: Scripts) -> tuple[EcrRegistry, Script]:
    """Its API is in us-east-1, wherever the agent is."""
    made = registry(public_alias="acme", repository="my-repo")
    return made, script(made, "ecr-public", "us-east-1")


def test_a_public_repository_is_made(public: tuple[EcrRegistry, Script]) -> None:
    made, script = public
    script.refuses("describe_repositories", "RepositoryNotFoundException")
    script.says("create_repository", {}, {"repositoryName": "my-repo"})
    made.ensure(PUBLIC)


def test_the_digest_of_a_public_image(public: tuple[EcrRegistry, Script]) -> None:
    made, script = public
    asked = {"repositoryName": "my-repo", "imageIds": [{"imageTag": "1"}]}
    script.says("describe_images", {"imageDetails": [{"imageDigest": DIGEST}]}, asked)
    script.refuses("describe_images", "ImageNotFoundException")
    script.refuses("describe_images", "RepositoryNotFoundException")
    assert made.digest(PUBLIC) == DIGEST
    assert made.digest(PUBLIC) is None
    assert made.digest(PUBLIC) is None


def test_the_login_of_a_public_registry(public: tuple[EcrRegistry, Script]) -> None:
    """For whoever pushes. Everybody may pull, and not every role may have a token for it."""
    made, script = public
    script.says("get_authorization_token", {"authorizationData": token("public")}, {})
    found = login(made, PUBLIC.name)
    assert (found.host, found.password.reveal()) == ("public.ecr.aws", "public")
    assert made.logins("public.ecr.aws/docker/library/python") == ()


def test_a_registry_that_was_chosen_by_its_name_may_be_a_public_one(
    registry: Registries, script: Scripts
) -> None:
    made = registry()
    service = script(made, "ecr-public", "us-east-1")
    service.refuses("get_authorization_token", "ServiceUnavailable", status=503)
    service.says("get_authorization_token", {"authorizationData": token()})
    assert made.logins(PUBLIC.name) == ()
    assert login(made, PUBLIC.name).password.reveal() == "hunter2"


def test_full_names_of_a_public_registry(registry: Registries, script: Scripts) -> None:
    made = registry(repository="public.ecr.aws/acme/my-repo")
    script(made, "ecr-public", "us-east-1").says("get_authorization_token", {"authorizationData": token()})
    assert login(made, PUBLIC.name).host == "public.ecr.aws"
    assert made.logins("public.ecr.aws/my-repo/x") == ()


# -- the environment -------------------------------------------------------------------------------


def test_a_role_that_is_asked_for_with_all_that_its_owner_wants() -> None:
    from launch_aws.environment import make_environment
    from launch_aws.settings import AccountSettings

    role = "arn:aws:iam::210987654321:role/launch"
    made: AwsEnvironment = make_environment(
        AccountSettings(
            region=REGION, role_arn=role, external_id="for-launch", session_name="gpu", role_seconds=900
        )
    )
    sts = made.account._client("sts", REGION, None)
    asked = {
        "RoleArn": role,
        "RoleSessionName": "gpu",
        "DurationSeconds": 900,
        "ExternalId": "for-launch",
    }
    keys = {
        "AccessKeyId": "ASIA1234567890123456",
        "SecretAccessKey": "x" * 40,
        "SessionToken": "canary-token",
        "Expiration": EXPIRES,
    }
    with Stubber(sts) as stub:
        stub.add_response("assume_role", {"Credentials": keys}, asked)
        given = made.account.keys()
    assert given.token is not None
    assert given.token.reveal() == "canary-token"
    assert "canary-token" not in repr(given)

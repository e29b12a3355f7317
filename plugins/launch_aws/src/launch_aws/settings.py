"""What a configuration may say about AWS. A run can set none of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from launch_aws import names
from launchcore.plugin import Json, setting

_SESSION: Final = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?(?::[0-9]{1,5})?", re.ASCII)
_KMS: Final = re.compile(r"(?:arn:aws[a-z-]*:kms:\S+|alias/[\w/-]+|[0-9a-f-]{36}|mrk-[0-9a-f]+)", re.ASCII)


def _like(pattern: re.Pattern[str], what: str) -> Callable[[Any, Any, Any], None]:
    """A validator of one text or nothing. What was written is not repeated: it might be a key."""

    def validate(_: Any, attribute: Any, value: Any) -> None:
        if value is not None and not pattern.fullmatch(value):
            raise ValueError(f"'{attribute.name}' must be {what}")

    return validate


def _url(where: str, value: str) -> None:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"'{where}' must be a URL: https://HOST")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"'{where}' must be a URL without a login, a query and a fragment")


def _urls(_: Any, attribute: Any, value: Any) -> None:
    if isinstance(value, str):
        _url(attribute.name, value)
    for service, url in value.items() if isinstance(value, dict) else ():
        if service not in SERVICES:
            raise ValueError(f"'{attribute.name}' knows {', '.join(SERVICES)}; not {service[:40]!r}")
        _url(f"{attribute.name}.{service}", url)


SERVICES: Final = ("ecr", "ecr-public", "logs", "s3", "sagemaker", "sqs", "sts")
"""What has an endpoint that can be overridden; some of them are asked by further plugins."""

_positive = attrs.validators.gt(0)


@attrs.frozen(kw_only=True)
class AccountSettings:
    """``environment: {type: aws, region: us-east-1, …}``."""

    region: str | None = setting(
        "The region that the agent works in; without it AWS_REGION, AWS_DEFAULT_REGION, or the profile's.",
        default=None,
        validator=_like(names.REGION, "the name of a region, like us-east-1"),
    )
    profile: str | None = setting(
        "A profile of ~/.aws/config and ~/.aws/credentials; without it AWS's own chain: variables, the "
        "default profile, the role of the pod, container or machine.",
        default=None,
    )
    role_arn: str | None = setting(
        "A role to work as; it is assumed with the credentials of the profile or chain.",
        default=None,
        validator=_like(names.ROLE, "the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME"),
    )
    external_id: str | None = setting("The external ID that the role's owner asks for.", default=None)
    session_name: str = setting(
        "How the agent's sessions are called in CloudTrail.",
        default="launchcore",
        validator=_like(_SESSION, "2 to 64 letters, digits and +=,.@_-"),
    )
    role_seconds: int = setting(
        "Seconds that a role's credentials last; they are renewed at half of them. A role assumed by "
        "another role has at most 3600.",
        default=3600,
        validator=attrs.validators.and_(attrs.validators.ge(900), attrs.validators.le(43200)),
    )
    endpoint_url: str | None = setting(
        "The URL of every service instead of AWS's own.", default=None, validator=_urls
    )
    endpoints: dict[str, str] = setting(
        "The same for single services: {s3: URL, ecr: URL, …}.",
        factory=dict,
        validator=_urls,
    )
    store_credentials: bool = setting(
        "Give a builder the agent's credentials for s3:// stores; false: the region only, since its pods "
        "have a role of their own (IRSA, EKS Pod Identity).",
        default=True,
    )
    region_for: tuple[str, ...] = setting(
        "Queues (patterns of names) whose runs are told the region, as AWS_REGION and AWS_DEFAULT_REGION.",
        default=("*",),
    )
    credentials_for: tuple[str, ...] = setting(
        "Queues (patterns of names) whose runs get credentials. Whoever may submit there may use them.",
        default=(),
    )
    run_role_arn: str | None = setting(
        "The role whose credentials those runs get, instead of the agent's own.",
        default=None,
        validator=_like(names.ROLE, "the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME"),
    )
    connect_seconds: float = setting(
        "Seconds until a connection counts as failed.", default=5.0, validator=_positive
    )
    answer_seconds: float = setting(
        "Seconds that a service may take for an answer.", default=30.0, validator=_positive
    )
    retries: int = setting(
        "How often a question is asked again when a service is busy or away, with growing pauses.",
        default=4,
        validator=attrs.validators.ge(0),
    )

    def __attrs_post_init__(self) -> None:
        if self.external_id is not None and self.role_arn is None:
            raise ValueError("`external_id` goes with `role_arn`")
        if self.run_role_arn is not None and not self.credentials_for:
            raise ValueError("`run_role_arn` goes with `credentials_for`: the queues whose runs get it")
        if self.run_role_arn is not None and self.role_arn is not None and self.role_seconds > 3600:
            raise ValueError("`role_seconds` is at most 3600 where `role_arn` assumes `run_role_arn`")


def _repository(_: Any, attribute: Any, value: Any) -> None:
    if value is None:
        return
    path = value.partition("/")[2] if names.is_full(value) else value
    if not names.REPOSITORY.fullmatch(path):
        raise ValueError(
            f"'{attribute.name}' must be a repository, without a tag: small letters, digits, and . _ - / "
            "between them"
        )


def _hosts(_: Any, attribute: Any, value: Any) -> None:
    for one in value:
        if names.host(one) is None:
            raise ValueError(
                f"'{attribute.name}' must be hosts of ECR, like 123456789012.dkr.ecr.us-east-1.amazonaws.com"
            )


@attrs.frozen(kw_only=True)
class RegistrySettings:
    """``registry: {type: ecr, repository: my-repo, …}``."""

    repository: str | None = setting(
        "Where images go: a name in the account's registry, or a full one with its host.",
        default=None,
        validator=_repository,
    )
    account: str | None = setting(
        "The account whose registry it is; without it, the environment's.",
        default=None,
        validator=_like(names.ACCOUNT, "an account's number of 12 digits, in quotes"),
    )
    region: str | None = setting(
        "The registry's region; without it, the environment's.",
        default=None,
        validator=_like(names.REGION, "the name of a region, like us-east-1"),
    )
    public_alias: str | None = setting(
        "The alias of a public registry: images go to public.ecr.aws/ALIAS/repository, for all to see.",
        default=None,
        validator=_like(re.compile(r"[a-z][a-z0-9]*(?:[._-][a-z0-9]+)*", re.ASCII), "an alias of a registry"),
    )
    host: str | None = setting(
        "HOST[:PORT] that images are pushed to and pulled from instead of AWS's own: a private endpoint, a "
        "proxy. The API stays where the environment says.",
        default=None,
        validator=_like(_HOST, "a host's name, with a port if need be"),
    )
    login_hosts: tuple[str, ...] = setting(
        "Further registries of ECR that get a login with each build and run, for base images: "
        "763104351884.dkr.ecr.us-east-1.amazonaws.com.",
        default=(),
        validator=_hosts,
    )
    create: bool = setting("Make the repository when it is not there.", default=True)
    immutable_tags: bool = setting("Tags of a repository that is made cannot be moved.", default=False)
    scan_on_push: bool = setting("Images of a repository that is made are scanned.", default=False)
    kms_key: str | None = setting(
        "The KMS key that encrypts a repository that is made: its ARN, id or alias/NAME; else AES-256.",
        default=None,
        validator=_like(_KMS, "a KMS key's ARN, its id, or alias/NAME"),
    )
    lifecycle_policy: dict[str, Json] | None = setting(
        "The lifecycle policy of a repository that is made, as ECR has it: {rules: [...]}.", default=None
    )
    tags: dict[str, str] = setting("Tags of a repository that is made.", factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.public_alias is not None and (self.account or self.region or self.host):
            raise ValueError("`public_alias` goes with none of `account`, `region` and `host`")
        if not self.create and (self.immutable_tags or self.scan_on_push or self.kms_key or self.tags):
            raise ValueError("`create` is false: what repositories are made with has no meaning")
        if self.repository is not None and names.is_full(self.repository):
            first = self.repository.partition("/")[0]
            if self.public_alias is not None:
                raise ValueError("`repository` is a full name: leave out `public_alias`")
            if names.host(first) is None and first != self.host:
                raise ValueError(
                    "`repository` is in no registry of ECR: leave out its host, or choose the registry oci"
                )

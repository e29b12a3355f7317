"""What the ``registry:`` block of an agent or queue says about a registry."""

from __future__ import annotations

import re
from typing import Any

import attrs

from launchcore.builtin.image.reference import parse
from launchcore.plugin import setting


def _repository(_: Any, attribute: Any, value: Any) -> None:
    if value is None:
        return
    try:
        found = parse(value)
    except ValueError as error:
        raise ValueError(f"'{attribute.name}' {error}") from None
    if found.tag or found.digest:
        raise ValueError(f"'{attribute.name}' must be a repository, without a tag and without a digest")


def _host(_: Any, attribute: Any, value: Any) -> None:
    if value is None:
        return
    try:
        found = parse(f"{value}/x")
    except ValueError:
        found = None
    if found is None or found.host != value:
        raise ValueError(f"'{attribute.name}' must be the name of a registry, like ghcr.io or 10.0.0.7:5000")


def _helper(_: Any, attribute: Any, value: Any) -> None:
    if value is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise ValueError(f"'{attribute.name}' is what follows 'docker-credential-' in a program's name")


@attrs.frozen(kw_only=True)
class OciSettings:
    """``registry: {type: oci, repository: registry.example.com/team/launch, …}``."""

    repository: str | None = setting(
        "Where images go: [HOST[:PORT]/]PATH, without a tag; no host means Docker Hub.",
        default=None,
        validator=_repository,
    )
    host: str | None = setting(
        "The registry that the login is for; without it, the host of `repository`. "
        "The login goes to no other.",
        default=None,
        validator=_host,
    )
    username: str | None = setting("The user of the login.", default=None)
    password_env: str | None = setting(
        "The variable of the agent's environment that has the password or token.", default=None
    )
    password_file: str | None = setting(
        "The file on the agent's machine that has the password or token; read anew at each use.", default=None
    )
    credential_helper: str | None = setting(
        "A docker credential helper, by the name after 'docker-credential-': ecr-login, gcloud, pass.",
        default=None,
        validator=_helper,
    )
    docker_config: bool = setting(
        "Also look into Docker's config.json of the agent's account: auths, credHelpers, credsStore.",
        default=True,
    )
    insecure: bool = setting(
        "Allow plain HTTP; on this machine's own addresses it is always allowed.", default=False
    )
    ca_file: str | None = setting(
        "File of the CA that signed the registry's certificate; without it, the system's, and "
        "/etc/docker/certs.d/HOST/ca.crt.",
        default=None,
    )
    connect_seconds: float = setting(
        "Seconds until a connection counts as failed.", default=5.0, validator=attrs.validators.gt(0)
    )
    answer_seconds: float = setting(
        "Seconds that the registry may take for an answer.", default=30.0, validator=attrs.validators.gt(0)
    )
    retries: int = setting(
        "How often a question is asked again when the registry is busy or away.",
        default=3,
        validator=attrs.validators.ge(0),
    )

    def __attrs_post_init__(self) -> None:
        ways = [self.password_env, self.password_file, self.credential_helper]
        if sum(way is not None for way in ways) > 1:
            raise ValueError("say one of `password_env`, `password_file` and `credential_helper`")
        if (self.username is None) != (self.password_env is None and self.password_file is None):
            raise ValueError("`username` goes with `password_env` or `password_file`")
        if (self.username or self.credential_helper) and not (self.host or self.repository):
            raise ValueError("say whose login it is: `repository` or `host`")

"""Neutral values that a plugin adds to somebody else's build or run.

No pod, no ARN, no mount path of a given tool: the receiver chooses how to apply each one. The AWS
plugin contributes a :class:`Login`; the builder that uses it has never heard of AWS.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import attrs

from launchcore.plugin.secret import Secret


class Kind(enum.Enum):
    """The kinds of contribution; a descriptor's ``applies`` names those that it honours."""

    ENV = "env"
    FILE = "file"
    LOGIN = "login"
    LABEL = "label"
    VOLUME = "volume"


@attrs.frozen(kw_only=True)
class EnvVar:
    """An environment variable; a :class:`Secret` value is injected by the receiver's safest means."""

    name: str
    value: str | Secret
    optional: bool = False
    """A receiver that cannot apply it may leave it out; otherwise that is an error."""

    kind = Kind.ENV


@attrs.frozen(kw_only=True)
class SecretFile:
    """A file with secret content. The receiver picks the path and sets ``path_env`` to it."""

    name: str
    content: Secret
    path_env: str | None = None
    optional: bool = False

    kind = Kind.FILE


@attrs.frozen(kw_only=True)
class Login:
    """A login to an image registry, for pulling and pushing. ``expires_at``: UNIX seconds."""

    host: str
    username: str
    password: Secret
    expires_at: float | None = None
    optional: bool = False

    kind = Kind.LOGIN


@attrs.frozen(kw_only=True)
class CredentialHelper:
    """A docker credential helper for a registry host (``docker-credential-<helper>``)."""

    host: str
    helper: str
    optional: bool = False

    kind = Kind.LOGIN


@attrs.frozen(kw_only=True)
class Label:
    """A label: pod label, container label, SageMaker tag …"""

    name: str
    value: str
    optional: bool = False

    kind = Kind.LABEL


@attrs.frozen(kw_only=True)
class Volume:
    """A host path or a claim mounted at ``path``. Only a queue's owner or a plugin may ask for one."""

    source: str
    path: str
    read_only: bool = True
    optional: bool = False

    kind = Kind.VOLUME


Contribution: TypeAlias = EnvVar | SecretFile | Login | CredentialHelper | Label | Volume
"""Whatever a plugin may add to somebody else's build or run."""


@attrs.frozen(kw_only=True)
class Given:
    """All contributions to one build or run, merged by the core, in a fixed order.

    ``origin`` says who gave each value: ``{"env:AWS_REGION": "launchcore-aws 1.2.0"}``.
    """

    env: tuple[EnvVar, ...] = ()
    files: tuple[SecretFile, ...] = ()
    logins: tuple[Login | CredentialHelper, ...] = ()
    labels: tuple[Label, ...] = ()
    volumes: tuple[Volume, ...] = ()
    access: tuple[EnvVar | SecretFile, ...] = ()
    """For the builder's own programs, never for the steps of a build: how they reach the object stores that
    its descriptor names (:attr:`BuilderSpec.stores`)."""
    origin: dict[str, str] = attrs.field(factory=dict)

    def secrets(self) -> tuple[Secret, ...]:
        """Every secret value in here: what must be masked in this run's log."""
        found = [variable.value for variable in self.env if isinstance(variable.value, Secret)]
        found += [file.content for file in self.files]
        for one in self.access:
            if isinstance(one, SecretFile):
                found.append(one.content)
            elif isinstance(one.value, Secret):
                found.append(one.value)
        found += [login.password for login in self.logins if isinstance(login, Login)]
        return tuple(found)

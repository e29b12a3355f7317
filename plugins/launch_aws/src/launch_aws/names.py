"""Names of images and repositories in ECR: what they say of themselves, and how they are made. Pure.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html
"""

from __future__ import annotations

import re
from typing import Final

import attrs

PUBLIC_HOSTS: Final = ("public.ecr.aws", "ecr-public.aws.com")
PUBLIC_REGION: Final = "us-east-1"
"""Where the API of public registries is, whoever asks from wherever."""

ACCOUNT: Final = re.compile(r"[0-9]{12}", re.ASCII)
ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,512}", re.ASCII)
REGION: Final = re.compile(r"[a-z]{2,8}(?:-[a-z]{2,16})*-[0-9]{1,2}", re.ASCII)
REPOSITORY: Final = re.compile(
    r"(?=.{2,256}\Z)[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*",
    re.ASCII,
)
"""What CreateRepository accepts, as a path that image references allow, too."""

_SUFFIXES: Final = {
    "cn-": "amazonaws.com.cn",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
    "eu-isoe-": "cloud.adc-e.uk",
    "eusc-": "amazonaws.eu",
}
"""How the regions of a partition begin → its domain; all others are in amazonaws.com."""

_DUAL_STACK: Final = ("on.aws", "on.amazonwebservices.com.cn")
_PRIVATE: Final = re.compile(
    r"(?P<account>[0-9]{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]{1,40})\.(?P<suffix>[a-z0-9.-]{1,40})",
    re.ASCII,
)


@attrs.frozen(kw_only=True)
class Host:
    """An ECR registry by its host. ``account`` and ``region`` are those of a private one."""

    name: str
    account: str | None = None
    region: str | None = None

    @property
    def public(self) -> bool:
        return self.account is None


@attrs.frozen(kw_only=True)
class Image:
    """An image, or with neither tag nor digest a repository: ``host/path:tag@digest``."""

    host: str
    path: str
    tag: str | None = None
    digest: str | None = None


def host(name: str) -> Host | None:
    """The registry that a host is, if it surely is one of ECR.

    >>> host("123456789012.dkr.ecr.eu-west-1.amazonaws.com").region
    'eu-west-1'
    >>> host("public.ecr.aws").public
    True
    >>> host("123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example")
    """
    if name in PUBLIC_HOSTS:
        return Host(name=name)
    found = _PRIVATE.fullmatch(name)
    if found is None or REGION.fullmatch(found["region"]) is None:
        return None
    if found["suffix"] not in (suffix(found["region"]), *_DUAL_STACK):
        return None
    return Host(name=name, account=found["account"], region=found["region"])


def owns(repository: str) -> bool:
    """Whether a repository is in ECR, by its host alone."""
    return host(repository.partition("/")[0]) is not None


def suffix(region: str) -> str:
    """The domain of a region's registries.

    >>> suffix("us-gov-west-1"), suffix("cn-north-1")
    ('amazonaws.com', 'amazonaws.com.cn')
    """
    return next((end for start, end in _SUFFIXES.items() if region.startswith(start)), "amazonaws.com")


def private(account: str, region: str) -> str:
    """The host of an account's registry.

    >>> private("123456789012", "cn-north-1")
    '123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn'
    """
    return f"{account}.dkr.ecr.{region}.{suffix(region)}"


def is_full(repository: str) -> bool:
    """Whether it begins with a host, as image references tell: a dot, a port, or ``localhost``.

    >>> is_full("team/train"), is_full("ghcr.io/team/train")
    (False, True)
    """
    first, slash, _ = repository.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")


def image(name: str, digest: str | None = None) -> Image | None:
    """A full name in its parts; ``None``: it has no host, so it is somebody else's.

    >>> image("h.example:5000/team/train:1").tag
    '1'
    """
    if not is_full(name):
        return None
    bare, _, own = name.partition("@")
    first, _, rest = bare.partition("/")
    path, colon, tag = rest.rpartition(":")
    if not colon:
        path, tag = rest, ""
    return Image(host=first, path=path, tag=tag or None, digest=digest or own or None)


def public_path(path: str) -> str:
    """The repository's name in the API of public registries: without the alias.

    >>> public_path("acme/team/train")
    'team/train'
    """
    return path.partition("/")[2]

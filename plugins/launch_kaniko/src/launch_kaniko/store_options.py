"""How the agent and a build speak to the context store, beside its URL. A run can set none of it."""

from __future__ import annotations

import re
from typing import Any, Final

import attrs

from launchcore.plugin import setting

_ENDPOINT: Final = re.compile(r"https?://(?:[a-zA-Z0-9.-]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?(?:/[\w./-]*)?")
_ACCOUNT: Final = re.compile(r"[a-z0-9]{3,24}")


def _endpoint(_self: object, field: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None and not _ENDPOINT.fullmatch(value):
        raise ValueError(  # it is not repeated: credentials may stand in it
            f"{field.name} must be http://HOST[:PORT] or https://HOST[:PORT], without credentials or a query"
        )


def _account(_self: object, _field: object, value: str | None) -> None:
    if value is not None and not _ACCOUNT.fullmatch(value):
        raise ValueError("account must be 3 to 24 small letters and digits")


def _mount(_self: object, _field: object, value: str | None) -> None:
    if value is not None and (not value.startswith("/") or ".." in value.split("/") or "\0" in value):
        raise ValueError("mount must be an absolute path without '..'")


_positive: Final = attrs.validators.gt(0)


@attrs.frozen(kw_only=True)
class StoreOptions:
    """What may be set about the context store."""

    endpoint: str | None = setting(
        "The store's own address, for a service that is not the cloud's: https://minio.example.com.",
        default=None,
        validator=_endpoint,
    )
    cluster_endpoint: str | None = setting(
        "The same store's address as pods reach it; without it, `endpoint`.",
        default=None,
        validator=_endpoint,
    )
    allow_http: bool = setting("Allow an endpoint without TLS.", default=False)
    path_style: bool = setting(
        "The bucket stands in the path of an endpoint's URLs, not in the host name.", default=True
    )
    account: str | None = setting("The storage account of an az:// store.", default=None, validator=_account)
    mount: str | None = setting(
        "The directory where the agent has a pvc:// store's claim mounted.", default=None, validator=_mount
    )
    connect_seconds: float = setting(
        "Seconds to open a connection to the store.", default=5.0, validator=_positive
    )
    request_seconds: float = setting(
        "Seconds for one request; an upload sends one part a request.", default=120.0, validator=_positive
    )
    retries: int = setting(
        "How often a request is repeated when the store is away or overloaded.",
        default=6,
        validator=attrs.validators.ge(0),
    )
    retry_seconds: float = setting(
        "Seconds after a request's begin beyond which it is not repeated.", default=120.0, validator=_positive
    )
    keep_hours: float = setting(
        "Hours that a context is kept after its last use; more than twice the longest build.",
        default=72.0,
        validator=attrs.validators.ge(1),
    )
    compression: int = setting(
        "gzip's level for build contexts: 0 stores, 1 is fast, 9 is small.",
        default=1,
        validator=attrs.validators.and_(attrs.validators.ge(0), attrs.validators.le(9)),
    )
    part_mb: int = setting(
        "MiB of one part of an upload. An object has 10,000 parts at most.",
        default=5,
        validator=attrs.validators.and_(attrs.validators.ge(5), attrs.validators.le(512)),
    )
    concurrency: int = setting(
        "How many parts are on their way at once; each is held in memory.",
        default=8,
        validator=attrs.validators.and_(attrs.validators.ge(1), attrs.validators.le(32)),
    )

    @property
    def keep_seconds(self) -> float:
        """The retention, in seconds."""
        return self.keep_hours * 3600

"""Where build contexts are kept: the store's URL, and how an executor in the cluster sees it. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Final

import attrs

from launch_kaniko.store_options import StoreOptions

FORMS: Final = (
    "s3://BUCKET[/PREFIX], gs://BUCKET[/PREFIX], az://CONTAINER[/PREFIX], "
    "https://ACCOUNT.blob.core.windows.net/CONTAINER[/PREFIX] or pvc://CLAIM[/PATH]"
)
CONTEXTS: Final = "/kaniko/contexts"
"""Where a claim is mounted in the executor's container: below the one directory that it never takes into an
image nor empties between two stages."""

_BUCKETS: Final = {
    "s3": ("bucket", re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,61}[a-zA-Z0-9]")),
    "gs": ("bucket", re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")),
    "az": ("container", re.compile(r"\$root|(?=.{3,63}\Z)[a-z0-9]+(?:-[a-z0-9]+)*")),
    "pvc": (
        "claim",
        re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*"),
    ),
}
_RULES: Final = {
    "s3": "3 to 63 letters, digits, dots and hyphens make its name",
    "gs": "3 to 222 small letters, digits, dots, hyphens and underscores make its name",
    "az": "3 to 63 small letters, digits and single hyphens make its name",
    "pvc": "small letters, digits, hyphens and dots make its name",
}
_MEANT: Final = {
    "s3a": "s3", "s3n": "s3", "minio": "s3", "gcs": "gs", "google": "gs", "azure": "az", "abfs": "az",
    "abfss": "az", "wasb": "az", "wasbs": "az", "azblob": "az", "claim": "pvc", "file": "pvc",
    "volume": "pvc",
}  # fmt: skip
# The hosts that the executor knows as blob storage (its pkg/constants); it fetches any other without a login.
_BLOBS: Final = re.compile(
    r"(?P<account>[a-z0-9]{3,24})\.(?P<suffix>blob\.core\.(?:windows\.net|chinacloudapi\.cn|cloudapi\.de|"
    r"usgovcloudapi\.net))"
)
_PART: Final = re.compile(r"[A-Za-z0-9._=+@-]{1,200}")
_NAME: Final = re.compile(r"[0-9a-f]{32,128}")
_FILE: Final = re.compile(r"launch-(?P<name>[0-9a-f]{32,128})\.tar\.gz")


@attrs.frozen(kw_only=True)
class StorePlace:
    """A place for build contexts. ``bucket`` is what holds them: a bucket, a container, or a claim's name."""

    scheme: str
    """``s3``, ``gs``, ``az`` or ``pvc``."""
    bucket: str
    prefix: str = ""
    """Below which they are; without slashes at its ends."""
    account: str | None = None
    """The storage account, when the URL names it."""
    suffix: str = "blob.core.windows.net"
    """What follows the account in the host's name."""

    @property
    def url(self) -> str:
        """The one spelling of it."""
        below = f"{self.bucket}/{self.prefix}" if self.prefix else self.bucket
        return f"https://{self.account}.{self.suffix}/{below}" if self.account else f"{self.scheme}://{below}"

    @property
    def kind(self) -> str:
        """What ``bucket`` is called here: bucket, container or claim."""
        return _BUCKETS[self.scheme][0]

    @property
    def remote(self) -> bool:
        """It is an object store: :attr:`BuilderSpec.stores` names its URL."""
        return self.scheme != "pvc"


@attrs.frozen(kw_only=True)
class Sight:
    """How the executor sees one context: what its Job has to say.

    ``claim``, when there is one, is to be mounted read-only at ``mount``, its directory ``sub_path`` alone
    (``None``: all of it).
    """

    context: str
    """The value of ``--context``."""
    env: Mapping[str, str] = attrs.field(factory=dict)
    claim: str | None = None
    mount: str | None = None
    sub_path: str | None = None


def parse_store(url: str) -> StorePlace:
    """The place that ``url`` names.

    >>> place = parse_store("s3://my-bucket/contexts/")
    >>> place.bucket, place.prefix, place.url
    ('my-bucket', 'contexts', 's3://my-bucket/contexts')

    :raises ValueError: with what to write instead. The URL itself is not repeated: a password may be in it.
    """
    scheme, colon, rest = url.partition(":")
    if not colon or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,19}", scheme):
        raise ValueError(f"must begin with a scheme: {FORMS}")
    scheme = scheme.lower()
    if "@" in rest.removeprefix("//").partition("/")[0]:
        raise ValueError(
            "must not carry credentials: the environment gives them, or the store's own variables do"
        )
    if scheme not in _BUCKETS and scheme != "https":
        raise ValueError(_unknown(scheme))
    if not rest.startswith("//"):
        raise ValueError(f"needs two slashes after {scheme}: ({scheme}://…)")
    if "?" in rest or "#" in rest:
        raise ValueError("must not have a query or a fragment: tokens do not belong into a URL")
    host, _, path = rest[2:].partition("/")
    if scheme == "https":
        return _blob(host, path)
    return StorePlace(scheme=scheme, bucket=_bucket(scheme, host), prefix=_prefix(path))


def _unknown(scheme: str) -> str:
    near = _MEANT.get(scheme) or next(iter(difflib.get_close_matches(scheme, _BUCKETS, 1, 0.5)), None)
    meant = f"did you mean {near}://? " if near else ""
    return f"has the unknown scheme {scheme!r}; {meant}It is one of {FORMS}"


def _blob(host: str, path: str) -> StorePlace:
    found = _BLOBS.fullmatch(host.lower())
    if found is None:
        raise ValueError(f"is no storage account's address; a store is {FORMS}")
    container, _, below = path.partition("/")
    return StorePlace(
        scheme="az",
        bucket=_bucket("az", container),
        prefix=_prefix(below),
        account=found["account"],
        suffix=found["suffix"],
    )


def _bucket(scheme: str, text: str) -> str:
    kind, pattern = _BUCKETS[scheme]
    if not text:
        raise ValueError(
            f"names no {kind}: {scheme}://{kind.upper()}[/{'PATH' if scheme == 'pvc' else 'PREFIX'}]"
        )
    if not pattern.fullmatch(text) or ".." in text:
        raise ValueError(f"has an impossible {kind}: {_RULES[scheme]}")
    return text


def _prefix(text: str) -> str:
    parts = text.removesuffix("/").split("/") if text else []
    for part in parts:
        if part in (".", ".."):
            raise ValueError("must not have '.' or '..' in its path")
        if not _PART.fullmatch(part):
            what = "an empty part" if not part else "a part with another character"
            raise ValueError(
                f"has {what} in its path: letters, digits and . _ = + @ - go between single slashes"
            )
    if sum(len(part) + 1 for part in parts) > 700:
        raise ValueError("has too long a path: 700 characters are the most")
    return "/".join(parts)


def check_store(place: StorePlace, options: StoreOptions) -> None:
    """Whether the options suit the place.

    :raises ValueError: with the option to set.
    """
    for address in (options.endpoint, options.cluster_endpoint):
        if address is not None and address.startswith("http://") and not options.allow_http:
            raise ValueError("an endpoint without TLS needs `allow_http: true`")
        if address is not None and not place.remote:
            raise ValueError("a pvc:// store has no endpoint")
    if not place.remote and options.mount is None:
        raise ValueError("a pvc:// store needs `mount`: the directory where the agent has the claim mounted")
    if place.scheme == "az":
        seen = options.cluster_endpoint or options.endpoint
        if place.account is None and options.account is None:
            raise ValueError(
                "an az:// store needs `account`, or the store as https://ACCOUNT.blob.core.windows.net/CONTAINER"
            )
        if seen is not None and not _BLOBS.fullmatch(seen.rstrip("/").removeprefix("https://")):
            raise ValueError(
                "the executor knows blob storage by its host only: ACCOUNT.blob.core.windows.net"
            )


def file_name(name: str) -> str:
    """The object's own name: marked as ours, so that a sweep deletes nobody else's.

    :raises ValueError: ``name`` is no hex digest.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("a context's name is a hex digest of 32 to 128 digits")
    return f"launch-{name}.tar.gz"


def name_of(file: str) -> str | None:
    """The context in an object of this name, or ``None``: it is not ours."""
    found = _FILE.fullmatch(file)
    return found["name"] if found else None


def sight(place: StorePlace, name: str, options: StoreOptions) -> Sight:
    """How the executor is told of the context ``name``, as its ``pkg/buildcontext`` reads it.

    Its credentials are not in here: it takes them from the variables and files of :attr:`Given.access`.

    :raises ValueError: see :func:`check_store` and :func:`file_name`.
    """
    check_store(place, options)
    file = file_name(name)
    key = f"{place.prefix}/{file}" if place.prefix else file
    seen = options.cluster_endpoint or options.endpoint
    if place.scheme == "pvc":
        return Sight(
            context=f"tar://{CONTEXTS}/{file}",
            claim=place.bucket,
            mount=CONTEXTS,
            sub_path=place.prefix or None,
        )
    if place.scheme == "az":
        base = seen.rstrip("/") if seen else f"https://{place.account or options.account}.{place.suffix}"
        return Sight(context=f"{base}/{place.bucket}/{key}")
    env: dict[str, str] = {}
    if seen and place.scheme == "s3":
        env = {"S3_ENDPOINT": seen.rstrip("/"), "S3_FORCE_PATH_STYLE": str(options.path_style).lower()}
    elif seen:
        env = {"STORAGE_EMULATOR_HOST": seen.rstrip("/")}
    return Sight(context=f"{place.scheme}://{place.bucket}/{key}", env=env)

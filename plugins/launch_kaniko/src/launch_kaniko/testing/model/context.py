"""Where the executor gets its context from: an S3 bucket, or a tar on a volume."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import tarfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit


class ContextError(Exception):
    """In the executor's words."""


def fetch(url: str, into: Path, environ: Mapping[str, str]) -> None:
    """Unpack the context at ``url``."""
    if url.startswith("tar://"):
        path = Path(url.removeprefix("tar://"))
        if not path.exists():
            raise ContextError(f"open {path}: no such file or directory")
    elif url.startswith("s3://"):
        path = into.with_name("context.tar.gz")
        path.write_bytes(_s3(url, environ))
    else:
        raise ContextError(f"unknown build context prefix provided, please use one of the following: {url}")
    with tarfile.open(path) as tar:
        tar.extractall(into, filter="tar")


def _s3(url: str, environ: Mapping[str, str]) -> bytes:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    if any(not environ.get(name) for name in names):
        raise ContextError(
            "operation error S3: GetObject, get identity: get credentials: failed to refresh cached "
            "credentials, no role of the machine found"
        )
    endpoint = environ.get("S3_ENDPOINT", "https://s3.amazonaws.com")
    path = f"/{bucket}/{quote(key)}"
    request = urllib.request.Request(f"{endpoint}{path}")  # noqa: S310
    for name, value in _signed(urlsplit(endpoint).netloc, path, environ).items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            data: bytes = answer.read()
            return data
    except urllib.error.HTTPError as error:
        text = error.read().decode("utf-8", "replace")
        code = text.partition("<Code>")[2].partition("</Code>")[0] or error.reason
        raise ContextError(
            f"operation error S3: GetObject, https response error StatusCode: {error.code}, RequestID: , "
            f"HostID: , {code}: "
        ) from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise ContextError(
            "operation error S3: GetObject, https response error StatusCode: 0, RequestID: , HostID: , "
            "request "
            f'send failed, Get "{endpoint}{path}": dial tcp {urlsplit(endpoint).netloc}: connect: {reason}'
        ) from None


def _signed(host: str, path: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Signature version 4 of a GET without a body."""
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    at = datetime.datetime.now(datetime.UTC)
    stamp, day = f"{at:%Y%m%dT%H%M%SZ}", f"{at:%Y%m%d}"
    empty = hashlib.sha256(b"").hexdigest()
    headers = {"host": host, "x-amz-content-sha256": empty, "x-amz-date": stamp}
    if token := environ.get("AWS_SESSION_TOKEN"):
        headers["x-amz-security-token"] = token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    scope = f"{day}/{region}/s3/aws4_request"
    canonical = hashlib.sha256(f"GET\n{path}\n\n{lines}\n{names}\n{empty}".encode()).hexdigest()
    key = f"AWS4{environ['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{canonical}"
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    who = f"{environ['AWS_ACCESS_KEY_ID']}/{scope}"
    said = f"AWS4-HMAC-SHA256 Credential={who}, SignedHeaders={names}, Signature={signature}"
    return {**{name: value for name, value in headers.items() if name != "host"}, "Authorization": said}

"""A small client of image registries, for what tests put there and look at. Standard library only."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
ACCEPT = f"{MANIFEST}, application/vnd.oci.image.manifest.v1+json"


class RegistryError(Exception):
    """In the words of the library that the executor uses."""


class Missing(RegistryError):
    """It answers, and has no such thing."""


class Registries:
    """Registries by host, with what a docker configuration and the command line say about them."""

    def __init__(
        self,
        auths: Mapping[str, str],
        *,
        insecure: tuple[str, ...] = (),
        unverified: tuple[str, ...] = (),
        authorities: Mapping[str, str] | None = None,
    ) -> None:
        """:param auths: host → ``base64(user:password)``.
        :param authorities: host → file of the CA that signed its certificate.
        """
        self._auths = auths
        self._insecure = insecure
        self._unverified = unverified
        self._authorities = authorities or {}

    def manifest(self, repository: str, reference: str) -> tuple[dict[str, Any], str]:
        """A manifest, and its digest."""
        data, digest = self.text(repository, reference)
        return json.loads(data), digest

    def text(self, repository: str, reference: str) -> tuple[bytes, str]:
        """A manifest as it stands there, and its digest."""
        data, _ = self._ask("GET", repository, f"manifests/{reference}")
        return data, digest_of(data)

    def blob(self, repository: str, digest: str) -> bytes:
        return self._ask("GET", repository, f"blobs/{digest}")[0]

    def push_blob(self, repository: str, data: bytes) -> str:
        digest = digest_of(data)
        try:
            self._ask("HEAD", repository, f"blobs/{digest}")
        except Missing:
            _, headers = self._ask("POST", repository, "blobs/uploads/", body=b"")
            place = self._absolute(repository, headers["Location"])
            place += ("&" if "?" in place else "?") + f"digest={digest}"
            self._send("PUT", repository, place, body=data, kind="application/octet-stream")
        return digest

    def push_manifest(self, repository: str, reference: str, manifest: Mapping[str, Any]) -> str:
        data = json.dumps(manifest, sort_keys=True).encode()
        self._ask("PUT", repository, f"manifests/{reference}", body=data, kind=str(manifest["mediaType"]))
        return digest_of(data)

    # -- requests --------------------------------------------------------------------------------

    def _url(self, repository: str) -> tuple[str, str]:
        host, _, path = repository.partition("/")
        return f"{'http' if host in self._insecure else 'https'}://{host}", path

    def _absolute(self, repository: str, location: str) -> str:
        return urljoin(f"{self._url(repository)[0]}/", location)

    def _ask(self, method: str, repository: str, what: str, **more: Any) -> tuple[bytes, Mapping[str, str]]:
        root, path = self._url(repository)
        return self._send(method, repository, f"{root}/v2/{path}/{what}", **more)

    def _send(
        self, method: str, repository: str, url: str, body: bytes | None = None, kind: str | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        host = repository.partition("/")[0]
        request = urllib.request.Request(  # noqa: S310
            url, data=body, method=method, headers={"Accept": ACCEPT}
        )
        if host in self._auths:
            request.add_header("Authorization", f"Basic {self._auths[host]}")
        if kind:
            request.add_header("Content-Type", kind)
        try:
            opened = urllib.request.urlopen(request, timeout=30, context=self._tls(host))  # noqa: S310
            with opened as answer:
                return answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            raise _refused(method, url, error) from None
        except (urllib.error.URLError, OSError) as error:
            raise RegistryError(f'{method.title()} "{url}": {_reason(url, error)}') from None

    def _tls(self, host: str) -> ssl.SSLContext | None:
        if host in self._insecure:
            return None
        context = ssl.create_default_context()
        if host in self._authorities:
            context.load_verify_locations(self._authorities[host])
        if host in self._unverified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def auth(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def split(name: str) -> tuple[str, str]:
    """``HOST/PATH:TAG`` or ``…@DIGEST`` → repository and reference."""
    if "@" in name:
        repository, _, digest = name.partition("@")
        return repository, digest
    repository, colon, tag = name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name, "latest")


def _refused(method: str, url: str, error: urllib.error.HTTPError) -> RegistryError:
    text = error.read().decode("utf-8", "replace")
    try:
        said = "; ".join(f"{each['code']}: {each['message']}" for each in json.loads(text)["errors"])
    except (ValueError, KeyError, TypeError):
        said = f"unexpected status code {error.code} {error.reason}"
    kind = Missing if error.code == 404 else RegistryError
    return kind(f"{method} {url}: {said}")


def _reason(url: str, error: Exception) -> str:
    reason = getattr(error, "reason", error)
    where = urlsplit(url).netloc
    if isinstance(reason, ssl.SSLCertVerificationError):
        return "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    if isinstance(reason, ConnectionRefusedError):
        return f"dial tcp {where}: connect: connection refused"
    return f"dial tcp {where}: {reason}"

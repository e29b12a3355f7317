"""How a queue service is reached over HTTP: its address, who we are, and whom we trust."""

from __future__ import annotations

import ipaddress
import os
import stat
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

import attrs

from launchcore.plugin import Fault, LaunchError, Reason, Secret, setting

_HINT: Final = "a queue service is http(s)://HOST[:PORT][/PATH], or sqlite:///ABSOLUTE/PATH.db"
MAX_TOKEN_BYTES: Final = 4096


@attrs.frozen(kw_only=True)
class HttpSettings:
    """How an agent or a command reaches a queue service.

    The first six are keys of the configuration itself, and need not be repeated here.
    """

    token: Secret | None = setting("The token; it comes before `token_file`.", default=None)
    token_file: Path | None = setting(
        "A file with the token. It is read again when the service refuses the token.", default=None
    )
    ca_file: Path | None = setting(
        "Certificates of the authorities to trust, in PEM, instead of the system's.", default=None
    )
    client_certificate: Path | None = setting(
        "Our certificate, in PEM, for a service that asks.", default=None
    )
    client_key: Path | None = setting("The key of `client_certificate`, if it is not in there.", default=None)
    allow_plain_http: bool = setting("Send the token without encryption, to other hosts too.", default=False)
    connect_seconds: float = setting("How long a connection may take to be made.", default=5.0)
    read_seconds: float = setting(
        "How long an answer may take, beyond the time it is asked to wait.", default=30.0
    )
    connections: int = setting("How many connections are kept open.", default=32)


@attrs.frozen(kw_only=True)
class Address:
    """Where the service is. ``url`` has no ``/`` at its end."""

    url: str
    scheme: str
    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether what is sent there stays on this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def same_origin(self, url: str) -> bool:
        """Whether ``url`` is at the same scheme, host and port: the only place where the token may go."""
        try:
            other = _split(url)
        except ValueError:
            return False
        return (other.scheme, other.hostname, _port(other)) == (self.scheme, self.host, self.port)


def parse_address(url: str) -> Address:
    """Read a ``base_url``.

    :raises LaunchError: ``config_error`` (user): it is no address of a service.

    >>> parse_address("https://launch.example.com/").url
    'https://launch.example.com'
    """
    try:
        parts = _split(url)
        port = _port(parts)
    except ValueError:
        raise _refused(f"{url[:200]!r} is no URL", _HINT) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _refused(f"{url[:200]!r} is no address of a queue service", _HINT)
    if parts.username is not None or parts.password is not None:
        raise _refused(
            "the URL of the queue service has a login in it",  # and is not repeated, for the same reason
            "leave it out, and use a token: token_file in the configuration, or LAUNCHCORE_TOKEN",
        )
    if parts.query or parts.fragment:
        raise _refused(f"{url[:200]!r} has more than a path", _HINT)
    return Address(url=url.rstrip("/"), scheme=parts.scheme, host=parts.hostname, port=port)


def read_token(settings: HttpSettings) -> Secret | None:
    """The token, from the settings or its file; ``None``: there is none.

    :raises LaunchError: ``config_error``: the file cannot be read, or has no token in it.
    """
    if settings.token is not None:
        return _checked(settings.token.reveal(), "the token")
    if settings.token_file is None:
        return None
    path = settings.token_file.expanduser()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _refused(f"token_file: {path} is not a regular file", "name the file with the token")
            data = file.read(MAX_TOKEN_BYTES + 1)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise _refused(f"token_file: {path} cannot be read: {why}", "mend it, or name another") from None
    return _checked(data.decode("utf-8", "replace"), f"token_file: {path}")


def check_door(address: Address, settings: HttpSettings, token: Secret | None) -> None:
    """Refuse to send a token where others can read it.

    :raises LaunchError: ``config_error`` (user).
    """
    if (
        token is not None
        and address.scheme == "http"
        and not address.loopback
        and not settings.allow_plain_http
    ):
        raise _refused(
            f"{address.url} is not encrypted: the token would go over the network in clear",
            f"use https://{address.host}, or allow_plain_http: true if the network itself is secure",
        )
    for key in ("ca_file", "client_certificate", "client_key"):
        path: Path | None = getattr(settings, key)
        if path is not None and not path.expanduser().is_file():
            raise _refused(f"{key}: {path} is not a file", f"mend {key} in the configuration")
    if settings.client_key is not None and settings.client_certificate is None:
        raise _refused("client_key is of no use without client_certificate", "name the certificate, too")


def _checked(text: str, what: str) -> Secret:
    """A token is one word of visible characters; anything else would break the header it goes in."""
    token = text.strip()
    if (
        not token
        or len(token) > MAX_TOKEN_BYTES
        or not (token.isascii() and token.isprintable())
        or " " in token
    ):
        raise _refused(f"{what} has no token in it", "`launch token create` makes one")
    return Secret(token)


def _split(url: str) -> SplitResult:
    if not url.isprintable() or " " in url or "\\" in url:
        raise ValueError(url)
    return urlsplit(url)


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _refused(detail: str, hint: str) -> LaunchError:
    return LaunchError(detail, reason=Reason.CONFIG_ERROR, fault=Fault.USER, hint=hint)

"""Where a repository is: URLs of strangers, taken apart. Pure.

Everything that git would read as more than an address is refused: transport helpers (``ext::sh -c …``),
options (``--upload-pack=…``), control characters. Credentials are taken out, so that ``url`` can be
shown, logged and put into an argument list.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

import attrs

from launchcore.builtin.text import shown
from launchcore.plugin import LaunchError, Reason, Secret

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_HELPER = re.compile(r"[A-Za-z0-9+.-]*::")
"""What git runs a program for: ``git-remote-ext`` for ``ext::…``."""
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?|\[[0-9A-Fa-f:.]+\]")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_SCP = re.compile(r"(?:(?P<user>[^@/:]+)@)?(?P<host>\[[^\]/]+\]|[^:/@]+):(?P<path>[^:].*)")


@attrs.frozen(kw_only=True)
class Address:
    """A repository's address. ``url`` holds no credentials; ``host`` is in lower case, without a port."""

    protocol: str
    url: str
    host: str | None = None
    port: int | None = None
    username: str | None = None
    password: Secret | None = None
    numbers: tuple[str, ...] = ()
    """The only IP addresses that the host may have, when they were checked: no second look-up."""

    @property
    def site(self) -> str:
        """``host`` or ``host:port``: how settings name it."""
        return f"{self.host}:{self.port}" if self.port else f"{self.host}"

    @property
    def origin(self) -> str:
        """``https://host:port``: the scope that a credential is good for."""
        return f"{self.protocol}://{self.site}"


def parse(text: str) -> Address:
    """Take a URL, ``user@host:path`` or an absolute path apart.

    :raises ValueError: not an address; the text never repeats a password.
    """
    path = text.startswith("/")
    if not text or not text.isprintable() or (not path and (" " in text or "\\" in text)):
        raise ValueError("must be a URL without spaces, backslashes and control characters")
    if text.startswith("-"):
        raise ValueError("must not begin with '-'")
    if len(text) > 2048:
        raise ValueError("must have at most 2048 characters")
    if (scheme := _SCHEME.match(text)) is not None:
        return _url(scheme[1].lower(), text[scheme.end() :])
    if _HELPER.match(text) is not None:
        raise ValueError(f"must not name a transport helper: {shown(text.partition('::')[0], 40)}::")
    if path:
        return Address(protocol="file", url=text)
    if (scp := _SCP.fullmatch(text)) is not None and not text.startswith((".", "~")):
        host, user = _host(scp["host"]), scp["user"]
        if user is not None and not _USER.fullmatch(user):
            raise ValueError("must have a plain user name before '@'")
        if scp["path"].startswith("-"):
            raise ValueError("must not have a path that begins with '-'")
        return Address(protocol="ssh", url=text, host=host)
    raise ValueError(f"must be a URL, user@host:path or an absolute path, not {shown(text, 80)}")


def _url(protocol: str, rest: str) -> Address:
    authority, slash, path = rest.partition("/")
    if protocol == "file":
        if authority not in ("", "localhost"):
            raise ValueError("must be file:///PATH: a file has no host")
        return Address(protocol="file", url=f"file:///{path}")
    if not slash or not path.strip("/"):
        raise ValueError("must have a path after the host")
    userinfo, at, location = authority.rpartition("@")
    host, port = _location(location)
    username, colon, password = userinfo.partition(":")
    site = f"{host}:{port}" if port else host
    if protocol == "ssh":
        if colon or path.startswith("-"):
            raise ValueError("must not hold a password: ssh uses keys")
        if at and not _USER.fullmatch(username):
            raise ValueError("must have a plain user name before '@'")
        return Address(protocol="ssh", url=f"ssh://{userinfo}{at}{site}/{path}", host=host, port=port)
    return Address(
        protocol=protocol,
        url=f"{protocol}://{site}/{path}",
        host=host,
        port=port,
        username=_decoded(username) if at else None,
        password=Secret(_decoded(password)) if colon else None,
    )


def _location(text: str) -> tuple[str, int | None]:
    host, colon, port = text.rpartition(":")
    if not colon or "]" in port:
        return _host(text), None
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise ValueError(f"must have a port from 1 to 65535, not {shown(port, 20)}")
    return _host(host), int(port)


def _host(text: str) -> str:
    if len(text) > 255 or not _HOST.fullmatch(text):
        raise ValueError(f"must have the name of a host, not {shown(text, 60)}")
    return text.lower()


def _decoded(text: str) -> str:
    plain = unquote(text)
    if not plain.isprintable():
        raise ValueError("must not have control characters in its user name or password")
    return plain


def beside(base: Address, relative: str) -> Address:
    """A submodule's address: absolute, or (``./``, ``../``) relative to its superproject's.

    :raises ValueError: not an address, or it climbs above the superproject's host.
    """
    if not relative.startswith(("./", "../")):
        return parse(relative)
    scheme = _SCHEME.match(base.url)
    if scheme is not None:
        authority, _, path = base.url[scheme.end() :].partition("/")
        head, separator = f"{base.url[: scheme.end()]}{authority}", "/"
    elif base.protocol == "ssh":
        head, separator, path = base.url.partition(":") if "]" not in base.url else _cut_ipv6(base.url)
    else:
        head, separator, path = "", "/", base.url.lstrip("/")
    parts = [part for part in path.split("/") if part]
    rooted = "/" if scheme is None and base.protocol == "ssh" and path.startswith("/") else ""
    for part in relative.split("/"):
        if part == "..":
            if not parts:
                raise ValueError("must not climb above its superproject's host")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    address = parse(f"{head}{separator}{rooted}{'/'.join(parts)}")
    return attrs.evolve(address, username=base.username, password=base.password)


def _cut_ipv6(url: str) -> tuple[str, str, str]:
    head, bracket, rest = url.partition("]")
    return f"{head}{bracket}", ":", rest.removeprefix(":")


def check_allowed(address: Address, protocols: tuple[str, ...], *, local: bool) -> None:
    """:raises LaunchError: ``source_failed``: this agent does not use that protocol."""
    if address.protocol in protocols or (local and address.protocol == "file"):
        return
    if address.protocol == "file":
        detail = f"{shown(address.url)} is a path on the agent's machine, which a run may not read"
        hint = "push the repository to a server, or submit the directory itself"
    else:
        detail = f"{shown(address.url)}: the protocol {shown(address.protocol, 20)} is not allowed"
        hint = f"use one of: {', '.join(protocols)}; the agent's owner sets plugins.git.protocols"
    raise LaunchError(detail, reason=Reason.SOURCE_FAILED, hint=hint)


def read_address(url: str) -> Address:
    """Like :func:`parse`, for a run's own URL.

    :raises LaunchError: ``source_failed``.
    """
    try:
        return parse(url)
    except ValueError as error:
        raise LaunchError(f"source git: 'url' {error}", reason=Reason.SOURCE_FAILED) from error

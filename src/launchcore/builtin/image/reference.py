"""The grammar of image references, as the OCI distribution specification and its reference
implementation (``distribution/reference``) have it. Pure."""

from __future__ import annotations

import re

import attrs

from launchcore.builtin.text import shown

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?")
_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


@attrs.frozen(kw_only=True)
class Reference:
    """A reference in its parts. ``host`` is ``None`` when it was not said."""

    host: str | None
    path: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """Without tag and digest."""
        return f"{self.host}/{self.path}" if self.host else self.path

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}{f'@{self.digest}' if self.digest else ''}"


def parse(text: object) -> Reference:
    """Read a reference.

    >>> parse("localhost:5000/team/train:1.2").host
    'localhost:5000'

    :raises ValueError: not a reference; says what is wrong with it.
    """
    if not isinstance(text, str) or not text:
        raise ValueError("must be the name of an image, like 'python:3.12-slim'")
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _bad(text, "after '@' comes a digest, 'sha256:' and 64 hex digits")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:  # the colon of a port, or none
        head, colon, tag = rest, "", ""
    if colon and not _TAG.fullmatch(tag):
        raise _bad(text, f"the tag {shown(tag, 40)} is not one")
    host, path = _split_host(head)
    if host is not None and not _HOST.fullmatch(host):
        raise _bad(text, f"{shown(host, 60)} is not the name of a registry")
    if len(head) > 255:
        raise _bad(text, "the name is longer than 255 characters")
    for part in path.split("/"):
        if not _PART.fullmatch(part):
            lower = f"; perhaps {shown(text.lower(), 60)}" if part != part.lower() else ""
            raise _bad(text, f"{shown(part, 40)} is not a part of an image's name{lower}")
    return Reference(host=host, path=path, tag=tag or None, digest=digest or None)


def _bad(text: str, why: str) -> ValueError:
    return ValueError(f"must be an image, not {shown(text, 80)}: {why}")


def _split_host(head: str) -> tuple[str | None, str]:
    """The first part is a registry when it has a dot, a colon or a capital, or is ``localhost``."""
    first, slash, path = head.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first or first != first.lower()):
        return first, path
    return None, head

"""What a registry wants before it answers: the WWW-Authenticate header (RFC 9110, section 11.6.1). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'\s*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))\s*')
_SCHEME = re.compile(rf"\s*({_WORD})(?:\s+|\s*(?=,)|\s*$)")


@attrs.frozen(kw_only=True)
class Challenge:
    """One way to prove who we are. ``scheme`` and the parameters' names are in small letters."""

    scheme: str
    parameters: Mapping[str, str] = attrs.field(factory=dict)


def challenges(header: str) -> list[Challenge]:
    """All challenges of a header, in their order; what cannot be read ends the list.

    >>> challenges('Bearer realm="https://auth.example/token",service="a",Basic realm="b"')[1].scheme
    'basic'
    """
    found: list[Challenge] = []
    at = 0
    while at < len(header):
        while at < len(header) and header[at] in ", \t":
            at += 1
        scheme = _SCHEME.match(header, at)
        if scheme is None or _PARAMETER.match(header, at):
            break
        at = scheme.end()
        parameters: dict[str, str] = {}
        while match := _PARAMETER.match(header, at):
            quoted = match[2]
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else match[3]
            parameters.setdefault(match[1].lower(), value)
            at = match.end()
            if header[at : at + 1] == ",":
                after = at + 1
                if not _PARAMETER.match(header, after):
                    break
                at = after
        found.append(Challenge(scheme=scheme[1].lower(), parameters=parameters))
    return found


def pull_scope(path: str) -> str:
    """The right to read one repository."""
    return f"repository:{path}:pull"

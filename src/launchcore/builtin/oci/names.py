"""Where an image is asked for: a reference → registry, path and what of it. Pure."""

from __future__ import annotations

import ipaddress

import attrs

from launchcore.builtin.image.reference import Reference, parse

HUB = "docker.io"
HUB_API = "registry-1.docker.io"
HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")
"""What Docker Hub is called in Docker's config.json, the usual spelling first."""


@attrs.frozen(kw_only=True)
class Place:
    """An image in a registry. ``what`` is a digest or a tag."""

    host: str
    path: str
    what: str

    @property
    def api(self) -> str:
        """The host that speaks the protocol."""
        return HUB_API if self.host == HUB else self.host


def place(name: str, digest: str | None = None) -> Place:
    """Where ``name`` is; Docker Hub when it says no host, ``latest`` when it says no tag.

    >>> place("localhost:5000/team/train:1.2")
    Place(host='localhost:5000', path='team/train', what='1.2')
    >>> place("python").path
    'library/python'

    :raises ValueError: no image's name.
    """
    found: Reference = parse(name)
    host = host_of(name)
    path = found.path if host != HUB or "/" in found.path else f"library/{found.path}"
    return Place(host=host, path=path, what=digest or found.digest or found.tag or "latest")


def host_of(name: str) -> str:
    """The registry of an image or repository."""
    host = parse(name).host or HUB
    return HUB if host in HUB_KEYS else host


def is_loopback(host: str) -> bool:
    """This machine itself: plain HTTP goes nowhere else."""
    bare = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    bare = bare.strip("[]")
    if bare == "localhost":
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False

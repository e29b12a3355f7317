"""Which hosts a stranger may send the agent to.

A submodule is chosen by whoever wrote the repository, and git connects to it from inside the agent's
network. So, unless the queue is this machine's own, a submodule's host must be public, or the
superproject's own.
"""

from __future__ import annotations

import ipaddress
import socket

from launchcore.builtin.git.address import Address
from launchcore.builtin.text import shown
from launchcore.plugin import LaunchError, Reason

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def public_addresses(address: Address, *, proxied: bool) -> tuple[str, ...]:
    """The IP addresses of a submodule's host, all of them public. Empty when a proxy looks it up.

    :raises LaunchError: ``source_failed``: it is, or resolves to, a private or loopback address.
    """
    host = (address.host or "").strip("[]").rstrip(".")
    try:
        found = socket.getaddrinfo(host, address.port or 443, type=socket.SOCK_STREAM)
    except OSError as error:
        if proxied:
            return ()
        raise LaunchError(
            f"submodule {shown(address.url)}: the host {shown(host, 60)} is not known",
            reason=Reason.SOURCE_FAILED,
            hint="check the URL in .gitmodules",
        ) from error
    numbers = tuple(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
    if not numbers or not all(map(is_public, numbers)):
        raise LaunchError(
            f"submodule {shown(address.url)}: the host is inside the agent's network",
            reason=Reason.SOURCE_FAILED,
            hint="a submodule must be on a public host, or on the same host as its superproject",
        )
    return numbers


def is_public(number: str) -> bool:
    """Whether an IP address is of the public Internet, seen through every mapping of IPv4 into IPv6."""
    ip = ipaddress.ip_address(number)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            ip = inner
    return ip.is_global and not ip.is_multicast

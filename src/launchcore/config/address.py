"""Where something is to listen, as the configuration writes it."""

from __future__ import annotations

import re
from typing import Final

_HOST: Final = re.compile(r"[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]", re.ASCII)


def address(text: str) -> tuple[str, int]:
    """``HOST:PORT``, ``[IPv6]:PORT`` or ``:PORT`` (all addresses).

    :raises ValueError: it is none of these.

    >>> address("127.0.0.1:9464"), address("[::1]:0"), address(":9464")
    (('127.0.0.1', 9464), ('::1', 0), ('', 9464))
    """
    host, colon, port = text.rpartition(":")
    known = colon and _HOST.fullmatch(host) and port.isascii() and port.isdigit() and len(port) <= 5
    if not known or int(port) > 65535:
        raise ValueError("not HOST:PORT, like 127.0.0.1:9464 (or :9464 for all addresses)")
    return host.removeprefix("[").removesuffix("]"), int(port)

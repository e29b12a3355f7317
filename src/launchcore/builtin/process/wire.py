"""How a runner and a keeper talk: one JSON object a line, over a unix socket.

Requests have an ``op`` and are answered in order, one answer each. After ``watch``, a connection
carries only events, from the keeper.

A keeper may be older than the runner (the agent was upgraded while runs went on), or newer: fields are
only ever added, and whoever reads a new one has a default for it. Standard library only.
"""

from __future__ import annotations

import json
from typing import Any, TypedDict

MAX_LINE = 16 * 1024 * 1024
"""Bytes in one message; Linux takes at most a fraction of this as arguments and environment."""


class TooLong(ValueError):
    """The other side sends a line without end."""


class FileOrder(TypedDict):
    """A secret file to be written before the start."""

    name: str
    content: str
    path_env: str | None


class Order(TypedDict):
    """What ``start`` asks for. ``env`` is complete: the keeper adds nothing but paths of secret files.

    ``start_before`` is in UNIX seconds; ``scratch`` takes secret files where there is no tmpfs.
    """

    attempt: str
    run: str
    queue: str
    owner: str
    argv: list[str]
    env: dict[str, str]
    cwd: str
    scratch: str
    files: list[FileOrder]
    labels: dict[str, str]
    nice: int
    cgroups: bool
    run_seconds: float | None
    memory_bytes: int | None
    grace: float
    start_before: float | None


_JSON = json.JSONEncoder(separators=(",", ":"))


def encode_text(message: Any) -> bytes:
    """Without the line end. Text that is not UTF-8 (surrogates of the file system's encoding) survives."""
    return _JSON.encode(message).encode("ascii")


def encode(message: Any) -> bytes:
    """One line."""
    return encode_text(message) + b"\n"


class Lines:
    """Collects bytes and gives whole messages."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """The messages that ``data`` completes.

        :raises ValueError: not JSON, or :class:`TooLong`.
        """
        self._rest += data
        if b"\n" not in data:
            if len(self._rest) > MAX_LINE:
                raise TooLong
            return []
        *lines, rest = self._rest.split(b"\n")
        self._rest = bytearray(rest)
        return [json.loads(line) for line in lines]

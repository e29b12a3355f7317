"""What has no place in a request, secrets above all: files in S3 that come as an input channel. Pure.

SageMaker copies the objects into :data:`launch_sagemaker.names.CHANNEL_FOLDER` before the container starts,
whose entry point is the script ``start`` among them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote, unquote

import attrs

from launch_sagemaker.names import CHANNEL_FOLDER
from launchcore.plugin import Secret

START: Final = "start"
ENTRYPOINT: Final = ("/bin/sh", f"{CHANNEL_FOLDER}/{START}")
MAX_BYTES: Final = 1024 * 1024
"""Of one file."""
UNSETTABLE: Final = frozenset(
    {"BASHOPTS", "BASH_VERSINFO", "EUID", "OPTIND", "PPID", "SHELLOPTS", "UID"},
)
"""Variables that one shell or another keeps to itself: the script would end where it sets them."""


@attrs.frozen(kw_only=True)
class Bundle:
    """``files``: the name of the object below the bundle's URL (``start``, ``files/NAME``) → its content."""

    files: Mapping[str, Secret]

    def too_large(self) -> tuple[str, ...]:
        """Names of the files that are larger than :data:`MAX_BYTES`."""
        return tuple(name for name, text in self.files.items() if len(text.reveal().encode()) > MAX_BYTES)


def start_script(variables: Mapping[str, Secret], words: Sequence[str]) -> Secret:
    """A script for any POSIX shell that sets ``variables`` and becomes ``words``.

    The shell is replaced, so that signals reach the program, and its exit code is the container's. Values
    are in no command line: ``export`` is a part of the shell.

    :param variables: names that :func:`settable` accepts, values without zero bytes.
    :param words: at least one; the first is a program, and no option.
    """
    lines = ["#!/bin/sh", "set +x"]
    lines += [f"export {name}={shlex.quote(value.reveal())}" for name, value in variables.items()]
    lines.append("exec " + " ".join(map(shlex.quote, words)))
    return Secret("\n".join(lines) + "\n")


def settable(name: str) -> bool:
    """Whether the script can set a variable of this name, whatever shell it is read by."""
    return re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name, re.ASCII) is not None and name not in UNSETTABLE


def file_name(name: str) -> str:
    """One component of a path, nothing odd, the same every time.

    >>> file_name("../a b")
    '.._a_b'
    """
    clean = re.sub(r"[^A-Za-z0-9_.-]", "_", name, flags=re.ASCII)[:200]
    return clean if clean.strip(".") else f"_{clean}"


def place(store: str, owner: str, attempt_id: str) -> str:
    """The URL that an attempt's bundle is below.

    >>> place("s3://bucket/launch/", "queues", "7h2k-1")
    's3://bucket/launch/queues/7h2k-1/'
    """
    return f"{store.rstrip('/')}/{segment(owner)}/{segment(attempt_id)}/"


def segment(text: str) -> str:
    """``text`` as one part of a URL, from which :func:`unsegment` makes it again.

    >>> segment("7h2k-1"), segment("a/b"), segment("..")
    ('7h2k-1', 'a=2Fb', '=2E=2E')
    """
    if not text.strip("."):
        return "=2E" * len(text) or "="
    return quote(text, safe="", errors="surrogatepass").replace("~", "%7E").replace("%", "=")


def unsegment(text: str) -> str:
    """
    >>> unsegment("a=2Fb")
    'a/b'
    """
    return "" if text == "=" else unquote(text.replace("=", "%"), errors="surrogatepass")

"""What an agent and a run say about git."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from launchcore.builtin.fields import a_digest, a_subdir, a_truth, check_text, positive
from launchcore.builtin.git.address import parse
from launchcore.plugin import setting

PROTOCOLS = ("https", "ssh", "http", "git", "file")

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_UNFIT_REF = re.compile(r"[ ~^:?*\[\\]|\.\.|@\{|//|^/|/$|\.$|\.lock$|^@$|(^|/)\.")
"""git-check-ref-format(1): what no name of a branch or tag has. Keeps revision syntax and globs out."""


def _known_protocols(_: Any, attribute: Any, value: Any) -> None:
    for name in value:
        if name not in PROTOCOLS:
            raise ValueError(f"'{attribute.name}' must be of {', '.join(PROTOCOLS)}, not {name!r}")


def _not_negative(_: Any, attribute: Any, value: Any) -> None:
    if value < 0:
        raise ValueError(f"'{attribute.name}' must not be negative")


def _a_url(_: Any, attribute: Any, value: Any) -> None:
    check_text(attribute.name, value, longest=2048)
    try:
        address = parse(value)
    except ValueError as error:
        raise ValueError(f"'{attribute.name}' {error}") from None
    if address.username is not None or address.password is not None:
        raise ValueError(
            f"'{attribute.name}' must not hold a user name or password, since runs are stored in clear: "
            f"use {address.url}, and give the agent the token in plugins.git.credentials"
        )


def _a_ref(_: Any, attribute: Any, value: Any) -> None:
    if value is None:
        return
    check_text(attribute.name, value, longest=255)
    if _UNFIT_REF.search(value):
        raise ValueError(f"'{attribute.name}' must be a branch, a tag or a commit, not {value!r}")


def _a_commit(_: Any, attribute: Any, value: Any) -> None:
    if value is not None and not (isinstance(value, str) and _COMMIT.fullmatch(value)):
        raise ValueError(f"'{attribute.name}' must be a full commit: 40 (or 64) hex digits in lower case")


@attrs.frozen(kw_only=True)
class Credential:
    """A token for one host: exactly one of ``token_env`` and ``token_file``."""

    username: str = setting("The user name that goes with the token.", default="x-access-token")
    token_env: str | None = setting(
        "The name of a variable in the agent's environment that holds the token.", default=None
    )
    token_file: Path | None = setting("The path of a file that holds the token.", default=None)

    def __attrs_post_init__(self) -> None:
        if (self.token_env is None) == (self.token_file is None):
            raise ValueError("must have exactly one of token_env and token_file")


@attrs.frozen(kw_only=True)
class GitSettings:
    """``plugins.git``."""

    protocols: tuple[str, ...] = setting(
        "The protocols that may be used: https, ssh, http, git, file. Runs that were submitted on the "
        "agent's own machine may use file as well.",
        default=("https", "ssh"),
        validator=_known_protocols,
    )
    credentials: Mapping[str, Credential] = setting(
        "Tokens for https, by host (`github.com`, `git.example.com:8443`).", factory=dict
    )
    ssh_key_file: Path | None = setting(
        "The private key for ssh; without it, ssh chooses as its own configuration says.", default=None
    )
    known_hosts_file: Path | None = setting(
        "The host keys to accept; without it, the key of a host that is new is accepted and remembered.",
        default=None,
    )
    timeout_seconds: float = setting("The most seconds for one fetch.", default=900.0, validator=positive)
    max_bytes: int = setting(
        "The most bytes of one repository, as fetched and as checked out.",
        default=8 << 30,
        validator=positive,
    )
    max_files: int = setting("The most files of one checkout.", default=200_000, validator=positive)
    depth: int = setting(
        "How many commits of history to fetch; 0 means all.", default=1, validator=_not_negative
    )
    cache_bytes: int = setting(
        "About how many bytes of repositories, and of checkouts, to keep for later runs.",
        default=20 << 30,
        validator=positive,
    )


@attrs.frozen(kw_only=True)
class GitFields:
    """``source: {type: git, url: …, ref: main}``."""

    url: str = setting("Where the repository is: https, ssh, or user@host:path.", validator=_a_url)
    ref: str | None = setting(
        "A branch, a tag, or a full or short commit; without it, the remote's default branch.",
        default=None,
        validator=_a_ref,
    )
    commit: str | None = setting(
        "The full commit that `ref` was resolved to.", default=None, validator=_a_commit
    )
    subdir: str | None = setting(
        "The directory in it that the run works in.", default=None, validator=a_subdir
    )
    patch: str | None = setting(
        "The digest of an uploaded patch of local changes, as `sha256:HEX`.",
        default=None,
        validator=a_digest,
    )
    submodules: bool = setting("Fetch submodules as well.", default=True, validator=a_truth)


def is_commit(text: str) -> bool:
    """Whether this is a full commit."""
    return _COMMIT.fullmatch(text) is not None


def check_ref(ref: str | None) -> None:
    """:raises ValueError: no name of a branch, tag or commit."""
    _a_ref(None, attrs.fields(GitFields).ref, ref)

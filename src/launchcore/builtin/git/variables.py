"""The environment of a git process: only what it needs, and nothing that a repository can use.

No configuration of the machine or the user, no hooks, no file-system monitor, no filters, no prompts,
no credential helper but ours; protocols by an explicit list, which also covers redirects. A token is
in git's environment only, and git gives it to its own origin only: never to a redirect's target.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping

from launchcore.builtin.git.address import Address
from launchcore.builtin.git.settings import GitSettings
from launchcore.builtin.text import shown
from launchcore.plugin import LaunchError, Reason, Secret

_PASSED = (
    *("PATH", "TMPDIR", "TZ", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO"),
    *("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"),
)
_PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")

_HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" '
    '"$LAUNCHCORE_GIT_USERNAME" "$LAUNCHCORE_GIT_PASSWORD"; }; f'
)
"""A credential helper in the shell's own words: ``printf`` is built in, so nothing is in an argv."""

_CONFIG = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.askPass": "",
    "core.protectHFS": "true",
    "core.protectNTFS": "true",
    "core.pager": "cat",
    "credential.helper": "",
    "fetch.fsckObjects": "true",
    "transfer.fsckObjects": "true",
    # Old tools wrote these; they are in the history of well-known repositories, and harmless.
    "fetch.fsck.badTimezone": "ignore",
    "fetch.fsck.missingSpaceBeforeDate": "ignore",
    "fetch.fsck.zeroPaddedFilemode": "ignore",
    "fetch.unpackLimit": "1",
    "fetch.recurseSubmodules": "false",
    "submodule.recurse": "false",
    "filter.lfs.smudge": "",
    "filter.lfs.process": "",
    "filter.lfs.clean": "",
    "filter.lfs.required": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "protocol.version": "2",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "120",
    "advice.detachedHead": "false",
}

_ALLOC_LIMIT = "2g"
"""git's own bound on one allocation: a delta that unpacks to terabytes is refused."""


def scrubbed(
    settings: GitSettings,
    *,
    local: bool,
    address: Address | None = None,
    secret: Secret | None = None,
    username: str | None = None,
) -> dict[str, str]:
    """The whole environment for one git process.

    :param secret: the token for ``address``, from :func:`token_for`.
    """
    protocols = (*settings.protocols, *(("file",) if local and "file" not in settings.protocols else ()))
    config = dict(_CONFIG)
    # A redirect leads where its server wants. GitHub redirects renamed repositories, so that one's own
    # queue follows the first; strangers have to name the new URL.
    config["http.followRedirects"] = "initial" if local else "false"
    values = {name: os.environ[name] for name in _PASSED if name in os.environ}
    if address is not None and secret is not None:
        config[f"credential.{address.origin}.helper"] = _HELPER
        values["LAUNCHCORE_GIT_USERNAME"] = username or "x-access-token"
        values["LAUNCHCORE_GIT_PASSWORD"] = secret.reveal()
    if address is not None and address.numbers:
        config["http.curloptResolve"] = f"{address.host}:{address.port or 443}:{','.join(address.numbers)}"
    return {
        **values,
        "LC_ALL": "C",
        "HOME": os.devnull,  # no ~/.netrc, which curl would read
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": ":".join(protocols),
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_ALLOC_LIMIT": _ALLOC_LIMIT,
        "GIT_SSH_VARIANT": "ssh",
        "GIT_SSH_COMMAND": ssh_command(settings),
        **as_config(config),
    }


def own_checkout() -> dict[str, str]:
    """The environment for git in a user's own checkout: their configuration, but no hook or monitor."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    config = {"core.fsmonitor": "false", "core.hooksPath": os.devnull, "core.pager": "cat"}
    return {
        **kept,
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        **as_config(config),
    }


def as_config(config: Mapping[str, str]) -> dict[str, str]:
    """Configuration through the environment (git 2.31 and later): it outranks every file."""
    found = {"GIT_CONFIG_COUNT": str(len(config))}
    for index, (key, value) in enumerate(config.items()):
        found[f"GIT_CONFIG_KEY_{index}"] = key
        found[f"GIT_CONFIG_VALUE_{index}"] = value
    return found


def ssh_command(settings: GitSettings) -> str:
    """How git calls ssh: never asking, never forwarding anything."""
    options = [
        *("BatchMode=yes", "ConnectTimeout=20", "ServerAliveInterval=15", "ServerAliveCountMax=4"),
        *("ForwardAgent=no", "ForwardX11=no", "ClearAllForwardings=yes", "PermitLocalCommand=no"),
    ]
    if settings.known_hosts_file is not None:
        # Quoted once more: ssh itself splits the value at spaces.
        options += ["StrictHostKeyChecking=yes", f'UserKnownHostsFile="{settings.known_hosts_file}"']
    else:
        options += ["StrictHostKeyChecking=accept-new"]
    words = ["ssh", *(word for option in options for word in ("-o", option))]
    if settings.ssh_key_file is not None:
        words += ["-i", str(settings.ssh_key_file), "-o", "IdentitiesOnly=yes"]
    return shlex.join(words)


def proxied() -> bool:
    """Whether https goes through a proxy."""
    return any(os.environ.get(name) for name in _PROXIES)


def token_for(address: Address, settings: GitSettings) -> tuple[str | None, Secret | None]:
    """The user name and token for an address: those of its URL, else those that the settings have.

    :raises LaunchError: ``config_error``: the token that is configured is not there.
    """
    if address.protocol not in ("http", "https"):
        return None, None
    if address.password is not None:
        return address.username, address.password
    known = settings.credentials.get(address.site) or settings.credentials.get(address.host or "")
    if known is None:
        # https://TOKEN@host, as some servers have it: the user name is the secret.
        return (address.username, Secret("")) if address.username else (None, None)
    if known.token_env is not None:
        text, where = os.environ.get(known.token_env, ""), f"the variable {known.token_env}"
    else:
        assert known.token_file is not None
        where = f"the file {known.token_file}"
        try:
            text = known.token_file.expanduser().read_text()
        except OSError as error:
            text, where = "", f"{where} ({error.strerror})"
    text = text.strip()
    if not text or not text.isprintable():
        raise LaunchError(
            f"there is no token for {shown(address.site, 60)} in {where}",
            reason=Reason.CONFIG_ERROR,
            hint=f"set it, or correct plugins.git.credentials.{address.site} of the agent",
        )
    return known.username, Secret(text)

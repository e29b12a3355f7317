"""Which login belongs to a registry: the settings', or what Docker's own configuration has for it."""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launchcore.builtin.oci.names import HUB, HUB_KEYS, host_of
from launchcore.builtin.oci.settings import OciSettings
from launchcore.plugin import CredentialHelper, Fault, LaunchError, Login, Reason, Secret

IDENTITY = "<token>"
"""The user's name that says: the password is an identity token (Docker's own convention)."""
HELPER_SECONDS = 30.0


def login_for(
    host: str, settings: OciSettings, environ: Mapping[str, str] | None = None
) -> Login | CredentialHelper | None:
    """The login for ``host``, if there is one. The settings' login is for their own registry only.

    :raises LaunchError: ``config_error``: a login is configured and cannot be read.
    """
    variables = os.environ if environ is None else environ
    if host == own_host(settings):
        if settings.username is not None:
            return Login(host=host, username=settings.username, password=_password(settings, variables))
        if settings.credential_helper is not None:
            return CredentialHelper(host=host, helper=settings.credential_helper)
    return _of_docker(host, variables) if settings.docker_config else None


def own_host(settings: OciSettings) -> str | None:
    """The registry that the settings' login is for."""
    if settings.host is not None:
        return host_of(f"{settings.host}/x")
    return host_of(settings.repository) if settings.repository is not None else None


def _password(settings: OciSettings, environ: Mapping[str, str]) -> Secret:
    if settings.password_env is not None:
        value = environ.get(settings.password_env, "")
        if not value:
            raise _unreadable(
                f"the registry's password is to be in the variable {settings.password_env}, "
                "which is not set or empty",
                "set it in the agent's environment",
            )
        return Secret(value)
    file = Path(str(settings.password_file)).expanduser()
    try:
        value = file.read_text().strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise _unreadable(
            f"the registry's password cannot be read from {file}: {why}",
            "look at `registry.password_file` and the file's permissions",
        ) from None
    if not value:
        raise _unreadable(f"the registry's password file {file} is empty", "write the password into it")
    return Secret(value)


def _of_docker(host: str, environ: Mapping[str, str]) -> Login | CredentialHelper | None:
    """https://docs.docker.com/reference/cli/docker/login/#credential-stores"""
    folder = environ.get("DOCKER_CONFIG") or f"{environ.get('HOME', '')}/.docker"
    file = Path(folder, "config.json")
    try:
        config = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None  # nothing was configured for us
    except (OSError, ValueError):
        raise _unreadable(f"{file} cannot be read: it is no JSON", "correct or remove the file") from None
    keys = HUB_KEYS if host == HUB else (host, f"https://{host}", f"https://{host}/", f"https://{host}/v2/")
    helpers, auths = _table(config, "credHelpers"), _table(config, "auths")
    for key in keys:
        if isinstance(helpers.get(key), str):
            return CredentialHelper(host=host, helper=helpers[key])
    for key in keys:
        if isinstance(entry := auths.get(key), dict):
            store = config.get("credsStore")
            found = _of_entry(host, entry, file)
            if found is None and isinstance(store, str) and store:
                return CredentialHelper(host=host, helper=store)
            return found
    return None


def _of_entry(host: str, entry: Mapping[str, Any], file: Path) -> Login | None:
    if token := entry.get("identitytoken"):
        return Login(host=host, username=IDENTITY, password=Secret(str(token)))
    if entry.get("username") and entry.get("password"):
        return Login(host=host, username=str(entry["username"]), password=Secret(str(entry["password"])))
    if not entry.get("auth"):
        return None
    try:
        text = base64.b64decode(str(entry["auth"]), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    user, colon, password = text.partition(":")
    if not colon:
        raise _unreadable(f"the login to {host} in {file} cannot be read", "run `docker login` again")
    return Login(host=host, username=user, password=Secret(password.rstrip("\0")))


def _table(within: Any, key: str) -> Mapping[str, Any]:
    found = within.get(key) if isinstance(within, dict) else None
    return found if isinstance(found, dict) else {}


def ask_helper(login: CredentialHelper) -> Login | None:
    """Ask a credential helper; ``None``: it has none for this registry.

    https://github.com/docker/docker-credential-helpers#development: the server's name goes in on
    standard input, a JSON object with Username and Secret comes out.

    :raises LaunchError: ``config_error``: no such program, or it failed.
    """
    program = f"docker-credential-{login.helper}"
    server = HUB_KEYS[0] if login.host == HUB else login.host
    try:
        done = subprocess.run(
            [program, "get"],
            input=server.encode(),
            capture_output=True,
            timeout=HELPER_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise _unreadable(
            f"the credential helper {program} is not installed", "install it on the agent's PATH"
        ) from None
    except (subprocess.TimeoutExpired, OSError) as error:
        raise _unreadable(
            f"the credential helper {program} failed: {type(error).__name__}", f"try `{program} get` by hand"
        ) from None
    if done.returncode:
        if b"not found" in done.stdout + done.stderr:
            return None
        raise _unreadable(
            f"the credential helper {program} failed with exit code {done.returncode}",
            f"try `echo {server} | {program} get` by hand",
        )
    try:
        answer = json.loads(done.stdout)
        return Login(
            host=login.host, username=str(answer["Username"]), password=Secret(str(answer["Secret"]))
        )
    except (ValueError, KeyError, TypeError):
        raise _unreadable(
            f"the credential helper {program} gave no login", f"try `echo {server} | {program} get` by hand"
        ) from None


def _unreadable(detail: str, hint: str) -> LaunchError:
    return LaunchError(detail, reason=Reason.CONFIG_ERROR, fault=Fault.INFRASTRUCTURE, hint=hint)

"""Docker credential helpers: nodes of a cluster have none, so the agent asks its own.

The protocol is Docker's (https://github.com/docker/docker-credential-helpers#development): the server's name
goes in on standard input, ``{"Username": …, "Secret": …}`` comes out.
"""

from __future__ import annotations

import subprocess
from typing import Final

import attrs
import msgspec

from launch_k8s.manifest_secrets import auth_host
from launch_k8s.settings import RunConfig
from launchcore.plugin import CredentialHelper, Fault, Given, LaunchError, Login, Reason, Secret

TIMEOUT: Final = 60.0
_ABSENT: Final = "credentials not found"


class _Answer(msgspec.Struct, rename={"username": "Username", "secret": "Secret"}):
    username: str
    secret: str


def resolved(given: Given, config: RunConfig) -> Given:
    """``given`` with the logins that helpers have, in place of the helpers. May take seconds.

    :raises LaunchError: ``config_error``: a helper is missing, fails, or has what no pull secret can hold.
    """
    if config.pull_logins == "none":
        return given
    logins = [_ask(each) if isinstance(each, CredentialHelper) else each for each in given.logins]
    return attrs.evolve(given, logins=tuple(each for each in logins if each is not None))


def pretended(given: Given) -> Given:
    """``given`` as it would be when every helper had a login: to show what would be created."""
    logins = [
        Login(host=each.host, username=f"from {each.helper}", password=Secret("not shown"))
        if isinstance(each, CredentialHelper)
        else each
        for each in given.logins
    ]
    return attrs.evolve(given, logins=tuple(logins))


def _ask(login: CredentialHelper) -> Login | None:
    program = f"docker-credential-{login.helper}"
    if "/" in login.helper:
        raise _failed(login, "it is no helper's name")
    server = auth_host(login.host).encode()
    try:
        done = subprocess.run(
            [program, "get"], input=server, capture_output=True, timeout=TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(login, f"{program} cannot be asked: {type(error).__name__}") from None
    if done.returncode:
        # What it printed is not shown: it may hold anything.
        if _ABSENT in (done.stdout + done.stderr).decode("utf-8", "replace"):
            return None
        raise _failed(login, f"{program} has failed with exit code {done.returncode}")
    try:
        answer = msgspec.json.decode(done.stdout, type=_Answer)
    except msgspec.MsgspecError:
        raise _failed(login, f"{program} gives no user name and secret") from None
    if answer.username == "<token>":
        raise _failed(login, f"{program} has an identity token, and nodes can pull with a password only")
    return Login(host=login.host, username=answer.username, password=Secret(answer.secret))


def _failed(login: CredentialHelper, why: str) -> LaunchError:
    return LaunchError(
        f"there is no login to {login.host[:80]}: {why}",
        reason=Reason.CONFIG_ERROR,
        fault=Fault.INFRASTRUCTURE,
        hint="mend the helper on the agent's machine, or let the nodes pull by themselves: the queue's "
        "`pull_logins: none`",
    )

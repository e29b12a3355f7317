"""A build → the command line of ``docker buildx build``. Pure.

Secrets and logins are never in it: a command line is to be seen by everybody on the machine.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import attrs

from launch_docker.build_order import Order
from launch_docker.endpoint import Endpoint


@attrs.frozen(kw_only=True)
class Command:
    """A program with its arguments; the context comes by standard input. ``env`` is added to the agent's."""

    words: tuple[str, ...]
    env: Mapping[str, str] = attrs.field(factory=dict, repr=False)


def command(order: Order, *, progress: str, metadata: str, folder: str, endpoint: Endpoint) -> Command:
    """:param progress: ``rawjson`` or ``plain``.
    :param metadata: the file that the digest is to be written to.
    :param folder: a private directory, which has ``config.json`` with the logins.
    """
    words = ["docker", "buildx", "build", f"--progress={progress}", f"--tag={order.name}"]
    words += [f"--file={order.dockerfile}", f"--metadata-file={metadata}", "--provenance=false"]
    words += [f"--label={name}={value}" for name, value in sorted(order.labels.items())]
    env: dict[str, str] = {}
    for name, value in sorted(order.build_args.items()):
        words.append(f"--build-arg={name}={value}")
    for number, (name, secret) in enumerate(sorted(order.secrets.items())):
        variable = f"LAUNCHCORE_BUILD_SECRET_{number}"
        env[variable] = secret.reveal()
        words.append(f"--secret=id={name},env={variable}")
    words += [f"--platform={order.platform}"] if order.platform else []
    words += [f"--target={order.target}"] if order.target else []
    words += [f"--network={order.network}"] if order.network else []
    words += [f"--builder={order.builder}"] if order.builder else []
    words += ["--pull"] if order.pull else []
    words += [f"--cache-from={each}" for each in order.cache_from]
    words += [f"--cache-to={each}" for each in order.cache_to]
    words += ["--push"] if order.many_platforms else ["--load"]
    return Command(words=(*words, "-"), env={**env, **_engine(endpoint, folder), "DOCKER_CONFIG": folder})


def _engine(endpoint: Endpoint, folder: str) -> dict[str, str]:
    """The same engine that we speak to ourselves, whatever the account's context is."""
    found = {
        "DOCKER_HOST": endpoint.url,
        "DOCKER_CONTEXT": "",
        "DOCKER_TLS_VERIFY": "",
        "DOCKER_CERT_PATH": "",
    }
    if endpoint.tls:
        found |= {"DOCKER_CERT_PATH": folder, "DOCKER_TLS": "1"}
        if endpoint.verify:
            found["DOCKER_TLS_VERIFY"] = "1"
    return found


def config_file(order: Order, plugins: tuple[str, ...]) -> str:
    """``config.json`` for the ``docker`` program: the logins of this build and nothing else."""
    auths = {}
    for host, login in order.logins.items():
        key = "https://index.docker.io/v1/" if host == "docker.io" else host
        if "identitytoken" in login:
            auths[key] = {"identitytoken": login["identitytoken"]}
        else:
            pair = f"{login.get('username', '')}:{login.get('password', '')}"
            auths[key] = {"auth": base64.b64encode(pair.encode()).decode()}
    return json.dumps({"auths": auths, "cliPluginsExtraDirs": list(plugins)})

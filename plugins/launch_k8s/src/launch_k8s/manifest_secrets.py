"""What a run is given in secret → Secrets of the attempt, and how its containers get at them. Pure.

The values stand in these objects and nowhere else. Plain files in memory (a Secret's volume is a tmpfs).
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any, Final

import attrs

from launch_k8s.names import part_name
from launch_k8s.refusal import refused, refused_run
from launch_k8s.settings import RunConfig
from launchcore.plugin import CredentialHelper, Given, LaunchError, Login, Reason, RunPlan, Secret

FOLDER: Final = "/run/launch"
"""Where a container finds its secrets: ``secrets/NAME``, ``files/NAME``."""
MAX_SECRET: Final = 1024 * 1024
"""The API server takes no larger Secret."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_DOCKER_HUB: Final = "https://index.docker.io/v1/"
_HUB_HOSTS: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


@attrs.frozen(kw_only=True)
class SecretParts:
    """``objects`` to create; ``env``, ``volume`` and ``mount`` for the containers that get the secrets."""

    objects: tuple[dict[str, Any], ...] = ()
    env: tuple[dict[str, Any], ...] = ()
    volume: dict[str, Any] | None = None
    mount: dict[str, Any] | None = None
    pull_secret: str | None = None


def secret_parts(plan: RunPlan, given: Given, config: RunConfig) -> SecretParts:
    """:raises LaunchError: a name that cannot be a variable's, too large, a login that no node can use."""
    data: dict[str, str] = {}
    items: list[dict[str, str]] = []
    env: list[dict[str, Any]] = []
    name = part_name(plan.attempt_id, "given")
    for variable in given.env:
        if not isinstance(variable.value, Secret):
            continue
        if not _NAME.fullmatch(variable.name):
            raise refused_run(
                f"{variable.name[:80]!r} is no name for a secret variable", "letters, digits and _"
            )
        key = f"env.{variable.name}"
        data[key] = variable.value.reveal()
        items.append({"key": key, "path": f"secrets/{variable.name}"})
        if config.secrets_as == "environment":
            reference = {"name": name, "key": key}
            env.append({"name": variable.name, "valueFrom": {"secretKeyRef": reference}})
        if f"{variable.name}_FILE" not in plan.env:
            env.append({"name": f"{variable.name}_FILE", "value": f"{FOLDER}/secrets/{variable.name}"})
    for file in given.files:
        clean = file_name(file.name)
        key = f"file.{clean}"
        if key in data:
            raise LaunchError(f"two secret files are called {clean!r}", reason=Reason.PLUGIN_ERROR)
        data[key] = file.content.reveal()
        items.append({"key": key, "path": f"files/{clean}"})
        if file.path_env:
            env.append({"name": file.path_env, "value": f"{FOLDER}/files/{clean}"})
    objects = [_secret(name, "Opaque", data)] if data else []
    pull = _pull_secret(plan, given, config)
    if pull is not None:
        objects.append(pull)
    volume = {"name": "launch-given", "secret": {"secretName": name, "items": items, "defaultMode": 0o444}}
    return SecretParts(
        objects=tuple(objects),
        env=tuple(env),
        volume=volume if data else None,
        mount={"name": "launch-given", "mountPath": FOLDER, "readOnly": True} if data else None,
        pull_secret=pull["metadata"]["name"] if pull else None,
    )


def file_name(name: str) -> str:
    """One component of a path, nothing odd, the same every time.

    >>> file_name("../a b")
    '.._a_b'
    """
    clean = re.sub(r"[^A-Za-z0-9_.-]", "_", name, flags=re.ASCII)[:200]
    return clean if clean.strip(".") else f"_{clean}"


def _pull_secret(plan: RunPlan, given: Given, config: RunConfig) -> dict[str, Any] | None:
    if config.pull_logins == "none":
        return None
    auths = {}
    for login in given.logins:
        if isinstance(login, CredentialHelper):
            if login.optional:
                continue
            raise refused(
                f"the login to {login.host[:80]} is a credential helper's ({login.helper[:40]}), and the "
                "nodes of a cluster have none",
                "let the nodes pull by themselves: `pull_logins: none`, and `image_pull_secrets` if need be; "
                "or give the agent's registry a username and a password",
            )
        auths[auth_host(login.host)] = _auth(login)
    if not auths:
        return None
    content = json.dumps({"auths": auths}, sort_keys=True)
    return _secret(
        part_name(plan.attempt_id, "pull"), "kubernetes.io/dockerconfigjson", {".dockerconfigjson": content}
    )


def auth_host(host: str) -> str:
    """The name under which docker's own files keep a registry's login."""
    return _DOCKER_HUB if host.lower() in _HUB_HOSTS else host


def _auth(login: Login) -> dict[str, str]:
    password = login.password.reveal()
    pair = base64.b64encode(f"{login.username}:{password}".encode()).decode()
    return {"username": login.username, "password": password, "auth": pair}


def _secret(name: str, kind: str, texts: dict[str, str]) -> dict[str, Any]:
    data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    if sum(len(text.encode()) for text in texts.values()) > MAX_SECRET:
        raise refused_run(
            "the run's secrets are larger than 1 MiB together, and the cluster takes no more",
            "use fewer of them",
        )
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": kind,
        "immutable": True,
        "data": data,
    }

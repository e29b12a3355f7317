"""Logins, keys, certificates → one Secret of the cluster, and how the executor gets at it. Pure.

The values stand in this object and nowhere else.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs
from launch_k8s.manifest_secrets import MAX_SECRET, auth_host, file_name

from launch_kaniko.order import Order
from launch_kaniko.places import CONFIG_FOLDER, GIVEN_FOLDER
from launchcore.plugin import CredentialHelper, Fault, LaunchError, Login, Reason, Secret, SecretFile

DOCKER_CONFIG_FILES: Final = frozenset({".dockerconfigjson", "config.json"})
"""Secret files of these names are docker configurations: parts of the one that the executor reads."""
_CONFIG_KEY: Final = "docker-config"


@attrs.frozen(kw_only=True)
class Handed:
    """``secret`` to create; ``volumes`` and ``mounts`` for the executor's container."""

    secret: dict[str, Any]
    volumes: tuple[dict[str, Any], ...]
    mounts: tuple[dict[str, Any], ...]


def hand_over(order: Order, name: str) -> Handed:
    """:raises LaunchError: two values for one registry, a configuration that is none, too large."""
    data = {_CONFIG_KEY: docker_config(order.logins, order.docker_configs)}
    items = []
    for one in order.access:
        if isinstance(one, SecretFile):
            key = f"access.file.{file_name(one.name)}"
            data[key] = one.content.reveal()
            items.append({"key": key, "path": f"access/{file_name(one.name)}"})
        elif isinstance(one.value, Secret):
            data[f"access.env.{one.name}"] = one.value.reveal()
    for secret in sorted(order.secrets):
        key = f"secret.{file_name(secret)}"
        data[key] = order.secrets[secret].reveal()
        items.append({"key": key, "path": f"secrets/{file_name(secret)}"})
    for number, host in enumerate(sorted(order.certificates)):
        data[f"certificate.{number}"] = order.certificates[host]
        items.append({"key": f"certificate.{number}", "path": f"certificates/{number}.pem"})
    config = [{"key": _CONFIG_KEY, "path": "config.json"}]
    wanted = [("launch-docker", CONFIG_FOLDER, config)]
    wanted += [("launch-given", GIVEN_FOLDER, items)] if items else []
    return Handed(
        secret=_secret(name, data),
        volumes=tuple(
            {"name": volume, "secret": {"secretName": name, "items": what, "defaultMode": 0o400}}
            for volume, _, what in wanted
        ),
        mounts=tuple({"name": volume, "mountPath": path, "readOnly": True} for volume, path, _ in wanted),
    )


def docker_config(logins: Iterable[Login | CredentialHelper], whole: Iterable[Secret] = ()) -> str:
    """One docker configuration of all logins (docker's ``config.json``: ``auths``, ``credHelpers``).

    What is contributed as a login wins over a configuration that somebody brought whole.

    :raises LaunchError: ``config_error``: a configuration that is none, or two that disagree.
    """
    found: dict[str, dict[str, Any]] = {"auths": {}, "credHelpers": {}}
    for text in whole:
        for part, entries in _parts(text).items():
            for host, entry in entries.items():
                if found[part].setdefault(host, entry) != entry:
                    raise _refused(f"two docker configurations disagree about {host[:80]!r}")
    for login in logins:
        host = auth_host(login.host)
        found["auths"].pop(host, None)
        found["credHelpers"].pop(host, None)
        if isinstance(login, CredentialHelper):
            found["credHelpers"][host] = login.helper
        else:
            password = login.password.reveal()
            pair = base64.b64encode(f"{login.username}:{password}".encode()).decode()
            found["auths"][host] = {"auth": pair}
    return json.dumps({part: entries for part, entries in found.items() if entries}, sort_keys=True)


def _parts(text: Secret) -> dict[str, Mapping[str, Any]]:
    try:
        said = json.loads(text.reveal())
    except ValueError:
        said = None
    if not isinstance(said, dict) or not all(
        isinstance(said.get(part, {}), dict) for part in ("auths", "credHelpers")
    ):
        raise _refused("a secret file that should be a docker configuration is not JSON with `auths`")
    return {part: said.get(part, {}) for part in ("auths", "credHelpers")}


def _secret(name: str, texts: Mapping[str, str]) -> dict[str, Any]:
    if sum(len(text.encode()) for text in texts.values()) > MAX_SECRET:
        raise _refused("the secrets of a build are larger than 1 MiB together, and the cluster takes no more")
    data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": "Opaque",
        "immutable": True,
        "data": data,
    }


def _refused(detail: str) -> LaunchError:
    return LaunchError(
        detail,
        reason=Reason.CONFIG_ERROR,
        fault=Fault.INFRASTRUCTURE,
        hint="mend what the plugins are configured to contribute to builds",
    )

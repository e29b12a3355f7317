"""What an environment gives for a store → what the storage library is told. Knows no cloud by its name.

The library understands each cloud's own variables, spelled small, and says so of those that it does not know.
The process's environment is never changed; a file is kept in memory, and gone with the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import attrs

from launch_kaniko.store_options import StoreOptions
from launch_kaniko.store_places import StorePlace
from launchcore.plugin import EnvVar, Secret, SecretFile

_KEYS: Final = ("access_key_id", "secret_access_key", "session_token")


@attrs.frozen(kw_only=True)
class Access:
    """Keyword arguments for ``obstore.store.from_url``, and the open files that they name."""

    config: Mapping[str, Any]
    provider: Callable[[], Any] | None = None
    files: Sequence[int] = ()

    def close(self) -> None:
        """Forget the files."""
        for descriptor in self.files:
            os.close(descriptor)


def short(name: str, known: Callable[[str], bool]) -> str | None:
    """The library's own name of a variable: what is left when the cloud's words before it are dropped.

    So that a setting and a variable, or two spellings of a variable, are not taken for two things.

    :param known: whether the library knows a name.
    """
    words = name.lower().split("_")
    tries = ["_".join(words[at:]) for at in [*range(1, len(words)), 0]]
    return next((one for one in tries if known(one)), None)


def access_of(
    access: Sequence[EnvVar | SecretFile], known: Callable[[str], bool], options: Mapping[str, Any]
) -> Access:
    """What ``access`` says of this store; ``options``, what the settings say, wins."""
    config: dict[str, Any] = {}
    files: list[int] = []
    for one in access:
        name = one.path_env if isinstance(one, SecretFile) else one.name
        key = short(name, known) if name else None
        if key is None or key in config or key in options:
            continue
        if isinstance(one, SecretFile):
            files.append(_kept(one))
            config[key] = f"/proc/{os.getpid()}/fd/{files[-1]}"
        else:
            config[key] = one.value.reveal() if isinstance(one.value, Secret) else one.value
    config |= options
    provider = None
    if all(config.get(key) for key in _KEYS[:2]):
        # As one whole: a session token of the agent's own environment must not go with another's key.
        key_id, secret, token = (config.pop(key, None) for key in _KEYS)
        keys = {"access_key_id": key_id, "secret_access_key": secret, "token": token, "expires_at": None}
        provider = lambda: dict(keys)  # noqa: E731
    return Access(config=config, provider=provider, files=tuple(files))


def _kept(file: SecretFile) -> int:
    descriptor = os.memfd_create("launch-access", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as out:
        out.write(file.content.reveal().encode())
    return descriptor


def settings_of(place: StorePlace, options: StoreOptions) -> dict[str, Any]:
    """What the place and the options say, by the library's own names."""
    config: dict[str, Any] = {}
    endpoint = options.endpoint.rstrip("/") if options.endpoint else None
    if place.scheme == "az":
        config["account_name"] = place.account or options.account
        if endpoint is None and place.account and place.suffix != "blob.core.windows.net":
            endpoint = f"https://{place.account}.{place.suffix}"
    if place.scheme == "s3" and endpoint and not options.path_style:
        scheme, _, host = endpoint.partition("://")
        endpoint = f"{scheme}://{place.bucket}.{host}"
        config["virtual_hosted_style_request"] = "true"
    if endpoint:
        config["base_url" if place.scheme == "gs" else "endpoint"] = endpoint
    return config


def client_of(options: StoreOptions) -> dict[str, Any]:
    """``client_options``."""
    return {
        "allow_http": options.allow_http,
        "connect_timeout": timedelta(seconds=options.connect_seconds),
        "timeout": timedelta(seconds=options.request_seconds),
    }


def retry_of(options: StoreOptions) -> dict[str, Any]:
    """``retry_config``."""
    return {
        "max_retries": options.retries,
        "retry_timeout": timedelta(seconds=options.retry_seconds),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=10),
            "base": 2,
        },
    }

"""An order → the executor's command line and variables. Pure.

The flags are those of ``cmd/executor/cmd/root.go``. Each is one word with its value, so that no value can be
taken for a flag; the cluster's own ``$(NAME)`` is taken out of each, or a build argument could read the
variables with the store's keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from launch_k8s.manifest_pod import literal

from launch_kaniko.order import Order, cache_repository, destinations
from launch_kaniko.places import (
    CONFIG_FOLDER,
    CONTEXT_FOLDER,
    access_path,
    certificate_path,
    secret_path,
)
from launchcore.plugin import LaunchError, Reason, Secret, SecretFile

DIGEST_FILE: Final = "/dev/termination-log"
"""The cluster hands on what stands in it: the container's termination message."""
FLAGS: Final[Mapping[str, bool]] = {
    "FF_KANIKO_ROLLING_CACHE_KEY": True,
    "FF_KANIKO_HASH_DIR_FRAMING": True,
    "FF_KANIKO_RESOLVE_CACHE_KEY": True,
    "FF_KANIKO_PLATFORM_CACHE_KEY": True,
    "FF_KANIKO_INFER_CROSS_STAGE_CACHE_KEY": True,
    "FF_KANIKO_COPY_AS_ROOT": True,
    "FF_KANIKO_RUN_MOUNT_SECRET": True,
}
"""Corrections that the executor leaves off for its old users' sake: cache keys under which two contents could
meet, COPY as Dockerfiles define it. A version that does not know one says so and goes on."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def arguments(order: Order) -> list[str]:
    """The whole command line after the program's name."""
    return [literal(f"--{name}={value}") for name, value in _flags(order)]


def _flags(order: Order) -> Iterator[tuple[str, str]]:
    settings = order.settings
    yield "context", order.sight.context
    yield "context-sub-path", CONTEXT_FOLDER
    yield "dockerfile", order.dockerfile
    for name in destinations(order):
        yield "destination", name
    yield "digest-file", DIGEST_FILE
    yield "log-format", "json"
    yield "verbosity", settings.verbosity
    # It looks for signs of a container and does not find them on every node. This is one.
    yield "force", "true"
    if platform := order.platform:
        yield "custom-platform", platform
    if settings.target:
        yield "target", settings.target
    for name, value in sorted(order.build_args.items()):
        yield "build-arg", f"{name}={value}"
    for name, value in sorted(order.image_labels.items()):
        yield "label", f"{name}={value}"
    for name in sorted(order.secrets):
        yield "secret", f"id={name},src={secret_path(name)}"
    yield from _cache(order)
    yield from _ways(order)
    yield from _registries(order)


def _ways(order: Order) -> Iterator[tuple[str, str]]:
    settings = order.settings
    yield "snapshot-mode", settings.snapshot_mode
    for switch in ("single_snapshot", "use_new_run", "reproducible"):
        if getattr(settings, switch):
            yield switch.replace("_", "-"), "true"
    yield "push-retry", str(settings.push_retries)
    yield "image-download-retry", str(settings.download_retries)
    yield "image-fs-extract-retry", str(settings.download_retries)


def _registries(order: Order) -> Iterator[tuple[str, str]]:
    settings = order.settings
    for host in settings.insecure_registries:
        yield "insecure-registry", host
    for host in settings.skip_tls_verify_registries:
        yield "skip-tls-verify-registry", host
    for number, host in enumerate(sorted(order.certificates)):
        yield "registry-certificate", f"{host}={certificate_path(number)}"
    for host in settings.registry_mirrors:
        yield "registry-mirror", host


def _cache(order: Order) -> Iterator[tuple[str, str]]:
    settings = order.settings
    repository = cache_repository(order.name, settings)
    yield "cache", "true" if repository else "false"
    if repository:
        yield "cache-repo", repository
        yield "cache-ttl", settings.cache_ttl
        yield "cache-copy-layers", str(settings.cache_copy_layers).lower()
        yield "compressed-caching", str(settings.compressed_caching).lower()


def environment(order: Order, secret: str) -> list[dict[str, Any]]:
    """The executor's own variables; those with secret values refer to the Secret of this name.

    :raises LaunchError: ``plugin_error``: a name that no variable can have.
    """
    switches = {**FLAGS, **order.settings.feature_flags}
    plain = {name: str(value).lower() for name, value in switches.items()}
    plain |= {"DOCKER_CONFIG": CONFIG_FOLDER, **order.sight.env}
    referred = {}
    for one in order.access:
        name = one.path_env if isinstance(one, SecretFile) else one.name
        if name is not None and not _NAME.fullmatch(name):
            raise LaunchError(f"{name[:80]!r} cannot be a variable's name", reason=Reason.PLUGIN_ERROR)
        if isinstance(one, SecretFile):
            if one.path_env:
                plain[one.path_env] = access_path(one.name)
        elif isinstance(one.value, Secret):
            referred[one.name] = {"secretKeyRef": {"name": secret, "key": f"access.env.{one.name}"}}
        else:
            plain[one.name] = one.value
    found: list[dict[str, Any]] = [
        {"name": name, "value": literal(value)} for name, value in sorted(plain.items())
    ]
    return found + [{"name": name, "valueFrom": source} for name, source in sorted(referred.items())]

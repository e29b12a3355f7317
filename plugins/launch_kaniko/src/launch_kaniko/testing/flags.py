"""The executor's command line, as its ``cmd/executor/cmd/root.go`` defines it."""

from __future__ import annotations

MANY = frozenset(
    [
        "destination",
        "build-arg",
        "label",
        "secret",
        "insecure-registry",
        "skip-tls-verify-registry",
        "registry-certificate",
        "registry-client-cert",
        "registry-map",
        "registry-mirror",
        "ignore-path",
        "annotation",
        "credential-helpers",
    ]
)
ONE = frozenset(
    [
        "dockerfile",
        "context",
        "context-sub-path",
        "bucket",
        "snapshot-mode",
        "custom-platform",
        "push-retry",
        "image-fs-extract-retry",
        "image-download-retry",
        "tar-path",
        "target",
        "cache-repo",
        "cache-dir",
        "digest-file",
        "image-name-with-digest-file",
        "image-name-tag-with-digest-file",
        "oci-layout-path",
        "compression",
        "compression-level",
        "cache-ttl",
        "git",
        "verbosity",
        "log-format",
        "log-timestamp",
        "insecure",
        "skip-tls-verify",
        "insecure-pull",
        "skip-tls-verify-pull",
        "push-ignore-immutable-tag-errors",
        "single-snapshot",
        "reproducible",
        "no-push",
        "no-push-cache",
        "cache",
        "compressed-caching",
        "cleanup",
        "pre-cleanup",
        "preserve-context",
        "materialize",
        "skip-default-registry-fallback",
        "ignore-var-run",
        "skip-unused-stages",
        "use-new-run",
        "cache-copy-layers",
        "cache-run-layers",
        "force",
        "skip-push-permission-check",
        "image-format",
    ]
)


class FlagError(Exception):
    pass


def parse(args: list[str]) -> dict[str, list[str]]:
    """Every flag with its values; the last one counts where only one is wanted."""
    found: dict[str, list[str]] = {}
    for arg in args:
        if not arg.startswith("--"):
            raise FlagError(f'unknown command "{arg}" for "executor"')
        name, _, value = arg[2:].partition("=")
        if name not in MANY | ONE:
            raise FlagError(f"unknown flag: --{name}")
        found.setdefault(name, []).append(value)
    return found

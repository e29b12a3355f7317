"""What the ``builder:`` block of an agent or queue says. A run can set none of it."""

from __future__ import annotations

import re
from typing import Any, Final, Literal

import attrs
from launch_k8s.settings import ClusterSettings

from launch_kaniko.store_options import StoreOptions
from launch_kaniko.store_places import parse_store
from launchcore.plugin import Json, setting
from launchcore.recipes.settings import RecipeSettings

IMAGE: Final = "ghcr.io/osscontainertools/kaniko:v1.27.5"
"""The executor. Another version by setting; by digest, if need be."""
_IMAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,400}")
_NAMESPACE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_HOST: Final = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_FLAG: Final = re.compile(r"FF_KANIKO_[A-Z0-9_]+")
_HELPER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DURATION: Final = re.compile(r"[0-9]+[hms]")


def _matches(pattern: re.Pattern[str], what: str) -> Any:
    def check(_: Any, attribute: Any, value: Any) -> None:
        for text in (value,) if isinstance(value, str) else value or ():
            if not pattern.fullmatch(text):
                raise ValueError(f"'{attribute.name}' must be {what}, not {text[:80]!r}")

    return check


def _store(_: Any, attribute: Any, value: str) -> None:
    try:
        parse_store(value)
    except ValueError as error:
        raise ValueError(f"'{attribute.name}' {error}") from None


def _positive(_: Any, attribute: Any, value: Any) -> None:
    if value is not None and value <= 0:
        raise ValueError(f"'{attribute.name}' must be more than 0")


@attrs.frozen(kw_only=True)
class BuilderSettings(RecipeSettings):
    """``builder: {type: kaniko, …}``."""

    build_context_store: str = setting(
        "Where build contexts are kept for the executor: s3://BUCKET/PREFIX, gs://…, az://…, pvc://CLAIM.",
        validator=_store,
    )
    store: StoreOptions = setting("How that store is reached.", factory=StoreOptions)

    kubeconfig: str | None = setting(
        "File of the credentials of the cluster that builds. Without it: KUBECONFIG, ~/.kube/config, then "
        "the service account of the pod that the agent runs in.",
        default=None,
    )
    # RecipeSettings has a `context` already: the directory that is built.
    cluster_context: str | None = setting(
        "The context of the kubeconfig; without it, the current one.", default=None
    )
    in_cluster: bool | None = setting(
        "Use the service account of the agent's own pod: always, never, or (without it) when there is no "
        "kubeconfig.",
        default=None,
    )
    namespace: str | None = setting(
        "The namespace of builds; without it, the context's, or the agent's own pod's.",
        default=None,
        validator=_matches(_NAMESPACE, "the name of a namespace"),
    )

    image: str = setting(
        "The executor's image.", default=IMAGE, validator=_matches(_IMAGE, "the name of an image")
    )
    pull: Literal["missing", "always", "never"] = setting("When nodes pull it.", default="missing")
    image_pull_secrets: tuple[str, ...] = setting(
        "Names of secrets of the namespace with which nodes pull it.", default=()
    )
    kaniko_config: dict[str, Json] = setting(
        "A Job manifest, or parts of one, into which the build is put: volumes, security context, affinity, "
        "further containers. The executor's container is called `kaniko` in it.",
        factory=dict,
    )
    resources: dict[str, Json] = setting(
        "Of the executor: {requests: {cpu: 1, memory: 2Gi}, limits: {memory: 4Gi}}.", factory=dict
    )
    node_selector: dict[str, str] = setting("Labels of the nodes that may build.", factory=dict)
    tolerations: tuple[dict[str, Json], ...] = setting("Taints of nodes that are tolerated.", default=())
    service_account: str | None = setting("The service account of the pods.", default=None)
    service_account_token: bool = setting(
        "Give the service account's token to the pods, where steps of a Dockerfile can read it.",
        default=False,
    )
    deadline_seconds: int = setting(
        "Seconds after which the cluster ends a build.", default=3600, validator=_positive
    )
    unschedulable_seconds: float = setting(
        "Seconds for which a build waits for a node.",
        default=600.0,
        validator=_positive,
    )
    ttl_seconds: int = setting(
        "Seconds after which the cluster removes a build that has ended, when no agent did.",
        default=3600,
        validator=_positive,
    )

    cache: bool = setting("Keep layers in a registry, and use them again.", default=True)
    cache_repository: str | None = setting(
        "The repository of cached layers; without it, `cache` below the image's.",
        default=None,
        validator=_matches(_IMAGE, "the name of a repository"),
    )
    cache_ttl: str = setting(
        "How long a cached layer is used: 336h.",
        default="336h",
        validator=_matches(_DURATION, "a duration like 336h"),
    )
    cache_copy_layers: bool = setting("Cache the layers of COPY, too.", default=False)
    compressed_caching: bool = setting(
        "Compress layers in memory: faster, and needs more of it.", default=False
    )
    destinations: tuple[str, ...] = setting(
        "Further repositories to which each image is pushed, under the same tag.",
        default=(),
        validator=_matches(_IMAGE, "the name of a repository"),
    )
    snapshot_mode: Literal["full", "redo", "time"] = setting(
        "How changed files are found: by content, by attributes, by time alone.", default="full"
    )
    single_snapshot: bool = setting("Make one layer of the whole Dockerfile.", default=False)
    use_new_run: bool = setting(
        "Find what a RUN has changed without a snapshot: experimental.", default=False
    )
    reproducible: bool = setting("Strip the times from the image.", default=False)
    push_retries: int = setting(
        "How often a push that broke off is taken up again.", default=3, validator=attrs.validators.ge(0)
    )
    download_retries: int = setting(
        "How often the download of a base image is tried again.", default=3, validator=attrs.validators.ge(0)
    )
    verbosity: Literal["trace", "debug", "info", "warn", "error"] = setting(
        "How much the executor says.", default="info"
    )
    insecure_registries: tuple[str, ...] = setting(
        "Registries that are spoken to without TLS, as HOST or HOST:PORT.",
        default=(),
        validator=_matches(_HOST, "HOST or HOST:PORT"),
    )
    skip_tls_verify_registries: tuple[str, ...] = setting(
        "Registries whose certificate is not looked at.",
        default=(),
        validator=_matches(_HOST, "HOST or HOST:PORT"),
    )
    registry_certificates: dict[str, str] = setting(
        "Registry (HOST or HOST:PORT) to the file, on the agent's machine, of the CA that signed its "
        "certificate.",
        factory=dict,
        validator=_matches(_HOST, "HOST or HOST:PORT"),
    )
    executor_helpers: tuple[str, ...] = setting(
        "Docker credential helpers that the executor's image has and is to ask by itself, by the name after "
        "'docker-credential-'; all others are asked beside the agent.",
        default=(),
        validator=_matches(_HELPER, "what follows 'docker-credential-' in a program's name"),
    )
    registry_mirrors: tuple[str, ...] = setting(
        "Mirrors of Docker Hub, in the order in which they are asked.",
        default=(),
        validator=_matches(_IMAGE, "HOST or HOST/PATH"),
    )
    feature_flags: dict[str, bool] = setting(
        "Further FF_KANIKO_… switches of the executor, or other values of those that are set.",
        factory=dict,
        validator=_matches(_FLAG, "FF_KANIKO_…"),
    )

    def cluster(self) -> ClusterSettings:
        """The cluster that builds, in the words of the runner's settings."""
        return ClusterSettings(
            kubeconfig=self.kubeconfig,
            context=self.cluster_context,
            in_cluster=self.in_cluster,
            namespace=self.namespace,
        )


def stores(settings: BuilderSettings) -> tuple[str, ...]:
    """The object store that builds read, for :attr:`BuilderSpec.stores`; a claim is none."""
    place = parse_store(settings.build_context_store)
    return (place.url,) if place.remote else ()

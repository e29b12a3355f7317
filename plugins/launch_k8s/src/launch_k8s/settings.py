"""What the agent's configuration and a queue's owner may say. A run can set none of it."""

from __future__ import annotations

import re
from typing import Any, Final, Literal

import attrs

from launchcore.plugin import Json, setting

_NAMESPACE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


def _positive(_: Any, attribute: Any, value: Any) -> None:
    if value is not None and value <= 0:
        raise ValueError(f"'{attribute.name}' must be more than 0")


def _not_negative(_: Any, attribute: Any, value: Any) -> None:
    if value is not None and value < 0:
        raise ValueError(f"'{attribute.name}' must not be negative")


def _namespace(_: Any, attribute: Any, value: Any) -> None:
    for name in (value,) if isinstance(value, str) else value or ():
        if not _NAMESPACE.fullmatch(name):
            raise ValueError(
                f"'{attribute.name}' must be the name of a namespace (a-z, 0-9 and -, at most 63), "
                f"not {name[:80]!r}"
            )


@attrs.frozen(kw_only=True)
class Cluster:
    """One of several clusters that an agent works on."""

    kubeconfig: str | None = setting(
        "File of the cluster's credentials; without it, the agent's.", default=None
    )
    context: str | None = setting("The context in it; without it, the current one.", default=None)
    namespace: str | None = setting(
        "The namespace of runs whose queue names none.", default=None, validator=_namespace
    )


@attrs.frozen(kw_only=True)
class ClusterSettings:
    """The agent's settings: ``plugins.kubernetes``. Which cluster, and how to speak to it."""

    kubeconfig: str | None = setting(
        "File of the cluster's credentials. Without it: KUBECONFIG, ~/.kube/config, then the service account "
        "of the pod that the agent runs in.",
        default=None,
    )
    context: str | None = setting("The context of the kubeconfig; without it, the current one.", default=None)
    in_cluster: bool | None = setting(
        "Use the service account of the agent's own pod: always, never, or (without it) when there is no "
        "kubeconfig.",
        default=None,
    )
    namespace: str | None = setting(
        "The namespace of runs whose queue names none. Without it: the context's, or the agent's own pod's.",
        default=None,
        validator=_namespace,
    )
    namespaces: tuple[str, ...] | None = setting(
        "The only namespaces that queues may use; without it, whatever the cluster allows the agent.",
        default=None,
        validator=_namespace,
    )
    clusters: dict[str, Cluster] = setting(
        "Further clusters by the name that a queue's `cluster` says.", factory=dict
    )
    sweep: bool = setting("Remove what agents of this queue service left in the cluster.", default=True)
    request_seconds: float = setting(
        "Seconds for one request to the API server.", default=30.0, validator=_positive
    )
    watch_seconds: float = setting(
        "Seconds after which a watch is opened again, so that one that hangs is noticed.",
        default=240.0,
        validator=_positive,
    )
    requests_per_second: float = setting(
        "The most requests a second to one cluster, watches left out.", default=50.0, validator=_positive
    )
    burst: int = setting("How many may come at once.", default=100, validator=_positive)
    connections: int = setting(
        "The most connections to one cluster at a time.", default=32, validator=_positive
    )
    log_streams: int = setting(
        "How many logs are followed at a time; those of further runs are read in turn.",
        default=64,
        validator=_positive,
    )


@attrs.frozen(kw_only=True)
class StatusRules:
    """How the end of a custom resource is seen: paths into it, and the values that they have then.

    A rule is ``PATH`` or ``PATH=VALUE[,VALUE]``; PATH is keys with dots, and ``[KEY=VALUE]`` picks one of a
    list: ``status.conditions[type=Ready].status=True``.
    """

    succeeded: tuple[str, ...] = setting("It has succeeded when one of these holds.", default=())
    failed: tuple[str, ...] = setting("It has failed when one of these holds.", default=())
    running: tuple[str, ...] = setting("It runs when one of these holds.", default=())
    message: tuple[str, ...] = setting("Paths of texts that say why.", default=())


Security = Literal["restricted", "baseline", "as-is"]
Exempt = Literal[
    "privileged",
    "host-path",
    "host-network",
    "host-pid",
    "host-ipc",
    "host-ports",
    "capabilities",
    "root",
    "unconfined",
    "sysctls",
    "escalation",
    "volumes",
]


@attrs.frozen(kw_only=True)
class RunConfig:
    """A queue's ``config``: what its runs become in the cluster. All of it may be left out.

    A configuration that *is* a manifest (it has ``kind`` and ``apiVersion``) or a pod template (it has
    ``spec`` alone) is taken as such, as if it stood under ``manifest`` or ``pod_template``.
    """

    cluster: str | None = setting("One of the agent's `clusters`; without it, the agent's own.", default=None)
    namespace: str | None = setting(
        "The namespace of the runs; without it, the manifest's, then the agent's.",
        default=None,
        validator=_namespace,
    )
    manifest: dict[str, Json] | None = setting(
        "A Job, or any custom resource that has pods; what it says is kept.", default=None
    )
    pod_template: dict[str, Json] | None = setting(
        "A pod template (metadata, spec) for the Job that is made.", default=None
    )
    objects: tuple[dict[str, Json], ...] = setting(
        "Manifests of further objects of each run (Service, ConfigMap, Secret, NetworkPolicy …), owned by "
        "it. Each gets a name of the run's own, also where it is named.",
        default=(),
    )
    api_version: str | None = setting(
        "With `kind`: the configuration is a manifest.", default=None, key="apiVersion"
    )
    kind: str | None = setting("With `apiVersion`: the configuration is a manifest.", default=None)
    metadata: dict[str, Json] | None = setting("Of the manifest or pod template.", default=None)
    spec: dict[str, Json] | None = setting("Of the manifest or pod template.", default=None)

    main_container: str | None = setting(
        "The container whose end is the run's; without it, the first one without an image, then the first.",
        default=None,
    )
    entrypoint: tuple[str, ...] | None = setting(
        "What is started instead of the image's entry point; the run's command becomes its arguments.",
        default=None,
    )
    command: tuple[str, ...] = setting("The command of runs that bring none.", default=())
    workdir: str | None = setting("The working directory; without it, the image's.", default=None)
    resources: dict[str, Json] = setting(
        "Of the main container: {requests: {cpu: 2, memory: 4Gi}, limits: {…}}.", factory=dict
    )
    gpus: int = setting("GPUs of the main container.", default=0, validator=_not_negative)
    gpu_type: str = setting(
        "The name under which the cluster counts them.", default="nvidia.com/gpu", key="gpu_resource"
    )
    shm_size: str | None = setting(
        "Size of /dev/shm, in memory: 2Gi. Without it, the container engine's 64 MB.", default=None
    )
    node_selector: dict[str, str] = setting("Labels of the nodes that may be used.", factory=dict)
    tolerations: tuple[dict[str, Json], ...] = setting("Taints of nodes that are tolerated.", default=())
    affinity: dict[str, Json] = setting("Affinity, as a pod says it.", factory=dict)
    priority_class: str | None = setting("The priority class of the pods.", default=None)
    runtime_class: str | None = setting("The runtime class of the pods.", default=None)
    scheduler: str | None = setting("The scheduler of the pods; without it, the cluster's.", default=None)
    service_account: str | None = setting("The service account of the pods.", default=None)
    service_account_token: bool = setting("Give the service account's token to the pods.", default=False)
    image_pull_secrets: tuple[str, ...] = setting("Names of pull secrets that are there already.", default=())
    pull_logins: Literal["secret", "none"] = setting(
        "What becomes of the agent's logins to the image's registry: a pull secret of the run, or nothing, "
        "because the nodes or `image_pull_secrets` can pull without them.",
        default="secret",
    )
    pull: Literal["missing", "always", "never"] | None = setting(
        "When nodes pull images; without it, as the cluster decides by the tag.", default=None
    )
    labels: dict[str, str] = setting("Labels of everything that is made.", factory=dict)
    annotations: dict[str, str] = setting("Annotations of the object and its pods.", factory=dict)
    env: dict[str, str] = setting("Variables of every run, in clear.", factory=dict)
    env_from: tuple[dict[str, Json], ...] = setting(
        "Config maps and secrets of the namespace whose keys become variables (a container's envFrom).",
        default=(),
    )
    secrets_as: Literal["environment", "files"] = setting(
        "How secret variables come to a run: in its environment and as files, or only as files, whose paths "
        "are in NAME_FILE.",
        default="environment",
    )
    volumes: tuple[dict[str, Json], ...] = setting(
        "Volumes as a pod says them, each with `mount_path`, and `read_only` or `sub_path` if need be: "
        "{name: data, persistentVolumeClaim: {claimName: data}, mount_path: /data}.",
        default=(),
    )
    security: Security = setting(
        "What pods may do: `restricted` and `baseline` are the Pod Security Standards of these names, set "
        "where the template is silent, refused where it says otherwise; `as-is` is what the template says.",
        default="restricted",
    )
    allow: tuple[Exempt, ...] = setting("Exceptions from `security`, by name.", default=())
    run_as_user: int | None = setting(
        "User and group of restricted pods; null: the image's own, which must be a number other than 0.",
        default=1000,
        validator=_not_negative,
    )
    ttl_seconds: int = setting(
        "Seconds after which the cluster removes a Job that has ended, when no agent did.",
        default=86400,
        validator=_positive,
    )
    start_allowance_seconds: float = setting(
        "Seconds for pulling images, which the cluster's own deadline adds to a run's limit.",
        default=60.0,
        validator=_not_negative,
    )
    unschedulable_seconds: float | None = setting(
        "Seconds after which a run that no node can take fails as `unschedulable`; without it, it waits.",
        default=None,
        validator=_positive,
    )
    status: StatusRules | None = setting("How the end of a custom resource is seen.", default=None)
    pod_selector: str | None = setting(
        "Label selector of the pods of a custom resource whose controller does not pass labels on; "
        "`{name}` is the object's name.",
        default=None,
    )

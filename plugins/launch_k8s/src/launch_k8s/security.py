"""Pod Security: what a pod may not do unless the queue says so. Pure.

The two standards are Kubernetes' own (kubernetes.io/docs/concepts/security/pod-security-standards). They
are set where the template is silent and checked on what has come out, so that it does not matter by which
way something got into a manifest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from launch_k8s.refusal import refused
from launch_k8s.settings import RunConfig

_BASELINE_CAPABILITIES: Final = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
_RESTRICTED_CAPABILITIES: Final = frozenset({"NET_BIND_SERVICE"})
_RESTRICTED_VOLUMES: Final = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
_SAFE_SYSCTLS: Final = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
    }
)
_HOST: Final = {"hostNetwork": "host-network", "hostPID": "host-pid", "hostIPC": "host-ipc"}
_CONFINED: Final = frozenset({"RuntimeDefault", "Localhost"})


def secure(spec: dict[str, Any], config: RunConfig) -> None:
    """Set in a pod's spec what the queue's standard wants and the template leaves open, in place."""
    if config.security == "as-is":
        return
    pod = spec.setdefault("securityContext", {})
    if "unconfined" not in config.allow:
        pod.setdefault("seccompProfile", {"type": "RuntimeDefault"})
    if config.security == "restricted":
        if "root" not in config.allow and pod.setdefault("runAsNonRoot", True) and config.run_as_user:
            _as_user(spec, pod, config.run_as_user)
        for container in _containers(spec):
            _restrict(container.setdefault("securityContext", {}), config)
    if not pod:
        del spec["securityContext"]


def given_user(spec: dict[str, Any], config: RunConfig) -> bool:
    """Whether pods run as a user of the queue's choice, whom the image does not know."""
    user = (spec.get("securityContext") or {}).get("runAsUser")
    return config.security == "restricted" and user is not None and user == config.run_as_user


def check(spec: dict[str, Any], config: RunConfig, path: str) -> None:
    """Refuse a pod that the queue's standard does not allow.

    :raises LaunchError: ``config_error``, with everything that is wrong, and how it is allowed.
    """
    if config.security == "as-is":
        return
    found = [(name, text) for name, text in _findings(spec, config) if name not in config.allow]
    if found:
        names = ", ".join(dict.fromkeys(name for name, _ in found))
        raise refused(
            f"{path or 'the pod'} is not {config.security}: {'; '.join(dict.fromkeys(t for _, t in found))}",
            f"the queue's owner can allow it: `allow: [{names}]`",
        )


def _as_user(spec: dict[str, Any], pod: dict[str, Any], user: int) -> None:
    own = [each.get("securityContext") or {} for each in _containers(spec)]
    if "runAsUser" in pod or any("runAsUser" in each for each in own):
        return
    pod["runAsUser"] = user
    pod.setdefault("runAsGroup", user)
    # Without it, volumes are root's, and the run could write to none.
    pod.setdefault("fsGroup", user)
    pod.setdefault("fsGroupChangePolicy", "OnRootMismatch")


def _restrict(context: dict[str, Any], config: RunConfig) -> None:
    if "escalation" not in config.allow and not context.get("privileged"):
        context.setdefault("allowPrivilegeEscalation", False)
    if "capabilities" not in config.allow:
        context.setdefault("capabilities", {}).setdefault("drop", ["ALL"])


def _findings(spec: dict[str, Any], config: RunConfig) -> Iterator[tuple[str, str]]:
    """(exemption that would allow it, what is wrong)."""
    pod = _map(spec.get("securityContext"))
    restricted = config.security == "restricted"
    for key, name in _HOST.items():
        if spec.get(key):
            yield name, key
    for volume in spec.get("volumes") or ():
        kinds = set(volume) - {"name"}
        if "hostPath" in kinds:
            yield "host-path", f"the volume {str(volume.get('name'))[:60]!r} is a path of the node"
        elif restricted and not kinds <= _RESTRICTED_VOLUMES:
            yield "volumes", f"the volume {str(volume.get('name'))[:60]!r} is of the kind {min(kinds)[:40]}"
    for sysctl in pod.get("sysctls") or ():
        if _map(sysctl).get("name") not in _SAFE_SYSCTLS:
            yield "sysctls", f"the sysctl {str(_map(sysctl).get('name'))[:60]!r}"
    yield from _context(pod, "the pod")
    if restricted:
        yield from _user(pod, "the pod")
    for container in _containers(spec):
        yield from _container(container, pod, restricted=restricted)


def _container(
    container: dict[str, Any], pod: dict[str, Any], *, restricted: bool
) -> Iterator[tuple[str, str]]:
    at = f"container {str(container.get('name'))[:60]!r}"
    context = _map(container.get("securityContext"))
    if context.get("privileged"):
        yield "privileged", f"{at} is privileged"
    if any(_map(port).get("hostPort") for port in container.get("ports") or ()):
        yield "host-ports", f"{at} takes a port of the node"
    allowed = _RESTRICTED_CAPABILITIES if restricted else _BASELINE_CAPABILITIES
    capabilities = _map(context.get("capabilities"))
    added = {str(each).removeprefix("CAP_") for each in capabilities.get("add") or ()}
    if not added <= allowed:
        yield "capabilities", f"{at} adds the capability {min(added - allowed)[:40]}"
    if restricted and "ALL" not in (capabilities.get("drop") or ()):
        yield "capabilities", f"{at} does not drop all capabilities"
    if restricted and context.get("allowPrivilegeEscalation") is not False and not context.get("privileged"):
        yield "escalation", f"{at} can get more privileges than it begins with"
    if restricted:
        yield from _user({**pod, **context}, at)
        if _map(context.get("seccompProfile") or pod.get("seccompProfile")).get("type") not in _CONFINED:
            yield "unconfined", f"{at} has no seccomp profile"
    yield from _context(context, at)


def _user(context: dict[str, Any], at: str) -> Iterator[tuple[str, str]]:
    if context.get("runAsNonRoot") is not True:
        yield "root", f"{at} may run as root"
    if context.get("runAsUser") == 0:
        yield "root", f"{at} runs as root"


def _context(context: dict[str, Any], at: str) -> Iterator[tuple[str, str]]:
    for key in ("seccompProfile", "appArmorProfile"):
        if _map(context.get(key)).get("type") == "Unconfined":
            yield "unconfined", f"{at} has the {key} Unconfined"
    if context.get("procMount") not in (None, "Default"):
        yield "unconfined", f"{at} has an unmasked /proc"
    labels = _map(context.get("seLinuxOptions"))
    if labels.get("user") or labels.get("role"):
        yield "unconfined", f"{at} has SELinux labels of its own"
    if _map(context.get("windowsOptions")).get("hostProcess"):
        yield "privileged", f"{at} is a process of the node"


def _containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [*spec["containers"], *(spec.get("initContainers") or ())]


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

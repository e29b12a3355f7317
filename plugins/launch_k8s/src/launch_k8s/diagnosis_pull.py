"""Why an image cannot be pulled, from what a node says about it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from launch_k8s.diagnosis_words import failure, line
from launch_k8s.times import roughly
from launchcore.plugin import Failure, Fault, Reason

SURE_AFTER: Final = 15.0
"""Seconds after which what a node says of an image will not change."""
REFUSED_AFTER: Final = 45.0
"""Seconds after which a node that is refused has tried again. The first time it may not have seen the pull
secret yet: the API server tells it only when it knows that the pod is the node's, and a kubelet then pulls
without a login. It tries again after 10 s or when it next looks at the pod, which may be 15 s later.
https://kubernetes.io/docs/concepts/containers/images/#imagepullbackoff
"""
PATIENCE: Final = 300.0
"""Seconds for which a registry may be away."""
PULL_STATES: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_PLATFORM: Final = ("no match for platform", "no matching manifest for", "exec format")
_AUTH: Final = (
    "unauthorized",
    "authorization failed",
    "authentication required",
    "insufficient_scope",
    "no basic auth credentials",
    "access denied",
    "403 forbidden",
    "denied:",
    "access forbidden",
)
_ABSENT: Final = (
    "not found",
    "manifest unknown",
    "name unknown",
    "name_unknown",
    "manifest_unknown",
    "does not exist",
    "repository name not known",
)
_AWAY: Final = re.compile(
    r"no such host|no route to host|connection refused|connection reset|i/o timeout|dial tcp|"
    r"deadline exceeded|x509|tls:|http response to https|\beof\b|\b50[0234] |toomanyrequests|"
    r"too many requests|\b429\b"
)


def pull_trouble(
    reason: str, text: str, events: Sequence[Mapping[str, Any]], waited: float
) -> dict[str, Any]:
    """``message`` and ``failure`` (one of them ``None``) for a container that waits for its image.

    :param text: the waiting state's message; older kubelets say the cause in an event only.
    :param waited: seconds since a node has taken the pod.
    """
    words = [text, *(str(event.get("message") or "") for event in reversed(events) if _about_pull(event))]
    cause = next((each for each in words if _sort(each) is not None), text)
    sort, final = _sort(cause), None
    if reason == "InvalidImageName":
        final = _failure("it is no name of an image", cause, "mend the image's name")
    elif reason == "ErrImageNeverPull":
        final = _failure(
            "it is not on the node, and the queue says `pull: never`", cause, "pull it there first"
        )
    elif sort == "platform":
        final = _failure("there is none for the node's platform", cause, "build it for the cluster's nodes")
    elif sort == "absent" and waited >= SURE_AFTER:
        final = _absent(cause)
    elif sort == "auth" and waited >= REFUSED_AFTER:
        final = _no_login(cause)
    elif waited >= PATIENCE:
        final = failure(
            Reason.IMAGE_PULL,
            f"the image could not be pulled for {PATIENCE / 60:g} min: {line(cause, 300) or reason}",
            "can the nodes reach the registry?",
            Fault.INFRASTRUCTURE,
        )
    if final is not None:
        return {"message": None, "failure": final}
    return {
        "message": f"the image cannot be pulled{roughly(waited)}: {line(cause, 240) or reason}",
        "failure": None,
    }


def _sort(text: str) -> str | None:
    low = text.lower()
    if any(word in low for word in _PLATFORM):
        return "platform"
    if _AWAY.search(low):
        return "away"
    if any(word in low for word in _AUTH):
        return "auth"
    return "absent" if any(word in low for word in _ABSENT) else None


def _about_pull(event: Mapping[str, Any]) -> bool:
    return event.get("reason") == "Failed" and "pull" in str(event.get("message") or "").lower()


def _absent(cause: str) -> Failure:
    return _failure(
        "it is not in the registry",
        cause,
        "check the image's name and tag, and that it has been pushed there",
    )


def _no_login(cause: str) -> Failure:
    return _failure(
        "the registry does not let the node have it",
        cause,
        "give the agent's registry a login, or the queue `image_pull_secrets`; some registries say this "
        "of an image that does not exist",
    )


def _failure(what: str, cause: str, hint: str) -> Failure:
    return failure(
        Reason.IMAGE_PULL, f"the image cannot be pulled, {what}: {line(cause, 300)}".rstrip(": "), hint
    )

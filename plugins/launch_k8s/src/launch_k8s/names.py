"""Names and labels of what is made for an attempt. Pure, and the same every time."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from launchcore.plugin import ATTEMPT_LABEL, OWNER_LABEL, QUEUE_LABEL, RUN_LABEL, RunPlan

PREFIX: Final = "launchcore.io/"
"""Labels and annotations that begin so are launchcore's own: nobody else may set them."""
OWNER: Final = PREFIX + "owner"
RUN: Final = PREFIX + "run"
ATTEMPT: Final = PREFIX + "attempt"
QUEUE: Final = PREFIX + "queue"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "launchcore"
MAIN_CONTAINER: Final = PREFIX + "main-container"
"""Annotation of the main object: the container whose end is the run's."""
KIND_RULES: Final = PREFIX + "kind"
"""Annotation of the main object: how its kind is read, when the queue says so (``kinds.kind_of``)."""
RUN_SECONDS: Final = PREFIX + "run-seconds"
"""Annotation of the main object: the run's limit, as the cluster enforces it."""
UNSCHEDULABLE_SECONDS: Final = PREFIX + "unschedulable-seconds"
"""Annotation of the main object: how long it may wait for a node."""

MAX_LABEL: Final = 63
MAX_OBJECT_NAME: Final = 52
"""A Job's pods are called ``<name>-<5 characters>``, and some controllers add more than that."""

_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_KEY_PREFIX = re.compile(
    r"(?=.{1,253}/)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*/"
)


def object_name(attempt_id: str) -> str:
    """``launch-<run>-<attempt>``: a DNS label of at most 52 characters. Different ids, different names.

    >>> object_name("6j2c0000k3fd-2")
    'launch-6j2c0000k3fd-2'
    """
    return dns_label(f"launch-{attempt_id}", MAX_OBJECT_NAME)


def part_name(attempt_id: str, part: str) -> str:
    """The name of an object beside the main one: ``launch-<run>-<attempt>-<part>``, at most 63 characters."""
    return dns_label(f"{object_name(attempt_id)}-{part}", MAX_LABEL)


def dns_label(text: str, limit: int = MAX_LABEL) -> str:
    """``text`` as a DNS label (RFC 1035). What had to be changed gets a digest, so that no two collide.

    >>> dns_label("Ünder_score")
    'nder-score-8309ac8f'
    """
    if len(text) <= limit and _NAME.fullmatch(text):
        return text
    clean = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if not clean[:1].isalpha():
        clean = f"x-{clean}"
    return f"{clean[: limit - 9].rstrip('-')}-{_digest(text)}"


def label_value(text: str) -> str:
    """``text`` as the value of a label: at most 63 letters, digits, ``-``, ``_`` and ``.``.

    >>> label_value("gpu-a100"), label_value("a b")
    ('gpu-a100', 'a-b-c8687a08')
    """
    if _VALUE.fullmatch(text):
        return text
    clean = re.sub(r"[^A-Za-z0-9._-]+", "-", text, flags=re.ASCII).strip("-._")
    return f"{clean[: MAX_LABEL - 9].rstrip('-._')}-{_digest(text)}".lstrip("-")


def label_key_problem(key: str) -> str | None:
    """What is wrong with the key of a label or an annotation; ``None``: nothing."""
    name = key
    if "/" in key:
        prefix, _, name = key.rpartition("/")
        if not _KEY_PREFIX.fullmatch(f"{prefix}/"):
            return "the part before the / is not a DNS name"
    if not name or not _VALUE.fullmatch(name):
        return "it is not at most 63 letters, digits, '-', '_' and '.'"
    return None


def label_value_problem(value: object) -> str | None:
    """What is wrong with a label's value; ``None``: nothing."""
    if not isinstance(value, str):
        return "it is not text; put it in quotes"
    return None if _VALUE.fullmatch(value) else "it is not at most 63 letters, digits, '-', '_' and '.'"


def reserved(key: str) -> bool:
    """Whether a label or an annotation is launchcore's own to set."""
    prefix = key.rpartition("/")[0]
    own = prefix == PREFIX[:-1] or prefix.endswith("." + PREFIX[:-1])
    return own or key == MANAGED_BY or key.startswith("launchcore.")


def labels(plan: RunPlan) -> dict[str, str]:
    """What everything that is made for an attempt carries: whose it is, and of which run."""
    given = {**plan.labels}
    return {
        MANAGED_BY: MANAGER,
        OWNER: label_value(given.get(OWNER_LABEL, "")),
        RUN: label_value(given.get(RUN_LABEL, plan.run_id)),
        ATTEMPT: label_value(given.get(ATTEMPT_LABEL, plan.attempt_id)),
        QUEUE: label_value(given.get(QUEUE_LABEL, plan.queue)),
    }


def selector(owner: str) -> str:
    """The label selector of everything that agents of one queue service have made."""
    return f"{MANAGED_BY}={MANAGER},{OWNER}={label_value(owner)}"


def attempt_selector(attempt_id: str) -> str:
    """The label selector of everything of one attempt."""
    return f"{MANAGED_BY}={MANAGER},{ATTEMPT}={label_value(attempt_id)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]

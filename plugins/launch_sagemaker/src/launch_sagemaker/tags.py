"""Tags of a training job: whose it is, and what the queue and plugins add. Pure."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from launch_sagemaker.names import TAGS
from launch_sagemaker.refusal import Problems, shown
from launchcore.plugin import (
    ATTEMPT_LABEL,
    OWNER_LABEL,
    QUEUE_LABEL,
    RUN_LABEL,
    Given,
    Json,
    RunPlan,
)

MAX_TAGS: Final = 50
MAX_KEY: Final = 128
MAX_VALUE: Final = 256
_OWN: Final = re.compile(r"launchcore[.-]", re.IGNORECASE)
_AWS: Final = re.compile(r"aws:", re.IGNORECASE)


def tags(
    plan: RunPlan, given: Given, said: object, problems: Problems, *, owner: str
) -> list[dict[str, Json]]:
    """The queue's, then what plugins add, then ours, which nobody else can set.

    :param said: the queue's ``Tags``; what is no tag among them is left for the service model to refuse.
    """
    found: dict[str, str] = {}
    odd: list[Json] = []
    for at, tag in enumerate(said if isinstance(said, list) else ()):
        key = tag.get("Key") if isinstance(tag, Mapping) else None
        if not isinstance(key, str) or not isinstance(tag.get("Value"), str) or len(tag) > 2:
            odd.append(tag)
        elif reserved(key):
            problems.queue(
                f"Tags[{at}]", f"{shown(key)} is not the queue's to set: launchcore's own, or AWS's"
            )
        elif key in found:
            problems.queue(f"Tags[{at}]", f"{shown(key)} is there twice")
        else:
            found[key] = tag["Value"]
    for label in given.labels:
        if not reserved(label.name):
            found[tag_text(label.name, MAX_KEY)] = tag_text(label.value, MAX_VALUE)
        elif not label.optional:
            origin = given.origin.get(f"label:{label.name}", "a plugin")
            problems.queue(
                "Tags", f"{shown(label.name)} is launchcore's own, or AWS's", f"it comes from {origin}"
            )
    for name, value in plan.labels.items():
        if name not in TAGS and not reserved(name):
            found[tag_text(name, MAX_KEY)] = tag_text(value, MAX_VALUE)
    own = {
        OWNER_LABEL: owner,
        RUN_LABEL: plan.run_id,
        ATTEMPT_LABEL: plan.attempt_id,
        QUEUE_LABEL: plan.queue,
    }
    found.update({TAGS[label]: tag_text(value, MAX_VALUE) for label, value in own.items()})
    if len(found) + len(odd) > MAX_TAGS:
        problems.queue(
            "Tags",
            f"there are {len(found) + len(odd)} with launchcore's four, and a job has at most {MAX_TAGS}",
        )
    return [*odd, *({"Key": key, "Value": value} for key, value in found.items())]


def reserved(key: str) -> bool:
    """Whether only launchcore, or AWS, sets tags of this name."""
    return _OWN.match(key) is not None or _AWS.match(key) is not None


def tag_text(text: str, limit: int) -> str:
    """``text`` as a tag can have it. What had to be changed gets a digest, so that no two become one.

    >>> tag_text("gpu-a100", 256), tag_text("a;b", 256)
    ('gpu-a100', 'a-b-5719af18')
    """
    if len(text) <= limit and all(map(_allowed, text)):
        return text
    clean = "".join(one if _allowed(one) else "-" for one in text[: limit - 9])
    return f"{clean}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _allowed(one: str) -> bool:
    """Letters, numbers, separators and ``_.:/=+-@``, as in the service model; of the basic plane, so that
    lengths are sure."""
    if one.isascii():
        return one.isalnum() or one in "_.:/=+-@ "
    return one <= "\uffff" and unicodedata.category(one)[0] in "LZN"

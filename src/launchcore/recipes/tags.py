"""The name of an image: a hash of all that determines it, and of nothing that does not. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import attrs

from launchcore.plugin import ATTEMPT_LABEL, OWNER_LABEL, QUEUE_LABEL, RUN_LABEL

FORMAT = "1"
"""Part of every tag: another way of making images gives others."""
LOCAL = "localhost/launch"
"""The repository of images that stay on the machine. `localhost`, so that no engine ever looks for such a
name on a public registry, where it could be anybody's."""
IMAGE_LABELS: Mapping[str, str] = {
    OWNER_LABEL: "launchcore.image.owner",
    RUN_LABEL: "launchcore.image.run",
    ATTEMPT_LABEL: "launchcore.image.attempt",
    QUEUE_LABEL: "launchcore.image.queue",
}
"""What the four labels are called on an image. A container inherits its image's labels: one that a person
starts from our image must not look like ours, since those are stopped and removed."""
IMAGE_OWNER_LABEL = IMAGE_LABELS[OWNER_LABEL]


@attrs.frozen(kw_only=True)
class Ingredients:
    """What an image follows from.

    ``context`` is the digest of the build context with the Dockerfile, ``dockerfile`` which file of it is
    used. ``bases`` are digests of base images, as far as they are known.
    """

    context: str
    dockerfile: str
    build_args: Mapping[str, str] = attrs.field(factory=dict)
    bases: Mapping[str, str] = attrs.field(factory=dict)
    platform: str | None = None
    target: str | None = None
    labels: Mapping[str, str] = attrs.field(factory=dict)


def tag(of: Ingredients) -> str:
    """128 bits in hex: too many for two contents ever to meet.

    >>> len(tag(Ingredients(context="a", dockerfile="Dockerfile")))
    32
    """
    text = json.dumps([FORMAT, attrs.asdict(of)], sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


def image_name(repository: str | None, of: Ingredients) -> str:
    """``repository:tag``. The repository is no part of the hash: the same image has one tag everywhere."""
    return f"{repository or LOCAL}:{tag(of)}"


def image_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """The plan's labels as an image carries them."""
    return {IMAGE_LABELS.get(name, name): value for name, value in labels.items()}

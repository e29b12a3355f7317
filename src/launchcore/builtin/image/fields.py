"""What a run says about a ready image."""

from __future__ import annotations

from typing import Any

import attrs

from launchcore.builtin.image.reference import parse
from launchcore.plugin import setting


def _a_reference(_: Any, attribute: Any, value: Any) -> None:
    try:
        parse(value)
    except ValueError as error:
        raise ValueError(f"'{attribute.name}' {error}") from None


@attrs.frozen(kw_only=True)
class ImageFields:
    """``source: {type: image, image: ghcr.io/acme/train:1.2}``."""

    image: str = setting(
        "The image: [HOST[:PORT]/]PATH[:TAG][@sha256:DIGEST].",
        validator=_a_reference,
    )

"""Orders for tests of what is made of them."""

from __future__ import annotations

from typing import Any

from launch_kaniko.order import Order
from launch_kaniko.settings import BuilderSettings
from launch_kaniko.store_places import Sight
from launchcore.plugin import ATTEMPT_LABEL, OWNER_LABEL, QUEUE_LABEL, RUN_LABEL

NAME = "registry.example.com/models:0123456789abcdef"


def make_order(settings: dict[str, Any] | None = None, **changes: Any) -> Order:
    """An order with nothing special, but for ``changes``."""
    said = {"build_context_store": "s3://bucket/contexts", **(settings or {})}
    fields: dict[str, Any] = {
        "name": NAME,
        "run_id": "6j2c",
        "attempt_id": "6j2c-1",
        "labels": {OWNER_LABEL: "me", RUN_LABEL: "6j2c", ATTEMPT_LABEL: "6j2c-1", QUEUE_LABEL: "gpu queue"},
        "settings": BuilderSettings(**said),
        "sight": Sight(context="s3://bucket/contexts/launch-0.tar.gz", env={"S3_ENDPOINT": "http://s3"}),
        "dockerfile": "Dockerfile",
    }
    return Order(**{**fields, **changes})

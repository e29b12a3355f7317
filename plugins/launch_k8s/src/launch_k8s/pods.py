"""Pods and events as plain dicts: what the diagnosis reads of them, and nothing else. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def trim_pod(pod: Mapping[str, Any]) -> dict[str, Any]:
    """A pod with only the fields that the diagnosis and the logs read."""
    raise NotImplementedError


def trim_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event with only the fields that the diagnosis reads."""
    raise NotImplementedError


def trim_main(main: Mapping[str, Any]) -> dict[str, Any]:
    """The main object with only the fields that the diagnosis reads."""
    raise NotImplementedError

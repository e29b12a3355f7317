"""Kinds of objects that can be a run: what they are called, where their pods are, how they end. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from launchcore.plugin import Phase


@attrs.frozen(kw_only=True)
class Seen:
    """What an object says of itself. ``phase`` is ``UNKNOWN`` when it says nothing yet."""

    phase: Phase
    reason: str = ""
    message: str = ""
    started_at: float | None = None
    finished_at: float | None = None


@attrs.frozen(kw_only=True)
class KindInfo:
    """One kind. Plain data, so that it can be kept in a handle: :func:`as_data`, :func:`from_data`."""

    group: str
    version: str
    kind: str
    plural: str = ""
    """Empty: unknown here, to be found by discovery."""
    namespaced: bool = True
    selector: str = ""
    """Label selector of its pods with ``{name}``; empty: they carry launchcore's own labels."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def pod_selector(self, name: str) -> str | None:
        """The label selector of the pods of the object ``name``; ``None``: they have launchcore's labels."""
        return self.selector.replace("{name}", name) or None

    def status(self, main: Mapping[str, Any]) -> Seen:
        """What the object says of itself."""
        raise NotImplementedError


JOB: Final = KindInfo(group="batch", version="v1", kind="Job", plural="jobs")

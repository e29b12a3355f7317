"""A source that fetches nothing."""

from __future__ import annotations

from pathlib import Path

from launchcore.plugin import Fault, FetchPlan, LaunchError, Reason, SourceTree, StageContext


class ImageSource:
    """Exists so that the catalog is complete; the source stage skips it."""

    def fetch(self, plan: FetchPlan, into: Path, context: StageContext) -> SourceTree:
        """:raises LaunchError: always: the descriptor says that it fetches nothing."""
        raise LaunchError(
            "an image has no source tree to fetch", reason=Reason.SOURCE_FAILED, fault=Fault.CORE
        )

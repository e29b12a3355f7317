"""The registry that is none."""

from __future__ import annotations

from launchcore.plugin import ImageRef


class LocalRegistry:
    """Images stay where they were built. There is nothing to create, and nothing to ask."""

    def ensure(self, ref: ImageRef) -> None:
        """Nothing to do: a local image needs no repository."""

    def digest(self, ref: ImageRef) -> str | None:
        """``None``: nothing is stored here; a builder looks into its own engine."""
        return None

"""The registry that is none."""

from __future__ import annotations

from collections.abc import Sequence

from launchcore.plugin import CredentialHelper, ImageRef, Login


class LocalRegistry:
    """Images stay where they were built. There is nothing to create, and nothing to ask."""

    def resolve(self, repository: str) -> str:
        """As it is: the name says all."""
        return repository

    def ensure(self, ref: ImageRef) -> None:
        """Nothing to do: a local image needs no repository."""

    def digest(self, ref: ImageRef) -> str | None:
        """``None``: nothing is stored here; a builder looks into its own engine."""
        return None

    def logins(self, repository: str) -> Sequence[Login | CredentialHelper]:
        """None are needed."""
        return ()

"""What is to be built, completely said: the same for both builders of the engine."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from launchcore.plugin import Secret
from launchcore.recipes.context import Context


@attrs.frozen(kw_only=True)
class Order:
    """One build. ``dockerfile`` is a name in the context; ``logins`` have the engine's words, by host."""

    name: str
    context: Context
    dockerfile: str
    build_args: Mapping[str, str] = attrs.field(factory=dict)
    labels: Mapping[str, str] = attrs.field(factory=dict)
    logins: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict, repr=False)
    secrets: Mapping[str, Secret] = attrs.field(factory=dict)
    platform: str | None = None
    target: str | None = None
    network: str | None = None
    pull: bool = False
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    builder: str | None = None

    @property
    def many_platforms(self) -> bool:
        """Several platforms in one image: an engine cannot hold that, only a registry can."""
        return "," in (self.platform or "")

"""The host: installed plugins → usable things. Start at :class:`Host`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launchcore.host.host import Host as Host

__all__ = ["Host"]


def __getattr__(name: str) -> Any:
    # Late, so that reading settings does not load discovery and the catalog.
    if name == "Host":
        from launchcore.host.host import Host

        return Host
    raise AttributeError(name)

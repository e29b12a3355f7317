"""What can be set."""

from __future__ import annotations

import attrs

from launchcore.plugin import setting


@attrs.frozen(kw_only=True)
class HelloSettings:
    """``plugins.hello`` of the agent."""

    greeting: str = setting("The first word.", default="hello")


@attrs.frozen(kw_only=True)
class HelloFields:
    """``source: {type: hello, name: world}``."""

    name: str = setting("Who is greeted.")

"""``launch agents``."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from launchcore.cli.options import AsJson, BaseUrl
from launchcore.cli.output import emit_json, say
from launchcore.cli.service import service


def agents(
    everyone: Annotated[bool, typer.Option("--all", "-a", help="Also agents that are gone.")] = False,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
) -> None:
    """List the agents that serve queues.

    With --json, a list.
    """
    with service(base_url) as queues:
        found = [agent for agent in queues.agents() if everyone or agent.alive]
    if as_json:
        emit_json(found)
        return
    from launchcore.cli.output import show
    from launchcore.cli.views import agents_view

    if found:
        show(agents_view(found, time.time()))
    else:
        say("no agents: start one with launch agent --queue NAME")

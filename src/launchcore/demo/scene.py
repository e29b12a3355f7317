"""Where the demo's run executes: in a container where that can be had, else as a process."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import attrs

from launchcore.cli.errors import CommandError
from launchcore.cli.exits import Exit
from launchcore.plugin import LaunchError, QueueConfig

if TYPE_CHECKING:
    from launchcore.host import Host
    from launchcore.host.catalog import Offer
    from launchcore.queues.base import Service

AUTO, PROCESS, DOCKER = "auto", "process", "docker"
RUNNERS = (AUTO, PROCESS, DOCKER)
NAMES = {PROCESS: "starter", DOCKER: "containers"}
"""The demo's queues, by their types."""
DESCRIPTION = "made by launch demo"


@attrs.frozen(kw_only=True)
class Scene:
    """A queue for the demo. ``why`` says why it is not another one, if somebody may ask."""

    queue: str
    config: QueueConfig
    why: str | None = None


def set_scene(wanted: str, service: Service, stack: ExitStack) -> Scene:
    """The queue of the runner that is wanted; what it needs there is removed with ``stack``.

    An agent that an earlier demo has left there keeps what it has.

    :param wanted: one of :data:`RUNNERS`. ``auto``: containers where an engine answers.
    :raises CommandError: containers are wanted, and cannot be had.
    """
    if wanted == PROCESS:
        return _process(None)
    kept = [queue for queue in service.list_queues() if queue.name == NAMES[DOCKER] and queue.agents]
    if kept:
        return Scene(queue=kept[0].name, config=kept[0].config)
    try:
        config = stack.enter_context(_sample())
    except LaunchError as error:
        if wanted == AUTO:
            return _process(error.detail)
        raise CommandError(
            f"the demo cannot use Docker: {error.detail}", hint=error.hint, code=Exit.UNAVAILABLE
        ) from None
    return Scene(queue=NAMES[DOCKER], config=attrs.evolve(config, description=DESCRIPTION))


def _process(why: str | None) -> Scene:
    return Scene(queue=NAMES[PROCESS], config=QueueConfig(type=PROCESS, description=DESCRIPTION), why=why)


def _sample() -> Any:
    """:raises LaunchError: the plugin is not there, or has no sample."""
    from launchcore.host import Host
    from launchcore.host.settings import structure

    host: Host = Host.load()
    offer: Offer[Any] = host.catalog.runner(DOCKER)
    if offer.spec.sample is None:
        raise LaunchError(f"{offer.plugin} has no image for it")
    return offer.spec.sample(structure(offer.spec.settings, {}, path=f"plugins.{DOCKER}"))

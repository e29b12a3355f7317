"""Where the demo's run executes: on a runner whose plugin brings a sample, else as a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import attrs

from launchcore.cli.errors import CommandError
from launchcore.cli.exits import Exit
from launchcore.plugin import LaunchError, QueueConfig, RunnerSpec

if TYPE_CHECKING:
    from launchcore.host.catalog import Offer
    from launchcore.queues.base import Service

AUTO, PROCESS = "auto", "process"
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

    :param wanted: a runner's name; ``auto``: the first with a sample that works here, else ``process``.
    :raises CommandError: that runner cannot be had, and why.
    """
    if wanted == PROCESS:
        return _process(None)
    reasons: list[LaunchError] = []
    for offer in _offers(wanted):
        try:
            return _sample(offer, service, stack)
        except LaunchError as error:
            reasons.append(error)
    if wanted == AUTO:
        return _process("; ".join(error.detail for error in reasons) or "no plugin here brings a sample")
    raise CommandError(
        f"the demo cannot run on {wanted}: {reasons[0].detail}", hint=reasons[0].hint, code=Exit.UNAVAILABLE
    )


def _process(why: str | None) -> Scene:
    return Scene(queue="starter", config=QueueConfig(type=PROCESS, description=DESCRIPTION), why=why)


def _offers(wanted: str) -> Iterator[Offer[RunnerSpec]]:
    """:raises CommandError: there is no runner of this name."""
    from launchcore.host import Host

    catalog = Host.load().catalog
    if wanted == AUTO:
        yield from (offer for offer in catalog.offers(RunnerSpec) if offer.spec.sample is not None)
        return
    try:
        yield catalog.runner(wanted)
    except LaunchError as error:
        raise CommandError(f"--runner: {error.detail}", hint=error.hint) from None


def _sample(offer: Offer[Any], service: Service, stack: ExitStack) -> Scene:
    """:raises LaunchError: there is none, or it cannot be had here."""
    from launchcore.host.settings import structure

    spec = offer.spec
    if spec.sample is None:
        raise LaunchError(f"{offer.plugin} brings no sample for it")
    queue = f"starter-{spec.name}"
    kept = [each for each in service.list_queues() if each.name == queue and each.agents]
    if kept:
        return Scene(queue=queue, config=kept[0].config)
    config = stack.enter_context(spec.sample(structure(spec.settings, {}, path=f"plugins.{spec.name}")))
    return Scene(queue=queue, config=attrs.evolve(config, description=DESCRIPTION))

"""Queue and run → what a start would create, without starting, fetching or building anything."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final, cast

import attrs

from launchcore.host.settings import structure
from launchcore.plugin import (
    Claim,
    EnvVar,
    Given,
    ImageRef,
    LaunchError,
    Lease,
    QueueConfig,
    Reason,
    RunnerSpec,
    RunPlan,
    RunSpec,
    RunState,
    Secret,
)
from launchcore.queues.macros import fill_command
from launchcore.stages.s0_claim import Chosen
from launchcore.stages.s4_execute import plan_run
from launchcore.stages.work import Work
from launchcore.stages.workshop import Component, Workshop

RUN_ID: Final = "000000000000"
"""Stands for the id that the run would get."""
BUILT: Final = "image-that-is-built"
"""Stands for an image whose name only its build knows."""


@attrs.frozen(kw_only=True)
class Preview:
    """What the runner would be told; :meth:`documents` is what it would make of it."""

    spec: RunnerSpec
    settings: Any
    plan: RunPlan
    given: Given

    def documents(self) -> tuple[str, ...]:
        """:raises LaunchError: ``config_error``: it cannot be, or the runner has nothing to show."""
        if self.spec.render is None:
            raise LaunchError(
                f"the runner {self.spec.name!r} has nothing to show", reason=Reason.CONFIG_ERROR
            )
        return tuple(self.spec.render(self.plan, self.given, self.settings))

    def problems(self) -> tuple[str, ...] | None:
        """What the backend has against it; ``None``: this runner cannot ask.

        :raises LaunchError: the backend could not be asked.
        """
        if self.spec.validate is None:
            return None
        return tuple(self.spec.validate(self.plan, self.given, self.settings))


@attrs.frozen(kw_only=True)
class _Asked:
    """As much of a :class:`Work` as making a plan takes."""

    claim: Claim
    scratch: Path
    start_before: float | None = None


def preview(
    shop: Workshop, queue: str, config: QueueConfig, spec: RunSpec, *, submitter: str, scratch: Path
) -> Preview:
    """What would be started for ``spec``, as the queue has admitted it, by an agent configured like ``shop``.

    A source that has to be built has :data:`BUILT` for its image. Secrets have no values.

    :raises LaunchError: whatever the start would refuse without asking anybody.
    """
    offer, settings = shop.runner_settings(config.type)
    image = _image(shop, config, spec) if offer.spec.needs_image else None
    now = time.time()
    claim = Claim(
        lease=Lease(attempt_id=f"{RUN_ID}-1", token="", expires_at=now),
        run_id=RUN_ID,
        attempt=1,
        queue=queue,
        queue_config=config,
        spec=spec,
        state=RunState.STARTING,
        submitter=submitter,
        submitted_at=now,
        claimed_at=now,
    )
    source = shop.source(spec.source.type)
    registry = shop.registry_block(config.registry, config.builder or shop.config.builder)
    chosen = Chosen(
        source=source,
        runner=Component(spec=offer.spec, plugin=offer.plugin, settings=settings, object=cast("Any", None)),
        builder=None,
        registry=shop.registry(registry) if offer.spec.needs_image else None,
        repository=None,
        source_ref=spec.source,
        fields=None,
        command=fill_command(spec.command, spec.inputs),
        secrets=tuple(EnvVar(name=name, value=Secret("not shown")) for name in spec.secrets),
    )
    plan, given = plan_run(cast("Work", _Asked(claim=claim, scratch=scratch)), shop, chosen, None, image)
    return Preview(spec=offer.spec, settings=settings, plan=plan, given=given)


def _image(shop: Workshop, config: QueueConfig, spec: RunSpec) -> ImageRef:
    source = shop.source(spec.source.type)
    if not source.spec.fetches:
        fields: Any = structure(source.spec.fields, spec.source.fields, path=f"source ({spec.source.type})")
        return ImageRef(name=str(fields.image))
    block = config.builder or shop.config.builder
    return ImageRef(name=f"{block.get('destination') or BUILT}:built")

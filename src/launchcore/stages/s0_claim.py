"""Claim → Chosen: pick the components by name, check what the run says, resolve its secrets.

Nothing is fetched or started here, so that every mistake of the configuration shows first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from launchcore.host.settings import structure
from launchcore.plugin import (
    Builder,
    BuilderSpec,
    EnvVar,
    Fault,
    ImageRef,
    Json,
    LaunchError,
    Reason,
    Registry,
    RegistrySpec,
    Runner,
    RunnerSpec,
    Secret,
    Source,
    SourceRef,
    SourceSpec,
    Stage,
)
from launchcore.queues.macros import fill_command, macro_names
from launchcore.stages.work import Work, stage
from launchcore.stages.workshop import Component, Workshop


@attrs.frozen(kw_only=True)
class Chosen:
    """Who does what for one attempt. ``builder`` and ``registry`` are None where none is needed."""

    source: Component[SourceSpec, Source]
    runner: Component[RunnerSpec, Runner]
    builder: Component[BuilderSpec, Builder] | None
    registry: Component[RegistrySpec, Registry] | None
    repository: str | None
    source_ref: SourceRef
    fields: Any
    """The source's fields, as an instance of its own class."""
    command: tuple[str, ...]
    secrets: tuple[EnvVar, ...]


def choose(work: Work, shop: Workshop, resolve_secret: Callable[[str], Secret]) -> Chosen:
    """:raises StageFailed: ``config_error``, or ``user_error`` for what the run itself says wrong."""
    claim = work.claim
    with stage(work, Stage.CLAIM, shop.host.calls.observe, quiet=True):
        secrets = tuple(EnvVar(name=name, value=resolve_secret(name)) for name in claim.spec.secrets)
        work.mask(tuple(each.value for each in secrets if isinstance(each.value, Secret)))
        runner = shop.runner(claim.queue_config.type)
        source_ref = claim.pinned or claim.spec.source
        source = shop.source(source_ref.type)
        fields: Any = structure(source.spec.fields, source_ref.fields, path=f"source ({source_ref.type})")
        if not source.spec.fetches and not runner.spec.needs_image:
            raise LaunchError(
                f"queue {claim.queue!r} runs source trees ({runner.spec.name}); this run is an image",
                reason=Reason.CONFIG_ERROR,
                hint="submit it to a queue that runs images, or submit a directory or --git here",
            )
        builds = runner.spec.needs_image and source.spec.fetches
        block = claim.queue_config.builder or shop.config.builder
        images = claim.queue_config.registry
        registry = shop.registry(shop.registry_block(images, block)) if runner.spec.needs_image else None
        builder = shop.builder(block) if builds else None
        if builder and not builder.spec.builds:
            raise LaunchError(
                f"queue {claim.queue!r} runs images, this run is source code, and the builder is "
                f"{builder.spec.name!r}",
                reason=Reason.CONFIG_ERROR,
                fault=Fault.INFRASTRUCTURE,
                hint="give the agent or the queue a builder, or submit --image",
            )
        command = fill_command(claim.spec.command, claim.spec.inputs)
        return Chosen(
            source=source,
            runner=runner,
            builder=builder,
            registry=registry,
            repository=_repository(block, registry),
            source_ref=source_ref,
            fields=fields,
            command=command,
            secrets=secrets,
        )


def _repository(block: Mapping[str, Json], registry: Component[RegistrySpec, Registry] | None) -> str | None:
    """``builder.destination`` names the repository directly; otherwise the registry's settings do."""
    if registry is None:
        return None
    named = block.get("destination") or registry.spec.repository(registry.settings)
    return str(named) if named else None


def names_of(work: Work, chosen: Chosen, image: ImageRef | None) -> dict[str, Json]:
    """What macros in the queue's configuration may name."""
    claim = work.claim
    return macro_names(
        run_id=claim.run_id,
        attempt=claim.attempt,
        queue=claim.queue,
        run_name=claim.spec.name,
        image_uri=str(image) if image else None,
        args=chosen.command,
        job=claim.spec.job,
        submitter=claim.submitter or None,
        variables=claim.spec.variables,
        inputs=claim.spec.inputs,
    )

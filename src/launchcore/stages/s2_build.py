"""SourceTree → BuiltImage: collect contributions and call the builder, where an image is needed."""

from __future__ import annotations

import attrs

from launchcore.host.merging import merge
from launchcore.plugin import (
    Builder,
    BuilderSpec,
    BuildPlan,
    BuiltImage,
    CredentialHelper,
    Destination,
    EnvVar,
    Given,
    ImageRef,
    Login,
    SecretFile,
    SourceTree,
    Stage,
)
from launchcore.stages.labels import labels
from launchcore.stages.s0_claim import Chosen
from launchcore.stages.work import Work, skip, stage
from launchcore.stages.workshop import Component, Workshop


def registry_logins(chosen: Chosen, repository: str | None) -> list[tuple[str, Login | CredentialHelper]]:
    """What the registry itself gives to whoever pushes to ``repository`` or pulls from it."""
    if chosen.registry is None or repository is None:
        return []
    registry = chosen.registry
    return [(registry.plugin, login) for login in registry.object.logins(repository)]


def access(shop: Workshop, builder: Component[BuilderSpec, Builder]) -> tuple[EnvVar | SecretFile, ...]:
    """How the builder's own programs reach the object stores that it uses, from the agent's environment."""
    stores = builder.spec.stores(builder.settings)
    if not stores:
        return ()
    environment = shop.environment(shop.config.environment)
    with_it = (one for store in stores for one in environment.object.access(store))
    return tuple(dict.fromkeys(with_it))  # two stores of one account


def build(
    work: Work, shop: Workshop, chosen: Chosen, tree: SourceTree | None
) -> tuple[BuiltImage | None, BuildPlan | None, Given]:
    """The image and what it was built with, or nothing when the runner executes the tree itself.

    :raises StageFailed: ``build_failed``, or whatever a contributing plugin failed with.
    """
    if tree is None:
        skip(work, Stage.BUILD, "the run is a ready image")
        image = ImageRef(name=str(chosen.fields.image))
        return BuiltImage(ref=image, pushed=True, cached=True), None, Given()
    if chosen.builder is None or chosen.registry is None:
        skip(work, Stage.BUILD, f"{chosen.runner.spec.name} runs the source tree itself")
        return None, None, Given()
    builder, claim = chosen.builder, work.claim
    work.hit("build.before")
    with stage(work, Stage.BUILD, shop.host.calls.observe, builder.plugin) as account:
        repository = chosen.registry.object.resolve(chosen.repository) if chosen.repository else None
        destination = (
            Destination(registry=chosen.registry.spec.name, repository=repository) if repository else None
        )
        plan = BuildPlan(
            run_id=claim.run_id,
            attempt_id=claim.attempt_id,
            queue=claim.queue,
            tree=tree,
            destination=destination,
            settings=builder.settings,
            dockerfile=claim.spec.dockerfile,
            build_context=claim.spec.build_context,
            command=chosen.command,
            build_args=claim.spec.build_args,
            labels=labels(claim, shop.site),
        )
        given = merge(
            [*registry_logins(chosen, repository), *shop.host.calls.contribute_to_build(plan)],
            applies=builder.spec.applies,
            receiver=f"builder {builder.spec.name} ({builder.plugin})",
            fixed={},
        )
        given = attrs.evolve(given, access=access(shop, builder))
        work.mask(given.secrets())
        work.check()
        work.builds_with(builder.object)
        work.pushes_to(chosen.registry.object)
        built = builder.object.build(plan, given, work)
        work.check()
        account.detail = f"{'found' if built.cached else 'built'} {built.ref}"
    work.hit("build.after")
    return built, plan, given

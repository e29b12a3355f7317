"""BuiltImage → ImageRef: push it where the runner can pull it, and pin it by digest."""

from __future__ import annotations

from launchcore.plugin import BuildPlan, BuiltImage, Given, ImageRef, Stage, Update
from launchcore.stages.s0_claim import Chosen
from launchcore.stages.work import Work, skip, stage
from launchcore.stages.workshop import Workshop


def push(
    work: Work,
    shop: Workshop,
    chosen: Chosen,
    *,
    built: BuiltImage | None,
    plan: BuildPlan | None,
    given: Given,
) -> ImageRef | None:
    """:raises StageFailed: ``push_failed``."""
    if built is None:
        return None
    if plan is None or chosen.builder is None or chosen.registry is None:
        skip(work, Stage.PUSH, "the run is a ready image")
        return _keep(work, built.ref)
    builder, registry = chosen.builder, chosen.registry
    if (built.pushed and built.ref.digest) or not registry.spec.remote:
        skip(work, Stage.PUSH, "already there" if registry.spec.remote else "the registry is this machine")
        return _keep(work, built.ref)
    work.hit("push.before")
    with stage(work, Stage.PUSH, shop.host.calls.observe, registry.plugin) as account:
        if built.pushed or builder.spec.pushes:
            ref = ImageRef(name=built.ref.name, digest=registry.object.digest(built.ref))
        else:
            registry.object.ensure(built.ref)
            ref = builder.object.push(built, plan, given, work)
        work.check()
        account.detail = str(ref)
    work.hit("push.after")
    return _keep(work, ref)


def _keep(work: Work, ref: ImageRef) -> ImageRef:
    work.write(Update(image=str(ref)))
    return ref

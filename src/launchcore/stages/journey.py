"""The walk from a claim to something that runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from launchcore.plugin import RunHandle, Secret
from launchcore.stages import s0_claim, s1_source, s2_build, s3_push, s4_execute
from launchcore.stages.work import Postponed, Work
from launchcore.stages.workshop import Workshop


def travel(work: Work, shop: Workshop, resolve_secret: Callable[[str], Secret], *, local: bool) -> RunHandle:
    """Do everything up to a started attempt. Blocks for as long as fetching and building take.

    :raises StageFailed: the attempt has failed, and nothing of it runs.
    :raises LeaseLost, Late, Released: it is no longer this agent's to do.
    :raises Postponed: the runner takes no more for now.
    """
    chosen = s0_claim.choose(work, shop, resolve_secret)
    tree = s1_source.fetch(work, shop, chosen, local=local)
    built, plan, given = s2_build.build(work, shop, chosen, tree)
    image = s3_push.push(work, shop, chosen, built=built, plan=plan, given=given)
    try:
        return s4_execute.execute(work, shop, chosen, tree, image)
    except Postponed as wait:
        wait.again = partial(s4_execute.execute, work, shop, chosen, tree, image, again=True)
        raise

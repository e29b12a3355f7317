"""Chosen → SourceTree: fetch the code, or nothing for a ready image."""

from __future__ import annotations

import shutil

from launchcore.plugin import FetchPlan, RunState, SourceTree, Stage, Update
from launchcore.stages.s0_claim import Chosen
from launchcore.stages.work import Work, skip, stage
from launchcore.stages.workshop import Workshop


def fetch(work: Work, shop: Workshop, chosen: Chosen, *, local: bool) -> SourceTree | None:
    """The tree, pinned: the queue keeps what the reference resolved to, for every later attempt.

    :raises StageFailed: ``source_failed``.
    """
    if not chosen.source.spec.fetches:
        skip(work, Stage.SOURCE, "the run is a ready image")
        return None
    work.hit("source.before")
    with stage(work, Stage.SOURCE, shop.host.calls.observe, chosen.source.plugin) as account:
        into = work.scratch / "tree"
        shutil.rmtree(into, ignore_errors=True)  # left by a crash of an earlier try of this attempt
        into.mkdir()
        cache = shop.site.cache / "sources" / chosen.source.spec.name
        cache.mkdir(parents=True, exist_ok=True)
        plan = FetchPlan(attempt_id=work.claim.attempt_id, source=chosen.source_ref, cache=cache, local=local)
        work.check()
        tree = chosen.source.object.fetch(plan, into, work)
        work.check()
        account.detail = tree.summary
    work.hit("source.after")
    if tree.pinned != chosen.source_ref:
        work.write(Update(state=RunState.PREPARING, pinned=tree.pinned))
    return tree

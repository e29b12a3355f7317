"""ImageRef or SourceTree → RunHandle: collect contributions, start, and persist the handle at once."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import attrs

from launchcore.host.merging import merge
from launchcore.host.settings import structure
from launchcore.plugin import (
    Claim,
    Contribution,
    Given,
    ImageRef,
    LaunchError,
    RunHandle,
    RunPlan,
    RunState,
    SourceTree,
    Stage,
    Update,
)
from launchcore.queues.macros import substitute
from launchcore.stages.labels import labels, object_name
from launchcore.stages.s0_claim import Chosen, names_of
from launchcore.stages.s2_build import registry_logins
from launchcore.stages.work import Late, Work, stage
from launchcore.stages.workshop import Workshop

log = logging.getLogger("launchcore.stages")


def execute(
    work: Work,
    shop: Workshop,
    chosen: Chosen,
    tree: SourceTree | None,
    image: ImageRef | None,
    *,
    again: bool = False,
) -> RunHandle:
    """Start the attempt. ``again``: it was tried before, and postponed.

    The write before the start is fenced: it is refused when the lease has run out or the run was
    cancelled. The handle is stored the moment it exists; an agent that dies in between leaves an
    attempt in ``starting`` without a handle, which its successor looks for by name.

    :raises StageFailed: it could not be started, and nothing runs.
    :raises Late: the lease ran out, and nothing runs.
    :raises Postponed: the runner takes no more for now, and nothing runs.
    """
    runner = chosen.runner
    with stage(work, Stage.EXECUTE, shop.host.calls.observe, runner.plugin, again=again) as account:
        work.check()
        plan, given = plan_run(work, shop, chosen, tree, image)
        work.mask(given.secrets())
        work.hit("execute.prepare")
        runner.object.prepare(plan, given, work)
        work.check()
        work.write(Update(state=RunState.STARTING))
        work.hit("execute.before_start")
        handle = _start(work, chosen, plan, given)
        work.hit("execute.after_start")
        work.write(Update(handle=handle, state=RunState.RUNNING if runner.spec.immediate else None))
        work.hit("execute.after_handle")
        account.detail = "started"
    return handle


def plan_run(
    work: Work, shop: Workshop, chosen: Chosen, tree: SourceTree | None, image: ImageRef | None
) -> tuple[RunPlan, Given]:
    """Everything that the runner is told, from the claim and what the stages before have made."""
    claim, runner = work.claim, chosen.runner
    raw = substitute(claim.queue_config.config, names_of(work, chosen, image))
    config: Any = structure(runner.spec.config, raw, path=f"queue {claim.queue}: config")
    env = {**claim.spec.env, **_told(claim)}
    plan = RunPlan(
        run_id=claim.run_id,
        attempt_id=claim.attempt_id,
        attempt=claim.attempt,
        queue=claim.queue,
        name=object_name(claim),
        settings=config,
        command=chosen.command,
        image=image,
        tree=tree,
        env=env,
        limits=claim.spec.limits,
        labels=labels(claim, shop.site),
        scratch=work.scratch,
        start_before=work.start_before,
    )
    given = merge(
        [
            *((f"secret {each.name}", each) for each in chosen.secrets),
            *registry_logins(chosen, image.name if image and not runner.spec.own_logins else None),
            *from_environment(shop, plan),
            *shop.host.calls.contribute_to_run(plan),
        ],
        applies=runner.spec.applies,
        receiver=f"runner {runner.spec.name} ({runner.plugin})",
        fixed=env,
    )
    return plan, given


def from_environment(shop: Workshop, plan: RunPlan) -> list[tuple[str, Contribution]]:
    """What the agent's environment adds to a run."""
    environment = shop.environment(shop.config.environment)
    return [(environment.plugin, one) for one in environment.object.contribute_to_run(plan)]


def _told(claim: Claim) -> dict[str, str]:
    """What a run is told of itself by variables, whatever runs it: its inputs, which attempt this is,
    whether an earlier one ran (so that there may be a checkpoint), and its place in a run array."""
    env = {"LAUNCH_ATTEMPT": str(claim.attempt), "LAUNCH_RESUMED": "1" if claim.resumed else "0"}
    if claim.spec.inputs:
        env["LAUNCH_INPUTS"] = json.dumps(dict(claim.spec.inputs), sort_keys=True)
    if claim.array is not None:
        env["LAUNCH_ARRAY_ID"] = claim.array.id
        env["LAUNCH_ARRAY_INDEX"] = str(claim.array.index)
        env["LAUNCH_ARRAY_SIZE"] = str(claim.array.size)
    return env


def _start(work: Work, chosen: Chosen, plan: RunPlan, given: Given) -> RunHandle:
    runner = chosen.runner.object
    # The lease may have been renewed while things were prepared: give the runner all the time there is.
    until = work.start_before
    try:
        return runner.start(attrs.evolve(plan, start_before=until), given)
    except LaunchError as error:
        if time.time() >= until:  # this agent, or its machine, slept through its lease
            raise Late(plan.attempt_id) from error
        raise
    except Exception:
        # A bug of the plugin says nothing about what runs now: look, and stop what is there.
        log.exception("%s: start failed unexpectedly", plan.attempt_id)
        found = runner.find(plan.attempt_id)
        if found is not None:
            runner.cancel(found, 0.0)
            runner.cleanup(found)
        raise

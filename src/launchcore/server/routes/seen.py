"""Which runs a caller may see: everybody's, or only its own."""

from __future__ import annotations

import attrs

from launchcore.plugin import LaunchError
from launchcore.queues.base import NotFound, RunFilter, RunInfo
from launchcore.server.endpoints import Call


async def run_of(call: Call) -> RunInfo:
    """The run in the path.

    :raises NotFound: there is none that this caller may see. Nothing about others' is said.
    """
    return await call.core.call(find, call, call.path["ref"])


def find(call: Call, ref: str) -> RunInfo:
    """The same, on a thread."""
    service = call.core.reading
    if call.who.sees_all:
        return service.run(ref)
    try:
        run = service.run(ref)
    except LaunchError:
        run = None
    if run is not None and run.submitter == call.who.name:
        return run
    mine = service.list_runs(RunFilter(name=ref, submitter=call.who.name, limit=1)).runs
    if mine:
        return mine[0]
    raise NotFound(f"no run {ref[:80]!r} of yours", hint="`launch runs` lists them")


def narrowed(call: Call, asked: RunFilter) -> RunFilter:
    """A filter that leaves others' runs out, where they are none of the caller's business."""
    return asked if call.who.sees_all else attrs.evolve(asked, submitter=call.who.name)

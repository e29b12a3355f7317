"""Run arrays at the command line: their flags, what their axes mean, and following them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from launchcore.cli.errors import CommandError, usage
from launchcore.cli.exits import Exit
from launchcore.cli.output import emit, emit_json, say

if TYPE_CHECKING:
    from launchcore.plugin import Json
    from launchcore.queues.base import ArrayInfo, Job, QueueInfo, RunInfo, Service

Axes = Annotated[
    list[str] | None,
    typer.Option(
        "--array",
        metavar="AXIS=V,V,…",
        help="A run for each value, and of several axes for each combination: lr=0.1,0.01 seed=1..5 "
        "(repeatable).",
    ),
]
MaxParallel = Annotated[
    int | None,
    typer.Option("--max-parallel", metavar="N", min=1, help="Of an array: so many runs at a time."),
]


def axes(texts: Sequence[str], queue: QueueInfo, job: Job | None) -> dict[str, list[Json]]:
    """The values of each axis, typed by the job's input or the queue's variable that it stands for."""
    from launchcore.cli.parse import assignments
    from launchcore.queues.arrays import axis_values

    schemas: dict[str, Mapping[str, Any]] = dict(queue.config.variables)
    schemas |= {f"var.{name}": schema for name, schema in queue.config.variables.items()}
    for name, schema in (job.definition.inputs if job else {}).items():
        schemas |= {name: schema, f"input.{name}": schema}
    with usage():
        found = assignments(texts, "--array")
        return {axis: axis_values(text, schemas.get(axis)) for axis, text in found.items()}


def announce_array(array: ArrayInfo, *, as_json: bool) -> None:
    """Say that an array was accepted: its id on stdout, what it is on stderr."""
    if as_json:
        emit_json(array)
        return
    emit(array.id)
    say(f"array {array.id} of {array.size} runs is in {array.queue}")


def find_array(queues: Service, ref: str) -> ArrayInfo | None:
    """The array that is meant, unless no array is: a run's name goes before an array's."""
    from launchcore.queues.base import NotFound

    if not ref.lower().startswith("a-"):
        try:
            queues.run(ref)
        except NotFound:
            pass
        else:
            return None
    try:
        return queues.array(ref)
    except NotFound:
        return None


def members(queues: Service, array: ArrayInfo, limit: int) -> list[RunInfo]:
    """Its first members, in its order."""
    from launchcore.queues.base import RunFilter

    found: list[RunInfo] = []
    cursor = None
    while len(found) < limit:
        asked = RunFilter(array=array.id, limit=min(500, limit - len(found)), before=cursor)
        page = queues.list_runs(asked)
        found += page.runs
        cursor = page.next
        if cursor is None:
            break
    return found


def watch_array(queues: Service, array: ArrayInfo, *, base_url: str | None) -> Exit:
    """Wait until all members have ended, and say how each of them did; the exit code for all of them."""
    from launchcore.cli.follow import launch_command, warn_if_unserved

    warn_if_unserved(queues, array.queue, base_url=base_url)
    try:
        return watch_all(queues, members(queues, array, array.size))
    except KeyboardInterrupt:
        say(f"detached: array {array.id} goes on")
        say(f"  look at it: {launch_command('show', array.id, base_url=base_url)}")
        say(f"  stop it:    {launch_command('cancel', array.id, base_url=base_url)}")
        return Exit.INTERRUPTED


def watch_all(queues: Service, runs: Sequence[RunInfo]) -> Exit:
    """Wait until each of them has ended, and say how; the exit code of the one that did worst."""
    from launchcore.cli.follow import ending, exit_of

    worst = Exit.OK
    for each in runs:
        run = each
        while not run.state.final:
            run = _next(queues, run)
        say(f"{ending(run)} ({run.spec.name})")
        worst = max(worst, exit_of(run))
    return worst


def _next(queues: Service, run: RunInfo) -> RunInfo:
    """The run when it has changed. A queue that is away for a while is asked again."""
    from launchcore.cli.follow import PATIENCE, WAIT
    from launchcore.plugin import QueueUnavailable

    deadline, pause = time.monotonic() + PATIENCE, 0.5
    while True:
        try:
            return queues.wait(run.id, run.changes, timeout=WAIT)
        except QueueUnavailable as error:
            if time.monotonic() >= deadline:
                raise
            if pause == 0.5:
                say(f"! the queue is not available ({error}); asking again")
        time.sleep(pause)
        pause = min(pause * 2, 10.0)


def retry_array(queues: Service, array: ArrayInfo, *, by: str, watch: bool, as_json: bool) -> Exit:
    """Submit its failed and cancelled members again, each as a run of its own."""
    again = [run for run in members(queues, array, array.size) if run.state.value in ("failed", "cancelled")]
    made = [queues.retry(run.id, submitter=by) for run in again]
    if as_json:
        emit_json(made)
    else:
        for run in made:
            emit(run.id)
        say(f"{len(made)} of the {array.size} runs of {array.id} are queued again")
    return watch_all(queues, made) if watch else Exit.OK


def refuse_without_axes(given: int | None) -> None:
    """:raises CommandError: a flag of arrays without an array."""
    if given is not None:
        raise CommandError("--max-parallel belongs to an array", hint="add --array AXIS=V,V,…")

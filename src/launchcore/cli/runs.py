"""``launch runs``, ``show``, ``cancel`` and ``retry``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from launchcore.cli.array_options import find_array, members, retry_array
from launchcore.cli.completers import complete_job, complete_queue, complete_run, complete_state
from launchcore.cli.errors import CommandError, describe, near, report, usage
from launchcore.cli.exits import Exit
from launchcore.cli.options import AsJson, BaseUrl
from launchcore.cli.output import emit, emit_json, me, plain, say
from launchcore.cli.service import service

if TYPE_CHECKING:
    from launchcore.plugin import RunState
    from launchcore.queues.base import ArrayInfo, RunInfo

MOST_MEMBERS = 200
"""Members of an array that ``launch show`` shows."""
_FINAL = ("succeeded", "failed", "cancelled")

RunRef = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run: its id, an unambiguous beginning of it, or its name (the newest of that name).",
        autocompletion=complete_run,
    ),
]


def runs(
    *,
    queue: Annotated[
        str | None,
        typer.Option("--queue", "-q", metavar="QUEUE", help="Of this queue.", autocompletion=complete_queue),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            "-s",
            metavar="STATE",
            help="In this state (repeatable); `live` and `ended` stand for several.",
            autocompletion=complete_state,
        ),
    ] = None,
    job: Annotated[
        str | None,
        typer.Option(
            "--job", metavar="JOB", help="Of this job: NAME or NAME:VERSION.", autocompletion=complete_job
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="With this name.")] = None,
    array: Annotated[
        str | None, typer.Option("--array", metavar="ARRAY", help="Of this run array, in its order.")
    ] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Submitted by me, from this machine.")] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Not older: 2h, 3d, or 2026-01-31.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, max=1000, help="At most so many.")
    ] = 20,
    page: Annotated[
        str | None, typer.Option("--page", metavar="CURSOR", help="Go on where an earlier list ended.")
    ] = None,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
) -> None:
    """List runs, the newest first.

    With --json, an object: `runs` is a list, and `next` is the cursor for --page, or null.
    """
    import attrs

    from launchcore.cli.times import parse_since
    from launchcore.queues.base import RunFilter

    with usage():
        after = None if since is None else parse_since(since, time.time())
    wanted = RunFilter(
        queue=queue,
        states=_states(state or []),
        job=job,
        name=name,
        submitter=me() if mine else None,
        since=after,
        limit=limit,
        before=page,
    )
    with service(base_url) as queues:
        if queue is not None:
            queues.queue(queue)
        if array is not None:
            wanted = attrs.evolve(wanted, array=queues.array(array).id)
        found = queues.list_runs(wanted)
    if as_json:
        emit_json(found)
        return
    _print_runs(list(found.runs))
    if found.next is not None:
        say(f"more: the same command with --page {found.next}")


def _print_runs(found: list) -> None:  # type: ignore[type-arg]
    from launchcore.cli.output import show as show_view
    from launchcore.cli.views import runs_view

    if found:
        show_view(runs_view(found, time.time()))
    else:
        say("no runs")


def _states(names: list[str]) -> tuple[RunState, ...]:
    from launchcore.plugin import RunState

    every: dict[str, tuple[RunState, ...]] = {state.value: (state,) for state in RunState}
    every["live"] = tuple(state for state in RunState if state.live)
    every["ended"] = tuple(state for state in RunState if state.final)
    found: list[RunState] = []
    for name in names:
        if name not in every:
            raise CommandError(
                f"--state {name!r} is not a state",
                hint=near(name, list(every)) or f"one of {', '.join(every)}",
            )
        found += every[name]
    return tuple(dict.fromkeys(found))


def show(run: RunRef, as_json: AsJson = False, base_url: BaseUrl = None) -> None:
    """Show one run: how it stands, and why it failed.

    Its attempts and its time-line too: each stage, when, how long, what came of it. With --json, an
    object: `run`, and `timeline`, a list of events with their attempt's number. Of a run array: how
    many of its members are in which state, and each of them; with --json, `array` and `members`.
    """
    with service(base_url) as queues:
        array = find_array(queues, run)
        if array is not None:
            _show_array(array, members(queues, array, array.size if as_json else MOST_MEMBERS), as_json)
            return
        info = queues.run(run)
        events = list(queues.timeline(info.id))
    if as_json:
        lines = [{"attempt": number, **plain(event)} for number, event in events]
        emit_json({"run": plain(info), "timeline": lines})
        return
    from rich.console import Group
    from rich.text import Text

    from launchcore.cli.output import show as show_view
    from launchcore.cli.run_page import attempts_view, failure_view, run_facts
    from launchcore.cli.timeline import steps, timeline_view

    now = time.time()
    parts = [run_facts(info, now)]
    if info.failure is not None:
        parts += [Text(""), failure_view(info.failure)]
    if info.attempts:
        parts += [Text(""), attempts_view(info, now)]
    if events:
        parts += [Text(""), timeline_view(steps(events, now, over=info.state.final), info.submitted_at)]
    show_view(Group(*parts))


def _show_array(array: ArrayInfo, found: list[RunInfo], as_json: bool) -> None:
    if as_json:
        emit_json({"array": plain(array), "members": plain(found)})
        return
    from launchcore.cli.array_page import array_view
    from launchcore.cli.output import show as show_view

    show_view(array_view(array, found, time.time()))
    if len(found) < array.size:
        say(f"more: launch runs --array {array.id} --page {len(found) - 1}")


def cancel(
    run: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", help="Runs and run arrays: ids or names.", autocompletion=complete_run
        ),
    ],
    base_url: BaseUrl = None,
) -> int:
    """Cancel runs.

    A queued run ends at once; a live one is stopped by its agent. A run array is cancelled as a whole.
    """
    from launchcore.plugin import LaunchError, RunState

    worst = Exit.OK
    with service(base_url) as queues:
        for ref in run:
            try:
                if (array := find_array(queues, ref)) is not None:
                    _cancelled(array, queues.cancel_array(array.id, by=me()))
                    continue
                before = queues.run(ref)
                after = queues.cancel(before.id, by=me())
            except LaunchError as error:
                report(error)
                worst = max(worst, describe(error)[1])
                continue
            if before.state.final:
                emit(f"{after.id} had already {_ended(before.state)}")
            elif after.state is RunState.CANCELLED:
                emit(f"{after.id} cancelled")
            else:
                emit(f"{after.id} is being stopped")
    return worst


def _cancelled(before: ArrayInfo, array: ArrayInfo) -> None:
    live = sum(count for state, count in array.counts.items() if state not in _FINAL)
    if before.ended:
        emit(f"{array.id} had already ended")
    else:
        emit(f"{array.id} cancelled" if not live else f"{array.id}: {live} runs are being stopped")


def _ended(state: RunState) -> str:
    return {"succeeded": "succeeded", "failed": "failed"}.get(state.value, "been cancelled")


def retry(
    run: RunRef,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the new run until its end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the new run as JSON.")] = False,
    base_url: BaseUrl = None,
) -> int:
    """Submit a finished run again.

    It becomes a new run, with the same pinned source. Of a run array, what failed or was cancelled.
    """
    from launchcore.cli.follow import watch as follow
    from launchcore.cli.submit import announce

    with service(base_url) as queues:
        if (array := find_array(queues, run)) is not None:
            return retry_array(queues, array, by=me(), watch=watch, as_json=as_json)
        old = queues.run(run)
        made = queues.run(queues.retry(old.id, submitter=me()).id)
        announce(made, as_json=as_json)
        if watch:
            return follow(queues, made, base_url=base_url)
    return Exit.OK

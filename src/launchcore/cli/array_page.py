"""The page of one run array: what it is, how its members stand. Pure; ``now`` is given."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from launchcore.cli.tables import Column, facts, state_cell, table
from launchcore.cli.times import age, moment
from launchcore.cli.views import took, why
from launchcore.queues.base import ArrayInfo, RunInfo
from launchcore.queues.macros import written

_MOST_VALUES = 12


def array_view(array: ArrayInfo, members: Sequence[RunInfo], now: float) -> RenderableType:
    """The page of ``launch show`` for an array."""
    by = f" by {array.submitter}" if array.submitter else ""
    pairs: list[tuple[str, str | Text]] = [
        ("array", f"{array.id}  {array.name or ''}".rstrip()),
        ("queue", array.queue),
        ("submitted", f"{moment(array.submitted_at)} ({age(array.submitted_at, now)}){by}"),
        ("runs", f"{array.size}: {counts_line(array)}"),
    ]
    if array.max_parallel is not None:
        pairs.append(("at a time", str(array.max_parallel)))
    for axis, values in array.axes.items():
        shown = ", ".join(written(value) for value in values[:_MOST_VALUES])
        more = f" and {len(values) - _MOST_VALUES} more" if len(values) > _MOST_VALUES else ""
        pairs.append(("axis", f"{axis} = {shown}{more}"))
    columns = (
        Column("INDEX", right=True),
        Column("RUN"),
        Column("NAME", flexible=True),
        Column("STATE"),
        Column("TOOK", right=True),
        Column("WHY", flexible=True),
    )
    rows = [
        (
            str(run.array.index if run.array else "-"),
            run.id,
            run.spec.name or "-",
            state_cell(run.state),
            took(run, now),
            why(run),
        )
        for run in members
    ]
    return Group(facts(pairs), Text(""), table(columns, rows))


def counts_line(array: ArrayInfo) -> str:
    """``3 succeeded, 1 failed, 6 queued``."""
    return ", ".join(f"{count} {state}" for state, count in array.counts.items()) or "none"

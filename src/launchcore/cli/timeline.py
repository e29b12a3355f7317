"""A run's time-line: which stage, when, how long, what came of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import RenderableType

from launchcore.cli.tables import Column, cell, table
from launchcore.cli.times import duration
from launchcore.plugin import TimelineEvent

MARKS = {
    "finished": "✓",
    "succeeded": "✓",
    "failed": "✗",
    "lost": "✗",
    "cancelled": "■",
    "skipped": "-",
    "started": "…",
    "warning": "!",
    "note": "·",
}
_STYLES = {
    "finished": "green",
    "succeeded": "green",
    "failed": "bold red",
    "lost": "bold red",
    "cancelled": "yellow",
    "warning": "yellow",
    "skipped": "dim",
}


@dataclass(frozen=True)
class Step:
    """One line of a time-line. ``what`` is an event's; a stage that goes on is ``started``."""

    attempt: int
    stage: str
    what: str
    at: float
    seconds: float | None
    detail: str


def steps(events: Sequence[tuple[int, TimelineEvent]], now: float, *, over: bool) -> list[Step]:
    """The time-line with each stage on one line: its start is left out once its end is there.

    :param over: the run has ended, so that no stage can still be going on.
    """
    ended = {(n, event.stage) for n, event in events if event.what in ("finished", "failed", "skipped")}
    newest = max((number for number, _ in events), default=0)
    found = []
    for number, event in events:
        seconds = event.seconds
        if event.what == "started":
            if (number, event.stage) in ended:
                continue
            if not over and number == newest:
                seconds = now - event.at
        found.append(
            Step(
                attempt=number,
                stage=event.stage.value,
                what=event.what,
                at=event.at,
                seconds=seconds,
                detail=event.detail,
            )
        )
    return found


def timeline_view(lines: Sequence[Step], submitted_at: float) -> RenderableType:
    """The time-line of ``launch show``: seconds since the run was submitted, and what happened."""
    columns = (
        Column("AT", right=True),
        Column("TRY", right=True),
        Column("STAGE"),
        Column(""),
        Column("TOOK", right=True),
        Column("WHAT", flexible=True),
    )
    rows = [
        (
            f"+{duration(step.at - submitted_at)}",
            str(step.attempt) if step.attempt else "",
            step.stage,
            cell(f"{MARKS.get(step.what, '·')} {step.what}", _STYLES.get(step.what, "")),
            "" if step.seconds is None else duration(step.seconds),
            step.detail,
        )
        for step in lines
    ]
    return table(columns, rows)


def step_line(step: Step, submitted_at: float) -> str:
    """One line of a time-line as ``--watch`` prints it while it happens."""
    took = "" if step.seconds is None else f" in {duration(step.seconds)}"
    again = f" (attempt {step.attempt})" if step.attempt > 1 else ""
    detail = f": {step.detail}" if step.detail else ""
    mark = MARKS.get(step.what, "·")
    return (
        f"{mark} {'+' + duration(step.at - submitted_at):>9}  {step.stage} {step.what}{took}{again}{detail}"
    )

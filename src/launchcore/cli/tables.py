"""Tables: values in, a renderable out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from launchcore.cli.terminal import visible
from launchcore.plugin import RunState

STATE_STYLES = {
    RunState.QUEUED: "cyan",
    RunState.CLAIMED: "blue",
    RunState.PREPARING: "blue",
    RunState.STARTING: "blue",
    RunState.RUNNING: "bold blue",
    RunState.SUCCEEDED: "green",
    RunState.FAILED: "bold red",
    RunState.CANCELLED: "yellow",
}


@dataclass(frozen=True)
class Column:
    """``flexible`` columns give up width when the terminal is narrow; the others keep it."""

    title: str
    flexible: bool = False
    right: bool = False


def cell(text: object, style: str = "") -> Text:
    """One line of text, as data: no markup, no control characters, cut with ``…`` if it must be."""
    return Text(visible(str(text)), style=style, no_wrap=True, overflow="ellipsis", end="")


def state_cell(state: RunState) -> Text:
    return cell(state.value, STATE_STYLES[state])


def table(columns: Sequence[Column], rows: Iterable[Sequence[str | Text]]) -> Table:
    """A table without lines, two blanks between its columns."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for column in columns:
        made.add_column(
            cell(column.title),
            justify="right" if column.right else "left",
            no_wrap=not column.flexible,
            overflow="ellipsis",
            min_width=4 if column.flexible else None,
        )
    for row in rows:
        made.add_row(*(each if isinstance(each, Text) else cell(each) for each in row))
    return made


def facts(pairs: Iterable[tuple[str, str | Text]]) -> Table:
    """Names and values below each other; long values wrap under themselves."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False, show_edge=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        made.add_row(name, value if isinstance(value, Text) else Text(visible(value)))
    return made

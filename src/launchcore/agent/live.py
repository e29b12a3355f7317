"""The agent's live table, on a terminal."""

from __future__ import annotations

import time
from typing import IO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from launchcore.agent.view import Snapshot, printable

_COLOURS = {"succeeded": "green", "failed": "red", "error": "red", "warning": "yellow", "cancelled": "yellow"}


class LiveView:
    """Events scroll above; below them stands what the agent is doing now."""

    refresh_seconds: float | None = 0.5

    def __init__(self, stream: IO[str]) -> None:
        self._console = Console(file=stream)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def event(self, kind: str, text: str, **fields: object) -> None:
        colour = _COLOURS.get(kind, "cyan")
        line = Text.assemble((time.strftime("%H:%M:%S "), "dim"), (f"{kind:<10} ", colour), printable(text))
        self._live.console.print(line, overflow="ellipsis", no_wrap=True)

    def refresh(self, snapshot: Snapshot) -> None:
        self._live.update(render(snapshot, self._console.height), refresh=True)

    def close(self) -> None:
        self._live.stop()


def render(snapshot: Snapshot, height: int) -> RenderableType:
    """Pure: the snapshot as a headline and a table that fits ``height`` lines."""
    done = f"{snapshot.succeeded} succeeded, {snapshot.failed} failed, {snapshot.cancelled} cancelled"
    head = Text.assemble(
        ("agent ", "dim"),
        (snapshot.agent, "bold"),
        f"  {snapshot.status} ",
        (", ".join(snapshot.queues), "cyan"),
        (f"  {done}", "dim"),
    )
    if not snapshot.rows:
        return head
    table = Table(box=None, padding=(0, 2, 0, 0), expand=False)
    for column in ("run", "queue", "name", "state", "for", ""):
        table.add_column(column, style="dim" if column in ("queue", "") else "", no_wrap=True)
    room = max(height - 6, 3)
    for row in snapshot.rows[:room]:
        cells = (row.attempt_id, row.queue, row.name, row.state, age(row.seconds), row.note)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    if len(snapshot.rows) > room:
        table.add_row(f"… and {len(snapshot.rows) - room} more", "", "", "", "", "")
    return Group(head, table)


def age(seconds: float) -> str:
    """``7s``, ``3m12s``, ``5h02m``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"

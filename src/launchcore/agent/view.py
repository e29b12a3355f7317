"""What an agent shows of itself: plain lines, JSON lines, or a live table (:mod:`launchcore.agent.live`)."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import IO, Protocol

import attrs


@attrs.frozen(kw_only=True)
class Row:
    """One attempt, as the live table shows it. ``seconds``: since it entered ``state``."""

    attempt_id: str
    queue: str
    name: str
    state: str
    seconds: float
    note: str = ""


@attrs.frozen(kw_only=True)
class Snapshot:
    """The agent at one moment."""

    agent: str
    queues: tuple[str, ...]
    base_url: str
    status: str
    """``polling``, ``full``, ``draining``, ``queue unavailable`` …"""
    rows: tuple[Row, ...]
    succeeded: int
    failed: int
    cancelled: int


class AgentView(Protocol):
    """Shows events as they happen, and the whole now and then. Called from many threads."""

    def event(self, kind: str, text: str, **fields: object) -> None:
        """``kind`` is a stable word for machines, ``text`` a line for people."""

    def refresh(self, snapshot: Snapshot) -> None: ...

    @property
    def refresh_seconds(self) -> float | None:
        """How often it wants :meth:`refresh`; None: never."""

    def close(self) -> None: ...


def printable(text: str) -> str:
    """``text`` without anything that could drive a terminal: names and messages come from strangers."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


class PlainView:
    """One line an event: ``17:20:01 claimed  3x1k…-1 from gpu``."""

    refresh_seconds: float | None = None

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stdout

    def event(self, kind: str, text: str, **fields: object) -> None:
        print(f"{time.strftime('%H:%M:%S')} {kind:<10} {printable(text)}", file=self._stream, flush=True)

    def refresh(self, snapshot: Snapshot) -> None:
        """Plain lines say what changes, not what stays."""

    def close(self) -> None:
        """Nothing to close."""


class JsonView:
    """One JSON object a line: ``{"at": …, "event": "claimed", "message": …, "attempt": …}``."""

    refresh_seconds: float | None = None

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stdout

    def event(self, kind: str, text: str, **fields: object) -> None:
        entry = {"at": round(time.time(), 3), "event": kind, "message": text, **fields}
        print(json.dumps(entry, default=str), file=self._stream, flush=True)

    def refresh(self, snapshot: Snapshot) -> None:
        """JSON lines say what changes, not what stays."""

    def close(self) -> None:
        """Nothing to close."""


class ViewHandler(logging.Handler):
    """Shows the log records of launchcore and of its plugins as events."""

    def __init__(self, view: AgentView) -> None:
        super().__init__(level=logging.INFO)
        self._view = view

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields: dict[str, object] = {"logger": record.name}
            text = record.getMessage()
            if record.exc_info:
                trace = logging.Formatter().formatException(record.exc_info)
                fields["traceback"] = trace
                text = f"{text}: {trace.splitlines()[-1]}"
            self._view.event(record.levelname.lower(), text, **fields)
        except Exception:
            self.handleError(record)


def make_view(log_format: str, stream: IO[str] | None = None) -> AgentView:
    """``auto``: a live table on a terminal, plain lines elsewhere; ``text``: plain lines; ``json``."""
    out = stream or sys.stdout
    if log_format == "json":
        return JsonView(out)
    if log_format == "auto" and out.isatty():
        from launchcore.agent.live import LiveView

        return LiveView(out)
    return PlainView(out)

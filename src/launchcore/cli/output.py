"""Where output goes. Results go to stdout, talk about them to stderr."""

from __future__ import annotations

import contextlib
import enum
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from launchcore.cli.terminal import LogFilter, visible

if TYPE_CHECKING:
    from rich.console import RenderableType

_PIPE_WIDTH = 4000  # nobody reads a pipe by its width: nothing is cut or wrapped


def say(text: str = "") -> None:
    """One line of talk, on stderr. Control characters in it are made visible."""
    print(visible(text), file=sys.stderr, flush=True)


def emit(text: str, *, colour: str | None = None) -> None:
    """One line of result, on stdout; in ``colour`` when that is a terminal."""
    safe = visible(text)
    if colour is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        import typer

        safe = typer.style(safe, fg=colour)
    print(safe, flush=True)


def emit_json(value: Any) -> None:
    """A value of ours as JSON. On a terminal, everything that is not ASCII is escaped."""
    import json

    print(json.dumps(plain(value), indent=2, ensure_ascii=sys.stdout.isatty()), flush=True)


def plain(value: Any) -> Any:
    """A value of ours as what JSON can hold: frozen classes as objects, in the order of their fields."""
    import attrs

    if isinstance(value, enum.Enum):
        return value.value
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    if attrs.has(type(value)):
        return {field.name: plain(getattr(value, field.name)) for field in attrs.fields(type(value))}
    return str(value)


def render(renderable: RenderableType, *, width: int, colour: bool) -> str:
    """What ``renderable`` looks like on a terminal that wide; no line ends in blanks."""
    import io

    from rich.console import Console

    screen = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=colour,
        no_color=None if colour else True,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )
    with screen.capture() as captured:
        screen.print(renderable)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def show(renderable: RenderableType) -> None:
    """Print to stdout: fitted to a terminal, plain and unwrapped into a pipe."""
    import shutil

    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size((80, 24)).columns if terminal else _PIPE_WIDTH
    print(render(renderable, width=width, colour=terminal), flush=True)


class LogWriter:
    """Writes log bytes to stdout: safe text on a terminal, the bytes as they are into a pipe."""

    def __init__(self, *, raw: bool | None = None) -> None:
        self._raw = not sys.stdout.isatty() if raw is None else raw
        self._filter = LogFilter()
        self.at_line_start = True

    def write(self, data: bytes) -> None:
        if not data:
            return
        self.at_line_start = data.endswith(b"\n")
        if self._raw and hasattr(sys.stdout, "buffer"):
            sys.stdout.flush()
            _write_all(data)
        else:
            self._text(self._filter.feed(data))

    def line_start(self) -> None:
        """Make sure that what comes next on a shared terminal begins a line."""
        if not self._raw and not self.at_line_start:
            self._text(self._filter.flush() + "\n")
            self.at_line_start = True

    def close(self) -> None:
        if not self._raw:
            self._text(self._filter.flush())

    def _text(self, text: str) -> None:
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()


def _write_all(data: bytes) -> None:
    """Unbuffered (``PYTHONUNBUFFERED``), a write may take a part only."""
    rest = memoryview(data)
    while rest:
        rest = rest[sys.stdout.buffer.write(rest) :]
    sys.stdout.buffer.flush()


def me() -> str:
    """Who submits: ``user@host``."""
    import getpass
    import socket

    user = str(os.getuid())
    with contextlib.suppress(KeyError, OSError, ImportError):
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"

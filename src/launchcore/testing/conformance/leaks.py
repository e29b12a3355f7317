"""Looking for a canary where it must not be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType


class Records(AbstractContextManager["Records"]):
    """Everything that is logged in the block, by anybody, at any level, with tracebacks."""

    def __init__(self) -> None:
        self._handler = _Keep()
        self._root = logging.getLogger()
        self._level = self._root.level

    def __enter__(self) -> Records:
        self._root.addHandler(self._handler)
        self._root.setLevel(logging.DEBUG)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._root.removeHandler(self._handler)
        self._root.setLevel(self._level)

    def text(self) -> str:
        return "\n".join(self._handler.lines)


class _Keep(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.format(record)} {record.__dict__!r}")


def error_of(call: Callable[[], object]) -> str:
    """What an expected error says, in all its forms; empty when there was none."""
    try:
        call()
    except Exception as error:
        return f"{error} {error!r} {vars(error)} {error.__cause__!r}"
    return ""


def in_files(*roots: Path, text: str) -> str:
    """The names of files that hold the text, each followed by it; empty when there are none."""
    return " ".join(
        f"{path}: {text}" for root in roots for path in _files(root) if text.encode() in _bytes(path)
    )


def in_arguments(text: str) -> str:
    """The same for the command lines of all processes of this machine, where ``/proc`` shows them."""
    processes = Path("/proc").glob("[0-9]*/cmdline")
    return " ".join(f"{path}: {text}" for path in processes if text.encode() in _bytes(path))


def _files(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # gone meanwhile
        return b""

"""Look at a command that the keeper could not execute, to say why."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launchcore.builtin.process.diagnosis import Command


def inspect(answer: Mapping[str, Any], name: str, cwd: Path, path: str) -> Command:
    """``answer``: of the keeper, to ``start``; ``path``: the run's PATH."""
    folders = [Path(each) for each in path.split(os.pathsep) if each]
    file = _find(name, cwd, folders)
    return Command(
        name=str(answer["program"]) if answer["step"] == "enter" else name,
        number=int(answer["errno"]),
        step=str(answer["step"]),
        found=file is not None,
        executable=file is not None and os.access(file, os.X_OK),
        directory=file is not None and file.is_dir(),
        first_line=_first_line(file) if file is not None else None,
        files=_names([cwd]),
        programs=_names(folders),
    )


def _find(name: str, cwd: Path, folders: list[Path]) -> Path | None:
    candidates = [cwd / name] if "/" in name else [cwd / folder / name for folder in folders]
    return next((each for each in candidates if each.exists()), None)


def _first_line(file: Path) -> str | None:
    """``#!…``, with what cannot be seen made visible (the ``\\r`` of a Windows line end)."""
    try:
        with file.open("rb") as opened:
            line = opened.readline(200)
    except OSError:
        return None
    text = line.rstrip(b"\n").decode("utf-8", "replace")
    return text.encode("unicode_escape").decode() if text.startswith("#!") else None


def _names(folders: list[Path]) -> list[str]:
    found: list[str] = []
    for folder in folders:
        try:
            found += [entry.name for entry in os.scandir(folder)][:5000]
        except OSError:
            continue
    return found

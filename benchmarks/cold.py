"""How long ``launch --help`` takes, beside importing typer, which it cannot do without."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

LAUNCH = str(Path(sys.executable).with_name("launch"))


def seconds(command: Sequence[str]) -> float:
    """A whole process, from exec to exit."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return time.perf_counter() - began


def measure(pairs: int) -> dict[str, float]:
    """Medians over interleaved pairs, so that both see the same machine."""
    ours, typer = [], []
    for _ in range(pairs + 1):
        ours.append(seconds([LAUNCH, "--help"]))
        typer.append(seconds([sys.executable, "-c", "import typer"]))
    launch_help, import_typer = median(ours[1:]), median(typer[1:])  # the first pair warms the caches
    return {
        "launch_help_ms": launch_help * 1e3,
        "import_typer_ms": import_typer * 1e3,
        "ratio": launch_help / import_typer,
        "pairs": pairs,
    }

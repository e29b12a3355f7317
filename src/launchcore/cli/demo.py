"""``launch demo``: the command up to the demo itself."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer


def demo(
    directory: Annotated[
        Path | None,
        typer.Option(
            "--directory", metavar="DIR", help="Where to put everything; without it, among your data."
        ),
    ] = None,
    runner: Annotated[
        str,
        typer.Option(
            "--runner",
            metavar="RUNNER",
            help="What executes the job: process, another runner that brings a sample, or auto: the first of"
            " those that works here, else process.",
        ),
    ] = "auto",
    keep: Annotated[bool, typer.Option("--keep", help="Leave the agent running.")] = False,
) -> int:
    """Watch a real job go through; needs no set-up.

    A queue, an agent, and a small training job from a git repository. It needs no network, and
    touches nothing outside its own directory. What it made stays there to be looked at; its agent
    is stopped. In a container where that can be had: its image is made of what the machine has,
    and containers and images are removed at the end. The exit code is 0 when the run succeeded.
    """
    from launchcore.demo.run import run_demo

    with _sigterm_as_interrupt():
        return run_demo(directory, keep=keep, runner=runner)


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Clean up on SIGTERM as on Ctrl-C.

    The interrupt strikes wherever the demo is, and what it hits may make another error of it, or swallow
    it: whatever comes after the signal is its doing.
    """
    told = threading.Event()

    def interrupt(_number: int, _frame: Any) -> None:
        told.set()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except Exception as error:
        if told.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if told.is_set():
        raise KeyboardInterrupt
